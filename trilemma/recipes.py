"""The training recipe of every shipped model, as data, and the one function that runs a recipe."""

import csv
import dataclasses
import importlib
import pathlib
import shutil
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
        teacher: model whose shipped weights for this data set it is to `learn_from`.
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
    teacher: str | None = None
    seed: int = 0

    def build(self):
        """Builds the untrained model."""
        module, class_name = self.model.split(".")
        model_class = getattr(importlib.import_module(f"trilemma.{module}"), class_name)
        return model_class(seed=self.seed, **self.arguments)

    def prepare(self, num_steps):
        """Builds the model, ready for a `fit` of so many steps."""
        model = self.build()
        if self.teacher is not None:
            from trilemma import pretrained  # Which looks recipes up.

            model.learn_from(pretrained.load_pretrained(f"{self.teacher}_{self.data_set}"))
        model.compile(**model.default_optimizers(self.learning_rate, num_steps), jit_compile=self.jit_compile)
        return model


_CLASSIFIER = dict(model="classifier.Classifier", epochs=10, learning_rate=2e-3, labelled=True)
_VAE2 = dict(model="vae.VAE", arguments=dict(latent_size=2), epochs=6)
_VAE = dict(model="vae.VAE", arguments=dict(latent_size=32), epochs=60)
_DCGAN = dict(model="dcgan.DCGAN", epochs=6, batch_size=64, learning_rate=2e-4, jit_compile=True)
_DCGAN2 = dict(_DCGAN, arguments=dict(latent_size=2))
_DDPM = dict(model="ddpm.DDPM", epochs=18, batch_size=64)
# Each kind of step learns from the average of the next shorter one; a slow average would delay the longest one most.
_STUDENT = dict(model="distillation.Student", teacher="ddpm", arguments=dict(ema_decay=0.99), epochs=12, batch_size=64)
_DDGAN = dict(model="ddgan.DDGAN", epochs=60, batch_size=256, learning_rate=2e-4)

RECIPES = {
    f"{name}_{data_set}": Recipe(data_set=data_set, **settings)
    for name, settings in [
        ("classifier", _CLASSIFIER),
        ("vae2", _VAE2),
        ("vae", _VAE),
        ("dcgan", _DCGAN),
        ("dcgan2", _DCGAN2),
        ("ddpm", _DDPM),
        ("student", _STUDENT),
        ("ddgan", _DDGAN),
    ]
    for data_set in data.CLASS_NAMES
}
_STACKED = dict(image_shape=(28, 28, 3))
_STACKED_DDGAN = dict(discriminator_width=128, minibatch_deviation=True, training_timesteps=(1, 2, 2, 3, 3, 3, 4, 4))
RECIPES |= {
    f"{name}_stacked_mnist": Recipe(data_set="stacked_mnist", **dict(settings, arguments=arguments | _STACKED))
    for name, settings, arguments in [
        ("vae", _VAE, _VAE["arguments"]),
        ("dcgan", _DCGAN, {}),
        # A quarter of the discriminator, as in Metz et al. 2017, where it collapsed; ours only loses modes. It takes
        # more to collapse: no batch normalisation either.
        ("dcgan_quarter", _DCGAN, dict(discriminator_width=16)),
        ("dcgan_crippled", _DCGAN, dict(discriminator_width=16, batch_normalization=False)),
        ("ddpm", _DDPM, dict(num_timesteps=100)),
        # From x_3 to x_2 it is decided which digits come, yet noise hides much of what a discriminator could say of it:
        # so more pairs of long steps, a wider discriminator, and one that sees whole batches. The weights that ship
        # were saved after 75 of the epochs; then the time on the GPU was over.
        ("ddgan", dict(_DDGAN, epochs=125), _STACKED_DDGAN),
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

    Raises:
        ValueError: the folder holds the checkpoint of an interrupted training of another recipe.
    """
    checkpoint_dir = pathlib.Path(checkpoint_dir)
    epochs_done = len(_prepare(checkpoint_dir, recipe))
    keras.utils.set_random_seed(recipe.seed)
    images, labels = data.load_images(recipe.data_set, "train", data_dir)
    # The order of the images goes on too, rather than starting from that of the first epoch.
    dataset = data.make_dataset(
        images, labels if recipe.labelled else None, batch_size=recipe.batch_size, seed=recipe.seed + epochs_done
    )
    model = recipe.prepare(recipe.epochs * len(dataset))
    callbacks = [
        _EpochSeconds(),
        *callbacks,
        keras.callbacks.CSVLogger(str(checkpoint_dir / "history.csv"), append=True),
        *([] if recipe.labelled else [_EpochSamples(checkpoint_dir)]),
        # Last, so that an epoch counts as done only when its records are complete. The double survives a kill that
        # cuts the file.
        keras.callbacks.BackupAndRestore(str(checkpoint_dir / "backup"), double_checkpoint=True),
    ]
    model.fit(dataset, epochs=recipe.epochs, shuffle=False, callbacks=callbacks, verbose=verbose)
    return model, _read_history(checkpoint_dir)


def _prepare(checkpoint_dir, recipe):
    """Empties the folder for a new training, or checks that the interrupted one was of this recipe; its history."""
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    owner, backup = checkpoint_dir / "recipe.txt", checkpoint_dir / "backup"
    if not (backup / "training_metadata.json").exists():  # A new training, or one cut before its first checkpoint.
        shutil.rmtree(backup, ignore_errors=True)
        for file in [*checkpoint_dir.glob("history.csv"), *checkpoint_dir.glob("epoch_*.npy")]:
            file.unlink()
        owner.write_text(repr(recipe))
    elif owner.read_text() != repr(recipe):
        raise ValueError(
            f"{checkpoint_dir} holds the checkpoint of an interrupted training of another recipe, "
            f"{owner.read_text()}; expected {recipe!r}. Delete the folder to start anew."
        )
    return _read_history(checkpoint_dir)


def _read_history(checkpoint_dir):
    file = checkpoint_dir / "history.csv"
    rows = csv.DictReader(file.read_text().splitlines()) if file.exists() else []
    # An epoch that was cut after its row was written has two; the later one counts.
    rows = {int(row.pop("epoch")) + 1: row for row in rows}
    # CSVLogger adds empty columns for a validation that we do not have.
    values = {epoch: {key: float(text) for key, text in row.items() if text != "NA"} for epoch, row in rows.items()}
    return [{"epoch": epoch, **row} for epoch, row in values.items()]
