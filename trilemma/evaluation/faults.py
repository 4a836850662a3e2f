"""Real images damaged in known ways, to see which score notices what.

A fault is a function (images, labels, num_images, generator) -> float32 (num_images, height, width, channels) in
[0, 1]. It takes what it needs from the front of a pool of real images in random order, uint8 or floats in [0, 1],
(n, height, width, channels), with integer labels (n,), and changes nothing in place.
"""

import numpy as np

from trilemma.data import as_float, check_images, check_labels

_CLASS = 3  # the class that is left when only one is
_MOST_COPIES = 3  # of an image where a class has too few; six copies would have five neighbours at distance 0
_NUM_OUTLIERS = 10


def damage(images, labels, num_images, seed=0):
    """Applies every fault to real images.

    The last `num_images` of the shuffled pool stand for the images that a model was trained on; only their copies
    come from them.

    Args:
        images: the pool, uint8 or floats in [0, 1], (n, height, width, channels), n at least 2 num_images.
        labels: integers (n,).
        num_images: images per fault, more than 10.
        seed: shuffles the pool and draws what a fault draws.

    Returns:
        dict: name of `FAULTS` -> float32 (num_images, height, width, channels).

    Raises:
        ValueError: too few images, of all or of one class; and as `check_images` and `check_labels`.
    """
    images = check_images(images)
    labels = check_labels(labels, len(images), None)
    if not _NUM_OUTLIERS < num_images <= len(images) // 2:
        raise ValueError(
            f"num_images is {num_images}; expected more than {_NUM_OUTLIERS} and at most half of the {len(images)} "
            "images at hand."
        )
    order = np.random.default_rng(seed).permutation(len(images))
    unseen, training = order[:-num_images], order[-num_images:]
    damaged = {}
    for name, fault in FAULTS.items():
        chosen = training if fault is copies else unseen
        damaged[name] = fault(images[chosen], labels[chosen], num_images, np.random.default_rng(seed))
    return damaged


def nothing(images, labels, num_images, generator):
    """The first images of the pool as they are."""
    return _front(images, num_images)


def blur(images, labels, num_images, generator):
    """Every pixel becomes the mean of the 3x3 around it; beyond the edge its nearest pixel is repeated."""
    intact = _front(images, num_images)
    height, width = intact.shape[1:3]
    padded = np.pad(intact, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return sum(padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)) / np.float32(9)


def noise(images, labels, num_images, generator):
    """Gaussian noise of deviation 0.2 on every pixel, cut to [0, 1]."""
    intact = _front(images, num_images)
    return np.clip(intact + 0.2 * generator.standard_normal(intact.shape, "float32"), 0, 1)


def one_class(images, labels, num_images, generator):
    """Images of class 3 alone. Where it has fewer, its images come twice, or three times."""
    return _of_classes(images, labels, [_CLASS], num_images)


def one_class_and_outliers(images, labels, num_images, generator):
    """Class 3 with ten images of the other classes in turn.

    Far from their own five nearest neighbours, those ten have balls large enough to hold nearly all real images.
    """
    others = [np.flatnonzero(labels == label) for label in np.setdiff1d(labels, _CLASS)]
    outliers = [found[i] for i in range(_NUM_OUTLIERS) for found in others if i < len(found)][:_NUM_OUTLIERS]
    if len(outliers) < _NUM_OUTLIERS:
        raise ValueError(f"classes other than {_CLASS} have {len(outliers)} images; {_NUM_OUTLIERS} are needed.")
    most = _of_classes(images, labels, [_CLASS], num_images - _NUM_OUTLIERS)
    return np.concatenate([most, as_float(images[outliers])])


def half_of_the_classes(images, labels, num_images, generator):
    """Images of the first half of the classes; as many images, so twice as many of each as there should be."""
    return _of_classes(images, labels, _first_half(labels), num_images)


def dropped_and_invented(images, labels, num_images, generator):
    """Half as many images, of the first half of the classes; the others have their pixels in another, common order."""
    num_kept = num_images - num_images // 2
    kept = _of_classes(images, labels, _first_half(labels), num_kept)
    shape = images.shape[1:]
    pixels = _front(images, num_images - num_kept).reshape(-1, shape[0] * shape[1], shape[2])
    return np.concatenate([kept, pixels[:, generator.permutation(pixels.shape[1])].reshape(-1, *shape)])


def repeated_twice(images, labels, num_images, generator):
    """Half of the images, each twice."""
    return _repeated(images, num_images, 2)


def repeated_ten_times(images, labels, num_images, generator):
    """A tenth of the images, each ten times: nine neighbours lie at distance 0, so every ball of five is a point."""
    return _repeated(images, num_images, 10)


def copies(images, labels, num_images, generator):
    """As `nothing`, from a pool of images that a model was trained on."""
    return nothing(images, labels, num_images, generator)


def gaussian_pixels(images, labels, num_images, generator):
    """No image at all: every pixel drawn on its own with its mean and deviation over the pool, cut to [0, 1]."""
    pool = as_float(images)
    drawn = generator.standard_normal((num_images, *pool.shape[1:]), "float32")
    return np.clip(pool.mean(axis=0) + pool.std(axis=0) * drawn, 0, 1)


FAULTS = {
    "nothing": nothing,
    "blur": blur,
    "noise": noise,
    "half of the classes": half_of_the_classes,
    "one class": one_class,
    "one class, ten outliers": one_class_and_outliers,
    "half dropped, half invented": dropped_and_invented,
    "half of the images, twice": repeated_twice,
    "a tenth, ten times": repeated_ten_times,
    "copies of training images": copies,
    "Gaussian pixels": gaussian_pixels,
}


def _front(images, count):
    if len(images) < count:
        raise ValueError(f"a fault takes {count} images; only {len(images)} are at hand.")
    return as_float(images[:count])


def _repeated(images, num_images, times):
    return np.repeat(_front(images, -(-num_images // times)), times, axis=0)[:num_images]


def _first_half(labels):
    classes = np.unique(labels)
    return classes[: -(-len(classes) // 2)]


def _of_classes(images, labels, classes, count):
    """The first images of some classes, from the front again where there are too few."""
    found = np.flatnonzero(np.isin(labels, classes))
    if _MOST_COPIES * len(found) < count:
        raise ValueError(
            f"the classes {[int(each) for each in classes]} have {len(found)} images; {count} of them, none more than "
            f"{_MOST_COPIES} times, take at least {-(-count // _MOST_COPIES)}."
        )
    return as_float(images[np.resize(found, count)])
