"""MNIST and Fashion-MNIST as float images, with or without internet, and tf.data batches of them."""

import contextlib
import os
import pathlib
import sys
import warnings
import zipfile
import zlib

import keras
import numpy as np
import tensorflow as tf

CLASS_NAMES = {
    "mnist": ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip

DATA_SETS = (*CLASS_NAMES, "stacked_mnist")
_KERAS_DATASETS = {"mnist": keras.datasets.mnist, "fashion_mnist": keras.datasets.fashion_mnist}
_SAMPLE_DIR = pathlib.Path(__file__).parent / "sample_data"


class SampleWarning(UserWarning):
    """Only the sample of images that ships with the package is at hand."""


def load_images(name, split="train", data_dir=None):
    """Loads one split of a data set.

    Sources in order: the file `<name>.npz` of `data_dir`, or else of the folder that the environment
    variable TRILEMMA_DATA names; `keras.datasets`, which downloads; the sample of some thousand real
    images that ships with the package, with a warning. A folder that is named is never passed over.

    Args:
        name: "mnist", "fashion_mnist", or "stacked_mnist" (see `stack_digits`).
        split: "train" (60,000 images) or "test" (10,000 images).
        data_dir: folder that holds `<name>.npz` with x_train, y_train, x_test and y_test.

    Returns:
        images: float32 (num_images, 28, 28, 1) in [0, 1]; three channels for "stacked_mnist".
        labels: int32 (num_images,); `CLASS_NAMES[name][label]` is a label's name, except for "stacked_mnist".

    Raises:
        ValueError: unknown name or split, or a damaged file.
        FileNotFoundError: the named folder lacks the file.
    """
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; expected one of {sorted(DATA_SETS)}.")
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}; expected 'train' or 'test'.")
    if name == "stacked_mnist":
        return stack_digits(*load_images("mnist", split, data_dir))
    folder = (os.environ.get("TRILEMMA_DATA") or None) if data_dir is None else data_dir
    if folder is not None:
        images, labels = _read_file(pathlib.Path(folder) / f"{name}.npz", split)
    else:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress.
                train, test = _KERAS_DATASETS[name].load_data()
            images, labels = train if split == "train" else test
        except Exception as error:  # Keras raises a plain Exception when it cannot download.
            images, labels = _read_file(_SAMPLE_DIR / f"{name}.npz", split)
            warnings.warn(
                f"{name} could not be downloaded ({str(error)[:80]}); using the {len(images)} {split} images "
                "that ship with trilemma. For all of them set TRILEMMA_DATA to a folder with "
                f"{name}.npz.",
                SampleWarning,
                stacklevel=2,
            )
    return images[..., None].astype("float32") / 255.0, labels.astype("int32")


def stack_digits(images, labels, seed=0):
    """Stacked-MNIST: three random digits as the channels of one image, 1,000 modes (Metz et al. 2017, section 3.3).

    Args:
        images: (n, height, width, 1).
        labels: (n,), digits.
        seed: chooses the digits.

    Returns:
        stacked_images: (n, height, width, 3).
        stacked_labels: int32 (n,), the number 0 ... 999 that the three digits spell.
    """
    chosen = np.random.default_rng(seed).integers(len(images), size=(len(images), 3))
    stacked_images = np.concatenate([images[column] for column in chosen.T], axis=-1)
    return stacked_images, labels[chosen] @ np.array([100, 10, 1], "int32")


def _read_file(path, split):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected a file with x_train, y_train, x_test and y_test. "
            "Correct data_dir or TRILEMMA_DATA, or leave both unset to download the data."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or not a data set ({error}); replace it with the original file."
        ) from error
    if images.shape[1:] != (28, 28) or images.dtype != np.uint8 or len(images) != len(labels):
        raise ValueError(
            f"{path} holds {images.dtype} images of shape {images.shape} and {len(labels)} labels; "
            "expected uint8 images of shape (n, 28, 28) and n labels. Replace it with the original file."
        )
    return images, labels


def make_dataset(images, labels=None, batch_size=128, shuffle=True, repeat=False, drop_remainder=True, seed=None):
    """Batches images for `fit` and `evaluate`.

    Args:
        images: array (num_images, height, width, channels).
        labels: None, or array (num_images,).
        batch_size: images per batch.
        shuffle: reshuffle all images before every epoch.
        repeat: start again without end; `fit` then needs `steps_per_epoch`.
        drop_remainder: leave out a last, smaller batch, whose shape would compile every step anew.
        seed: makes the order of the shuffling repeatable.

    Returns:
        tf.data.Dataset of images (batch_size, height, width, channels), or of (images, labels).
    """
    if drop_remainder and len(images) < batch_size:
        raise ValueError(
            f"{len(images)} images do not fill one batch of {batch_size}; lower batch_size or set drop_remainder=False."
        )
    dataset = tf.data.Dataset.from_tensor_slices(images if labels is None else (images, labels))
    if shuffle:
        dataset = dataset.shuffle(len(images), seed=seed)
    if repeat:
        dataset = dataset.repeat()
    # The thread that tunes a pipeline sleeps ever longer, and the end of an epoch would wait until it wakes.
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.batch(batch_size, drop_remainder=drop_remainder).prefetch(1).with_options(options)
