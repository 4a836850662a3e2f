"""The training recipe of every shipped model, as data, and the one function that runs a recipe."""

import csv
import dataclasses
import importlib
import pathlib
import time

import keras
import numpy as np

from trilemma import data


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one shipped model is trained.

    Attributes:
        model: "module.Class" inside the package.
        data_set: name for `load_images`.
        arguments: keyword arguments of the model's constructor.
        epochs: passes over the 60,000 training images.
        batch_size: images per step.
        learning_rate: for the model's `default_optimizers`.
        jit_compile: compile the training step with XLA; worth it where norms and activations outweigh
            convolutions.
        labelled: train on (images, labels).
        seed: for initial weights, the order of the images, noise.
    """

    model: str
    data_set: str
    arguments: dict = dataclasses.field(default_factory=dict)
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    jit_compile: bool = False
    labelled: bool = False
    seed: int = 0

    def build(self):
        """Builds the untrained model."""
        module, class_name = self.model.split(".")
        model_class = getattr(importlib.import_module(f"trilemma.{module}"), class_name)
        return model_class(seed=self.seed, **self.arguments)


_CLASSIFIER = dict(model="classifier.Classifier", epochs=10, learning_rate=2e-3, labelled=True)
_VAE2 = dict(model="vae.VAE", arguments=dict(latent_size=2), epochs=6)
_VAE = dict(model="vae.VAE", arguments=dict(latent_size=16), epochs=12)
_DCGAN = dict(model="dcgan.DCGAN", epochs=6, batch_size=64, learning_rate=2e-4, jit_compile=True)
_DCGAN2 = dict(_DCGAN, arguments=dict(latent_size=2))
_DDPM = dict(model="ddpm.DDPM", epochs=18, batch_size=64)

RECIPES = {
    f"{name}_{data_set}": Recipe(data_set=data_set, **settings)
    for name, settings in [
        ("classifier", _CLASSIFIER),
        ("vae2", _VAE2),
        ("vae", _VAE),
        ("dcgan", _DCGAN),
        ("dcgan2", _DCGAN2),
        ("ddpm", _DDPM),
    ]
    for data_set in data.CLASS_NAMES
}
# Trained before the loss was weighted.
RECIPES["ddpm_fashion_mnist"] = dataclasses.replace(
    RECIPES["ddpm_fashion_mnist"], arguments=dict(widths=(32, 128)), epochs=11, jit_compile=True
)
_STACKED = dict(image_shape=(28, 28, 3))
RECIPES |= {
    f"{name}_stacked_mnist": Recipe(data_set="stacked_mnist", **dict(settings, arguments=arguments | _STACKED))
    for name, settings, arguments in [
        ("vae", _VAE, dict(latent_size=32)),
        ("dcgan", _DCGAN, {}),
        # A quarter of the discriminator: the collapse of Metz et al. 2017, on purpose.
        ("dcgan_quarter", _DCGAN, dict(discriminator_width=16)),
        ("ddpm", _DDPM, dict(num_timesteps=100)),
    ]
}


def get_recipe(name):
    """Looks a recipe up by name.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown model {name!r}; expected one of {sorted(RECIPES)}.")
    return RECIPES[name]


class _EpochSeconds(keras.callbacks.Callback):
    """Adds the duration of each epoch to its logs."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.start


class _EpochSamples(keras.callbacks.Callback):
    """Keeps ten images per epoch, drawn from one fixed seed, as `epoch_<n>.npy` (10, height, width, channels) uint8."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        images = self.model.generate(10, seed=0)
        np.save(self.folder / f"epoch_{epoch + 1:03d}.npy", np.round(images * 255).astype("uint8"))


def train(recipe, checkpoint_dir, data_dir=None, verbose="auto", callbacks=()):
    """Trains a recipe's model on the full training split; goes on where an interrupted run stopped.

    A checkpoint is written after every epoch and deleted at the end of training.

    Args:
        recipe: Recipe.
        checkpoint_dir: folder of this run alone: checkpoint, `history.csv` (means and seconds per epoch), and
            of generative models `epoch_<n>.npy`.
        data_dir: see `data.load_images`.
        verbose, callbacks: see `keras.Model.fit`.

    Returns:
        model: trained.
        history: list with a dict for every epoch, also of those before an interruption.
    """
    keras.utils.set_random_seed(recipe.seed)
    images, labels = data.load_images(recipe.data_set, "train", data_dir)
    dataset = data.make_dataset(
        images, labels if recipe.labelled else None, batch_size=recipe.batch_size, seed=recipe.seed
    )
    model = recipe.build()
    optimizers = model.default_optimizers(recipe.learning_rate, recipe.epochs * len(dataset))
    model.compile(**optimizers, jit_compile=recipe.jit_compile)
    checkpoint_dir = pathlib.Path(checkpoint_dir)
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    if not (checkpoint_dir / "backup").exists():  # A new training, not the rest of an interrupted one.
        for file in [*checkpoint_dir.glob("history.csv"), *checkpoint_dir.glob("epoch_*.npy")]:
            file.unlink()
    callbacks = [
        _EpochSeconds(),
        *callbacks,
        keras.callbacks.CSVLogger(str(checkpoint_dir / "history.csv"), append=True),
        keras.callbacks.BackupAndRestore(str(checkpoint_dir / "backup")),
    ]
    if not recipe.labelled:
        callbacks.append(_EpochSamples(checkpoint_dir))
    model.fit(dataset, epochs=recipe.epochs, shuffle=False, callbacks=callbacks, verbose=verbose)
    with open(checkpoint_dir / "history.csv") as file:
        rows = list(csv.DictReader(file))
    history = [
        {"epoch": int(row.pop("epoch")) + 1, **{key: float(value) for key, value in row.items() if value != "NA"}}
        for row in rows
    ]
    return model, history
