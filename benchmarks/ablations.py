"""Trains a model as published and as repaired, with the same budget and seed; writes results/ablations.json.

python benchmarks/ablations.py relu        # D6: the generator's ReLU, cut at 0.2 or plain
python benchmarks/ablations.py schedule    # D4: T = 200 with the betas of T = 1000, or scaled
python benchmarks/ablations.py timesteps   # C6: T = 200 or T = 1000
python benchmarks/ablations.py prediction  # the network's output: noise or velocity
"""

import contextlib
import dataclasses
import pathlib
import sys
from unittest import mock

import keras
import numpy as np

from trilemma import dcgan, recipes, schedules, scoreboard
from trilemma.records import environment, update_results

DATA_SET = "mnist"
DDPM_EPOCHS = 3
NUM_IMAGES = {"dcgan": 1000, "ddpm": 500}


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


def published_schedule():
    """Gives "linear" the published betas: those of T = 1000, whatever T is."""
    betas = np.concatenate([[0.0], np.linspace(1e-4, 0.02, 200)])
    return mock.patch.dict(schedules.SCHEDULES, linear=lambda num_timesteps: schedules.Schedule(betas))


# name -> variant -> (context, model, changes of the recipe's arguments)
ABLATIONS = {
    "relu": {"published": (cut_relu, "dcgan", {}), "repaired": (contextlib.nullcontext, "dcgan", {})},
    "schedule": {
        "published": (published_schedule, "ddpm", {"schedule": "linear"}),
        "repaired": (contextlib.nullcontext, "ddpm", {"schedule": "linear"}),
        "cosine": (contextlib.nullcontext, "ddpm", {}),
    },
    "timesteps": {
        "200": (contextlib.nullcontext, "ddpm", {}),
        "1000": (contextlib.nullcontext, "ddpm", {"num_timesteps": 1000}),
    },
    "prediction": {
        "noise": (contextlib.nullcontext, "ddpm", {"prediction": "noise"}),
        "velocity": (contextlib.nullcontext, "ddpm", {}),
    },
}


def run(context, model_name, changes, folder):
    """Trains and scores one variant."""
    recipe = recipes.get_recipe(f"{model_name}_{DATA_SET}")
    epochs = DDPM_EPOCHS if model_name == "ddpm" else recipe.epochs
    recipe = dataclasses.replace(recipe, arguments=recipe.arguments | changes, epochs=epochs)
    with context():
        model, history = recipes.train(recipe, folder, verbose=2)
    row = scoreboard.score(model, DATA_SET, NUM_IMAGES[model_name], progress=True)
    seconds = sum(epoch["seconds"] for epoch in history)
    return {"epochs": epochs, "training_seconds": seconds, "training_seed": recipe.seed, **row}


def main():
    """Runs the ablations that the command line names; every finished variant is kept."""
    for name in sys.argv[1:]:
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}; expected one of {sorted(ABLATIONS)}.")
        for variant, (context, model_name, changes) in ABLATIONS[name].items():
            row = run(context, model_name, changes, pathlib.Path("build/ablations") / f"{name}_{variant}")
            record = {"ablation": name, "variant": variant, "model": model_name, "data_set": DATA_SET}
            record |= {"command": f"python benchmarks/ablations.py {name}", **row, **environment()}
            update_results("ablations", {f"{name}_{variant}": record})
            print(record, flush=True)


if __name__ == "__main__":
    main()
