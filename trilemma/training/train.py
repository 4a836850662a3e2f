"""Runs a recipe: checkpoints after every epoch, resuming, samples by epoch."""

import json
import pathlib
import time
import warnings

import keras
import numpy as np

from trilemma import device, files
from trilemma.data import load_images, make_dataset
from trilemma.training import pretrained


class _Epochs(keras.callbacks.Callback):
    """After every epoch: samples, then the history, then the weights; the last two checkpoints stay.

    The number of an epoch is part of the names, and the weights come last, so that a checkpoint is whole or not there.
    """

    def __init__(self, folder, history, draws, num_images):
        super().__init__()
        self.folder, self.history, self.draws, self.num_images = folder, history, draws, num_images

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        number, seconds = epoch + 1, time.perf_counter() - self.start
        if self.draws:
            labels = None if self.model.num_classes is None else np.arange(10) % self.model.num_classes
            images = np.round(self.model.generate(10, labels, seed=0) * 255).astype("uint8")
            np.save(self.folder / f"epoch_{number:03d}.npy", images)
        losses = {key: float(value) for key, value in logs.items()}
        precision = self.model.dtype_policy.compute_dtype
        name = device.device_name() + ("" if precision == "float32" else f", {precision}")
        spent = {"images": self.num_images, "seconds": seconds, "device": name}
        self.history.append({"epoch": number, **losses, **spent})
        files.write_safely(_history(self.folder, number), json.dumps(self.history))
        unfinished = self.folder / "unfinished.weights.h5"
        self.model.save_weights(unfinished)
        unfinished.replace(_checkpoint(self.folder, number))
        for older in (_checkpoint(self.folder, number - 2), _history(self.folder, number - 2)):
            older.unlink(missing_ok=True)


def _history(folder, number):
    return folder / f"epoch_{number:03d}.json"


def _checkpoint(folder, number):
    return folder / f"epoch_{number:03d}.weights.h5"


def prepare(recipe, num_steps, precision=None):
    """Builds the model of a recipe, ready for a `fit` of so many steps; `precision` as in `train`."""
    model = recipe.build(dtype=device.PRECISIONS[precision or _chosen_precision()])
    if recipe.teacher is not None:
        model.learn_from(pretrained.load_pretrained(recipe.teacher_name))
    model.compile(model.default_optimizers(recipe.learning_rate, num_steps))
    return model


def train(recipe, checkpoint_dir, data_dir=None, verbose="auto", callbacks=(), precision=None):
    """Trains a recipe's model on the full training split; goes on where an interrupted run stopped.

    The checkpoint of the last epoch stays: `discard_checkpoint` removes it once the weights are safe elsewhere.

    Args:
        recipe: recipes.Recipe; where there are fewer images than its batch_size, all of them make a batch.
        checkpoint_dir: folder of this run alone: of the last two epochs weights and history so far, and of generative
            models `epoch_<n>.npy`, ten images (10, height, width, channels) uint8 from one fixed seed.
        data_dir: see `data.load_images`.
        verbose, callbacks: see `keras.Model.fit`.
        precision: that the networks compute in, as for `device.setup_device`, whose choice None keeps; weights and
            averages stay float32.

    Returns:
        model: trained, in this precision.
        history: list with a dict for every epoch, also of those before an interruption: means of the losses, images
            that it saw, seconds, device and, if it was not float32, precision.

    Raises:
        ValueError: the folder holds checkpoints of an interrupted training of another recipe, precision or other
            images, or none that can be read, or another process trains in it.
    """
    folder = pathlib.Path(checkpoint_dir)
    with files.locked(folder, wait=False):
        images, labels = load_images(recipe.data_set, "train", data_dir)
        batches = make_dataset(
            images,
            labels if recipe.labelled else None,
            batch_size=min(recipe.batch_size, len(images)),
            seed=recipe.seed,
        )
        precision = precision or _chosen_precision()
        model, history = _resume(recipe, folder, recipe.epochs * len(batches), len(images), precision)
        batches.epoch = len(history)  # The order of the images goes on too.
        # First, so that the seconds of an epoch are without what others do after it.
        callbacks = [_Epochs(folder, history, recipe.draws, len(batches) * batches.batch_size), *callbacks]
        model.fit(batches, initial_epoch=len(history), epochs=recipe.epochs, callbacks=callbacks, verbose=verbose)
    return model, history


def _resume(recipe, folder, num_steps, num_images, precision):
    """The model as the newest whole checkpoint has it, and the history up to there; untrained and empty without one."""
    owner, training = folder / "recipe.txt", f"{recipe!r} on {num_images} images in {precision}"
    names = [file.name.removeprefix("epoch_").removesuffix(".weights.h5") for file in folder.glob("epoch_*.weights.h5")]
    numbers = sorted(map(int, names), reverse=True)
    if numbers and owner.exists() and owner.read_text() != training:
        raise ValueError(
            f"{folder} holds the checkpoint of an interrupted training of another recipe, "
            f"{owner.read_text()}; expected {training}. Delete the folder to start anew."
        )
    files.write_safely(owner, training)
    for number in numbers:
        model = _seeded(recipe, num_steps, precision)
        try:
            history = json.loads(_history(folder, number).read_text())
            if [row["epoch"] for row in history] != list(range(1, number + 1)):
                raise ValueError(f"its history lacks epochs before {number}")
            model.load_weights(_checkpoint(folder, number))
            return model, history
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            warnings.warn(
                f"{_checkpoint(folder, number)} cannot be read ({error}); trying an earlier one.", stacklevel=3
            )
    if numbers:
        raise ValueError(f"no checkpoint in {folder} can be read; delete the folder to start anew.")
    for file in folder.glob("epoch_*"):
        file.unlink()
    return _seeded(recipe, num_steps, precision), []


def _chosen_precision():
    return keras.config.dtype_policy().compute_dtype


def _seeded(recipe, num_steps, precision):
    keras.utils.set_random_seed(recipe.seed)
    return prepare(recipe, num_steps, precision)


def discard_checkpoint(checkpoint_dir):
    """Removes the checkpoints of a training whose weights are safe; history and samples stay."""
    for file in pathlib.Path(checkpoint_dir).glob("*.weights.h5"):
        file.unlink()


def minutes_by_device(history):
    """Device -> minutes that the epochs of a history took on it."""
    seconds = {}
    for row in history:
        seconds[row["device"]] = seconds.get(row["device"], 0) + row["seconds"]
    return {name: round(value / 60, 1) for name, value in seconds.items()}
