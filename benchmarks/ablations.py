"""Trains variants of shipped models, same seed and data: what does one change cost? Writes results/ablations.json.

python benchmarks/ablations.py dcgan_cut_relu        # D6: the generator's ReLU cut at 0.2; compare with dcgan_mnist
python benchmarks/ablations.py ddpm                  # the short training that the following ones change
python benchmarks/ablations.py ddpm_linear           # the linear schedule, betas scaled by 1000 / T
python benchmarks/ablations.py ddpm_published_betas  # D4: the linear schedule with T = 200 and the betas of T = 1000
python benchmarks/ablations.py ddpm_1000_timesteps   # C6: T = 1000
python benchmarks/ablations.py ddpm_noise            # a network that predicts noise
python benchmarks/ablations.py ddgan                 # the short training, T = 4, that the following ones change
python benchmarks/ablations.py ddgan_1_timestep      # T = 1: a GAN; also ddgan_2_timesteps, ddgan_8_timesteps
python benchmarks/ablations.py ddgan_no_latents      # no z: what noise the process adds is all that varies

With KERAS_BACKEND=jax before it, a command trains on JAX. A training that was interrupted goes on.
"""

import contextlib
import dataclasses
import pathlib
import sys
from unittest import mock

import keras
import numpy as np

from trilemma import records
from trilemma.diffusion import schedules
from trilemma.evaluation import scoreboard
from trilemma.models import dcgan
from trilemma.training import recipes
from trilemma.training.train import discard_checkpoint, train

DATA_SET = "mnist"
SHORT_EPOCHS = {"ddpm": 3, "ddgan": 8}
NUM_IMAGES = 1000


def cut_relu():
    """Gives the generator the published activation."""
    build_generator = dcgan.build_generator

    def build_published(*arguments):
        generator = build_generator(*arguments)
        for layer in generator.layers:
            if isinstance(layer, keras.layers.ReLU):
                layer.max_value = 0.2
        return generator

    return mock.patch.object(dcgan, "build_generator", build_published)


def published_betas():
    """Gives "linear" the published betas: those of T = 1000, whatever T is."""
    betas = np.concatenate([[0.0], np.linspace(1e-4, 0.02, 200)])
    return mock.patch.dict(schedules.SCHEDULES, linear=lambda num_timesteps: schedules.Schedule(betas))


# name -> (context of the training and the sampling, model, changes of the recipe's arguments)
ABLATIONS = {
    "dcgan_cut_relu": (cut_relu, "dcgan", {}),
    "ddpm": (contextlib.nullcontext, "ddpm", {}),
    "ddpm_linear": (contextlib.nullcontext, "ddpm", {"schedule": "linear"}),
    "ddpm_published_betas": (published_betas, "ddpm", {"schedule": "linear"}),
    "ddpm_1000_timesteps": (contextlib.nullcontext, "ddpm", {"num_timesteps": 1000}),
    "ddpm_noise": (contextlib.nullcontext, "ddpm", {"prediction": "noise"}),
    "ddgan": (contextlib.nullcontext, "ddgan", {}),
    "ddgan_1_timestep": (contextlib.nullcontext, "ddgan", {"num_timesteps": 1}),
    "ddgan_2_timesteps": (contextlib.nullcontext, "ddgan", {"num_timesteps": 2}),
    "ddgan_8_timesteps": (contextlib.nullcontext, "ddgan", {"num_timesteps": 8}),
    "ddgan_no_latents": (contextlib.nullcontext, "ddgan", {"latent_size": 0}),
}


def run(name, folder):
    """Trains and scores one variant."""
    context, model_name, changes = ABLATIONS[name]
    recipe = recipes.get_recipe(f"{model_name}_{DATA_SET}")
    epochs = SHORT_EPOCHS.get(model_name, recipe.epochs)
    recipe = dataclasses.replace(recipe, arguments=recipe.arguments | changes, epochs=epochs)
    with context():
        model, _ = train(recipe, folder, verbose=2)
        scores = scoreboard.score(model, DATA_SET, NUM_IMAGES, progress=True)
    del scores["images_per_second"]  # The speed of each network is in results/speed.json, measured with nothing beside.
    records.save_epoch_samples(f"ablation_{name}", folder)
    return {"data_set": DATA_SET, "epochs": epochs, "training_seed": recipe.seed, **scores}


def main():
    """Runs the ablations that the command line names; every finished one is kept."""
    prefix = "KERAS_BACKEND=jax " if keras.backend.backend() == "jax" else ""
    for name in sys.argv[1:]:
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}; expected some of {sorted(ABLATIONS)}.")
        folder = pathlib.Path("build/ablations") / name
        row = run(name, folder)
        command = f"{prefix}python benchmarks/ablations.py {name}"
        records.update_results("ablations", {name: {"command": command, **row, **records.environment()}})
        discard_checkpoint(folder)
        print(name, row, flush=True)


if __name__ == "__main__":
    main()
