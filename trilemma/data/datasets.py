"""Data sets as objects: what their images are, where they come from, which evaluator scores them."""

import contextlib
import dataclasses
import io
import os
import pathlib
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable

import keras
import numpy as np

from trilemma import files
from trilemma.data import folders
from trilemma.data.batches import check_labels

_announced = set()  # names of the data sets of which this process has said that only their sample is at hand
SAMPLE_DIR = pathlib.Path(__file__).parent.parent / "sample_data"


class SampleWarning(UserWarning):
    """Only the sample of images that ships with the package is at hand."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Everything that the package knows of a data set.

    Attributes:
        name: for `load_images`, recipes and rows of the scoreboard.
        image_shape: (height, width, channels).
        class_names: the name of label i at place i; empty where labels are numbers of modes.
        evaluator: name of an evaluator in `evaluation.evaluators.EVALUATORS`.
        title: what a person calls it.
        download: function () -> ((images, labels), (images, labels)) of training and test; None where there is none.
        folder: the folder of images that it is read from, see `folders.load_folder`; None elsewhere.
        made_from: data set from whose images and labels `make` makes this one's, wherever they come from; None
            elsewhere.
        make: function (images, labels) -> (images, labels).
    """

    name: str
    image_shape: tuple
    class_names: tuple = ()
    evaluator: str = "features"
    title: str = ""
    download: Callable | None = None
    folder: str | None = None
    made_from: str | None = None
    make: Callable | None = None

    @property
    def num_classes(self):
        """Number of class names; None without any."""
        return len(self.class_names) or None


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


_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATA_SETS = {
    data_set.name: data_set
    for data_set in [
        DataSet(
            "mnist", (28, 28, 1), tuple("0123456789"), title="MNIST",
            download=lambda: keras.datasets.mnist.load_data(),
        ),
        DataSet(
            "fashion_mnist", (28, 28, 1), _CLOTHES, title="Fashion-MNIST",
            download=lambda: keras.datasets.fashion_mnist.load_data(),
        ),
        DataSet(
            "stacked_mnist", (28, 28, 3), evaluator="modes", title="Stacked-MNIST",
            made_from="mnist", make=stack_digits,
        ),
        DataSet(
            "cifar10", (32, 32, 3), _CIFAR10, title="CIFAR-10",
            download=lambda: keras.datasets.cifar10.load_data(),
        ),
    ]
}  # fmt: skip


def get_data_set(name):
    """Looks a data set up by name.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; expected one of {sorted(DATA_SETS)}.")
    return DATA_SETS[name]


def load_images(name, split="train", data_dir=None, image_size=None, channels=None, background="white"):
    """Loads one split of a data set, or of any folder of images.

    Sources of a data set in order: `<name>.npz` or the folder `<name>` in `data_dir`, or else in the folder that the
    environment variable TRILEMMA_DATA names; `keras.datasets`, which downloads; the sample of some thousand real
    images that ships with the package, with one warning per process and data set. A folder that is named is never
    passed over.

    Args:
        name: name of a data set in `DATA_SETS`, or the path of a folder of images, whose sub-folders are classes and
            whose sub-folders "train" and "test" are splits.
        split: "train" or "test".
        data_dir: folder that holds `<name>.npz` with x_train, y_train, x_test and y_test, or `<name>/train/<class>/`.
        image_size, channels, background: of a folder of images, see `folders.load_folder`.

    Returns:
        images: uint8 (num_images, height, width, channels), of a folder larger than 1 GiB `folders.ImageFiles`.
        labels: int32 (num_images,), numbers of the data set's class names, of a folder those of its sorted classes.

    Raises:
        ValueError: unknown name or split, or a damaged file, which is named.
        FileNotFoundError: the named folder lacks the file.
    """
    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(name, str):
        raise ValueError(f"name is {name!r}; expected the name of a data set, or the path of a folder of images.")
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}; expected 'train' or 'test'.")
    if name not in DATA_SETS:
        if not pathlib.Path(name).is_dir():
            raise ValueError(f"unknown data set {str(name)!r}; expected one of {sorted(DATA_SETS)}, or a folder.")
        images, labels, _ = folders.load_folder(name, split, image_size, channels, background)
        return images, labels
    data_set = DATA_SETS[name]
    if (image_size, channels, background) != (None, None, "white"):
        raise ValueError(
            f"{name} has images of the shape {data_set.image_shape}; image_size, channels and background are for "
            "folders of images."
        )
    if data_set.made_from is not None:
        return data_set.make(*load_images(data_set.made_from, split, data_dir))
    images, labels = _load(data_set, split, data_dir)
    return images.reshape(-1, *data_set.image_shape) if images.ndim == 3 else images, labels.astype("int32")


@contextlib.contextmanager
def all_images():
    """Within, `load_images` refuses the sample that ships, for what is worthless on few images.

    Raises:
        ValueError: only the sample is at hand.
    """
    before = _announced.copy()
    _announced.clear()  # What was only a warning before is an error now.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SampleWarning)
            yield
    except SampleWarning as warning:
        raise ValueError(
            f"{warning} But weights and scores are made from all images; `score` takes the sample with --sample."
        ) from warning
    finally:
        _announced.update(before)


def _load(data_set, split, data_dir):
    name = data_set.name
    if data_set.folder is not None:
        return _read_folder(data_set, pathlib.Path(data_set.folder), split)
    named = (os.environ.get("TRILEMMA_DATA") or None) if data_dir is None else data_dir
    if named is not None:
        archive, folder = pathlib.Path(named) / f"{name}.npz", pathlib.Path(named) / name
        if not archive.exists() and folder.is_dir():
            return _read_folder(data_set, folder, split)
        return _read_file(data_set, archive, split)
    if data_set.download is None:
        raise FileNotFoundError(
            f"{name} has no download; set TRILEMMA_DATA to a folder with {name}.npz or {name}/train/<class>/ and "
            f"{name}/test/<class>/."
        )
    try:
        return _download(data_set, split)
    except ConnectionError as error:
        sample = SAMPLE_DIR / f"{name}.npz"
        if not sample.exists():
            raise FileNotFoundError(
                f"{name} could not be downloaded ({error}), and no sample of it ships. Set TRILEMMA_DATA to a folder "
                f"with {name}.npz or {name}/train/<class>/ and {name}/test/<class>/."
            ) from error
        images, labels = _read_file(data_set, sample, split)
        if name not in _announced:
            warnings.warn(
                f"{name} could not be downloaded ({error}); using the {len(images)} {split} images that ship with "
                f"trilemma. For all of them set TRILEMMA_DATA to a folder with {name}.npz.",
                SampleWarning,
                stacklevel=3,
            )
            _announced.add(name)
        return images, labels


def _download(data_set, split):
    """The split from `keras.datasets`, which keeps what it downloaded; of several processes one downloads."""
    cache = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras") / "datasets"
    if not files.is_writable(cache):
        cache = pathlib.Path(tempfile.gettempdir()) / ".keras" / "datasets"  # as Keras does
    try:
        # Keras prints that it downloads, and its progress; a second attempt is silent, since it may fail again.
        progress = io.StringIO() if data_set.name in _announced else sys.stderr
        with files.locked(cache), contextlib.redirect_stdout(progress):
            train, test = data_set.download()
    except Exception as error:  # Keras raises a plain Exception when it cannot download.
        if "URL fetch failure" in str(error):
            raise ConnectionError(str(error)) from error
        raise ValueError(
            f"what keras.datasets once downloaded of {data_set.name} to {cache} is damaged "
            f"({type(error).__name__}: {error}). Delete the files of {data_set.name} there to download them again."
        ) from error
    images, labels = train if split == "train" else test
    return images, labels.reshape(-1)  # Those of CIFAR-10 come as (n, 1).


def _read_folder(data_set, folder, split):
    height, width, channels = data_set.image_shape
    images, labels, class_names = folders.load_folder(folder, split, (height, width), channels)
    # No folder can be called "T-shirt/top", and folders are sorted by name.
    known = [name.replace("/", "_") for name in data_set.class_names]
    if sorted(class_names) != sorted(known):
        raise ValueError(
            f"{folder} holds the classes {class_names}; {data_set.name} has {tuple(sorted(known))}. Rename the folders."
        )
    return images, np.array([known.index(name) for name in class_names])[labels]


def _read_file(data_set, path, split):
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected a file with x_train, y_train, x_test and y_test, or a folder "
            f"{path.with_suffix('')} with train/<class>/ and test/<class>/. Correct data_dir or TRILEMMA_DATA, or "
            "leave both unset to download the data."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    except (ValueError, KeyError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or not a data set ({error}); replace it with the original file."
        ) from error
    height, width, channels = data_set.image_shape
    shapes = [(height, width, channels)] + ([(height, width)] if channels == 1 else [])
    if images.shape[1:] not in shapes or images.dtype != np.uint8 or len(images) != len(labels):
        raise ValueError(
            f"{path} holds {images.dtype} images of shape {images.shape} and {len(labels)} labels; "
            f"expected uint8 images of shape (n, {height}, {width}{f', {channels}' if channels > 1 else ''}) and n "
            "labels. Replace it with the original file."
        )
    try:
        return images, check_labels(labels, len(images), data_set.num_classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error} Replace it with the original file.") from error
