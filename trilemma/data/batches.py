"""The door for images and labels, and the batches that `fit` takes."""

import numbers

import keras
import numpy as np

from trilemma.data.folders import ImageFiles


def whole_number(name, value, least=1, most=None):
    """Returns a whole number of any type as an int, or refuses it by its name."""
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"in {least} ... {most}"
        raise ValueError(f"{name} is {value!r}; expected a whole number {limits}.")
    return int(value)


def check_images(images, image_shape=None, name="images"):
    """Refuses what is not a public image: uint8, or floats in [0, 1].

    Args:
        images: array (num_images, height, width, channels), or `folders.ImageFiles`, which are uint8.
        image_shape: (height, width, channels) that is expected; None for any.
        name: what the error calls them.

    Returns:
        images, as an array unless they are ImageFiles.

    Raises:
        ValueError: another shape or type, or values that are no finite numbers in [0, 1].
    """
    if isinstance(images, tuple | dict) or images is None:
        raise ValueError(
            f"{name} are a {type(images).__name__}; expected an array. Give images and labels as two arguments."
        )
    if isinstance(images, ImageFiles):
        array = images
    else:
        array = keras.ops.convert_to_numpy(images) if keras.ops.is_tensor(images) else np.asarray(images)
    expected = tuple(image_shape or ("height", "width", "channels"))
    wanted = f"expected (num_images, {', '.join(map(str, expected))})"
    if len(array.shape) != 4 or (image_shape is not None and tuple(array.shape[1:]) != expected):
        raise ValueError(f"{name} have the shape {tuple(array.shape)}; {wanted}.")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} are {array.dtype}; expected uint8, or floats in [0, 1]. Convert them.")
    if array.size:
        low, high = float(array.min()), float(array.max())
        if np.isnan(low):
            raise ValueError(f"{name} hold values that are not numbers (NaN); expected [0, 1], or uint8. Repair them.")
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{name} lie in [{low:.3g}, {high:.3g}]; expected [0, 1], or uint8. Rescale or clip them.")
    return array


def as_float(images):
    """Public images as float32 in [0, 1]: uint8 divided by 255, floats as they are.

    Errors as in `check_images`.
    """
    array = np.asarray(check_images(images))
    return array.astype("float32") / 255 if array.dtype == np.uint8 else array.astype("float32")


def check_labels(labels, num_labels, num_classes):
    """Refuses what is not one class per image.

    Args:
        labels: integers (num_labels,), each in 0 ... num_classes - 1.
        num_labels: how many there must be.
        num_classes: number of classes; None for any.

    Returns:
        int32 array (num_labels,).

    Raises:
        ValueError: another shape or type, or a label that is no class.
    """
    array = keras.ops.convert_to_numpy(labels) if keras.ops.is_tensor(labels) else np.asarray(labels)
    if array.shape != (num_labels,):
        hint = ""
        if array.ndim == 2:
            hint = " Take labels[:, 0]." if array.shape[1] == 1 else " If they are one-hot, take argmax(axis=1)."
        raise ValueError(f"labels have the shape {array.shape}; expected ({num_labels},), one number per image.{hint}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels are {array.dtype}; expected integers.")
    if num_classes is not None and num_labels:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f"labels lie in {low} ... {high}; expected 0 ... {num_classes - 1}.")
    return array.astype("int32")


def check_sides(image_shape, factor):
    """Refuses images whose height or width is not divisible by `factor`."""
    height, width, _ = image_shape
    if height % factor or width % factor:
        raise ValueError(f"images of {height}x{width} pixels do not fit; expected sides divisible by {factor}.")


class Batches(keras.utils.PyDataset):
    """Batches of one epoch after the other; made by `make_dataset`.

    Iterating yields images (batch, height, width, channels) as they are stored, or (images, labels). The order of an
    epoch depends on the seed and `epoch` alone, so that a training that was interrupted can go on with the right one.
    """

    def __init__(self, images, labels, batch_size, shuffle, drop_remainder, seed):
        super().__init__()
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_remainder = drop_remainder
        self.seed = int(np.random.randint(2**31)) if seed is None else seed
        self.epoch = 0
        self.finished = False  # whether the last batch of this epoch has been read
        self._order = None, None

    def __len__(self):
        return len(self.images) // self.batch_size if self.drop_remainder else -(-len(self.images) // self.batch_size)

    def order(self):
        """The numbers of all images in the order of this epoch."""
        if self._order[0] != self.epoch:
            numbers = np.arange(len(self.images))
            if self.shuffle:
                np.random.default_rng((self.seed, self.epoch)).shuffle(numbers)
            self._order = self.epoch, numbers
        return self._order[1]

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        self.finished = index == len(self) - 1
        chosen = self.order()[index * self.batch_size : (index + 1) * self.batch_size]
        return self.images[chosen] if self.labels is None else (self.images[chosen], self.labels[chosen])

    def __iter__(self):
        self.on_epoch_end()  # Whoever read the last batch before need not have asked for one more.
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_end(self):
        """Goes on to the next epoch; Keras calls this before the first one too, on JAX."""
        self.epoch += self.finished
        self.finished = False


def make_dataset(images, labels=None, batch_size=128, shuffle=True, drop_remainder=True, seed=None):
    """Batches images for `fit` and `evaluate`; they stay as they are stored, uint8 or float, until a model takes them.

    Args:
        images: uint8, or floats in [0, 1], (num_images, height, width, channels); arrays, or files of a folder.
        labels: None, or integers (num_images,).
        batch_size: images per batch, at least 1.
        shuffle: another order in every epoch.
        drop_remainder: leave out a last, smaller batch, whose shape would compile every step anew.
        seed: makes the orders repeatable.

    Returns:
        Batches.

    Raises:
        ValueError: images or labels of another kind, or too few images for one batch.
    """
    images = check_images(images)
    if labels is not None:
        labels = check_labels(labels, len(images), None)
    batch_size = whole_number("batch_size", batch_size)
    seed = None if seed is None else whole_number("seed", seed, 0)
    if len(images) < (batch_size if drop_remainder else 1):
        raise ValueError(
            f"{len(images)} images do not fill one batch of {batch_size}; lower batch_size or set drop_remainder=False."
        )
    return Batches(images, labels, batch_size, shuffle, drop_remainder, seed)
