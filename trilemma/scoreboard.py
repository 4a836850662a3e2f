"""One evaluator for every model: quality, coverage and speed against real test images, as one row."""

import functools
import hashlib
import math
import statistics
import time

import numpy as np

from trilemma import data, device, metrics, pretrained

_SCORES = (
    "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "classes_covered", "class_kl",
    "modes_covered", "mode_kl",
)  # fmt: skip


def score(model, data_set, num_images=2000, seed=0, batch_size=100, progress=False):
    """Generates images and scores them.

    Args:
        model: a GenerativeModel.
        data_set: name of the data set that the model was trained on.
        num_images: generated images, compared with as many real test images; 10 ... 10,000 (see `score_images`).
        seed: for `model.generate`.
        batch_size: images drawn at once; also the batch size of the measured speed.
        progress: show a progress bar.

    Returns:
        dict: the scores of `score_images`, images_per_second (compiled and warm), passes_per_image (NFE),
        parameters (trainable), seed, batch_size, device, images_sha256 (of the images in 8 bits).
    """
    _check(data_set, num_images, model.image_shape)
    batch_size = min(batch_size, num_images)
    images, seconds = timed_generate(model, num_images, seed, batch_size, progress)
    return {
        **score_images(images, data_set),
        "images_sha256": hashlib.sha256(np.round(images * 255).astype("uint8")).hexdigest(),
        # A last batch that is not full takes as long as a full one.
        "images_per_second": math.ceil(num_images / batch_size) * batch_size / seconds,
        "passes_per_image": model.passes_per_image,
        "parameters": pretrained.count_parameters(model),
        "seed": seed,
        "batch_size": batch_size,
        "device": device.device_name(),
    }


def timed_generate(model, num_images, seed=0, batch_size=100, progress=False):
    """Generates images and measures the seconds that it takes, without those of compiling: a first batch is not timed.

    Returns:
        images: float32 (num_images, height, width, channels).
        seconds: float.
    """
    model.generate(batch_size, seed=seed, batch_size=batch_size)
    start = time.perf_counter()
    images = model.generate(num_images, seed=seed, batch_size=batch_size, progress=progress)
    return images, time.perf_counter() - start


def score_images(images, data_set):
    """Scores images against real test images, as many as there are images: a fixed random choice of the 10,000.

    Images of "stacked_mnist" are compared with nothing: the classifier of MNIST labels every channel, and the modes
    are counted; there may be more than 10,000 of them.

    Args:
        images: (num_images, 28, 28, 1) in [0, 1], of "stacked_mnist" (num_images, 28, 28, 3); 10 ... 10,000 images.
        data_set: name of the data set.

    Returns:
        dict: num_images, frechet_distance, kernel_distance, precision, recall, density, coverage, classes_covered,
        class_kl; of "stacked_mnist" num_images, modes_covered, mode_kl. See `metrics`.

    Raises:
        ValueError: another shape, values outside [0, 1], or too few or too many images.
    """
    images = np.asarray(images)
    _check(data_set, len(images), images.shape[1:])
    stacked = data_set == "stacked_mnist"
    classifier = _classifier("mnist" if stacked else data_set)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images lie in [{low:.3g}, {high:.3g}]; expected [0, 1]. Rescale or clip them.")
    if stacked:
        digits = [classifier.embed(images[..., channel : channel + 1])[1] for channel in range(3)]
        return {"num_images": len(images), **metrics.mode_scores(np.array([100, 10, 1]) @ digits, 1000)}
    features, labels = classifier.embed(images)
    reference = pretrained.load_arrays(f"reference_{data_set}")
    real_features = reference["features"][: len(features)]
    return {
        "num_images": len(features),
        "frechet_distance": metrics.frechet_distance(real_features, features),
        "kernel_distance": metrics.kernel_distance(real_features, features),
        **metrics.neighbourhood_scores(real_features, features),
        # Labels by the classifier on both sides, so that its own errors do not count as missing classes.
        **metrics.class_scores(reference["labels"], labels, len(data.CLASS_NAMES[data_set])),
    }


def score_real(data_set, num_images=2000, seed=0):
    """The ceiling of the scoreboard: a random choice of real training images, scored as `score_images` does."""
    images, _ = data.load_images(data_set, "train")
    if num_images > len(images):
        raise ValueError(f"num_images is {num_images}; only {len(images)} training images are at hand.")
    chosen = np.random.default_rng(seed).choice(len(images), num_images, replace=False)
    return {**score_images(images[chosen], data_set), "seed": seed}


def score_gaussian(data_set, num_images=2000, seed=0):
    """The floor of the scoreboard: pixels drawn independently with the mean and deviation that they have in training.

    Values are cut to [0, 1].
    """
    images, _ = data.load_images(data_set, "train")
    noise = np.random.default_rng(seed).standard_normal((num_images, *images.shape[1:]))
    drawn = np.clip(images.mean(axis=0) + images.std(axis=0) * noise, 0, 1)
    return {**score_images(drawn.astype("float32"), data_set), "seed": seed}


def summarise(runs):
    """Joins the rows of one model with different seeds to one row.

    Args:
        runs: list of rows that differ in their seed.

    Returns:
        dict: as a row, with the mean of every score; "spread" holds the standard deviations (divisor n - 1; empty
        for a single run), "seeds" the seeds.
    """
    scores = [key for key in runs[0] if key in _SCORES]
    columns = {key: [run[key] for run in runs] for key in scores}
    spread = {key: statistics.stdev(values) for key, values in columns.items()} if len(runs) > 1 else {}
    constant = {key: value for key, value in runs[0].items() if all(run.get(key) == value for run in runs)}
    return {
        **{key: value for key, value in constant.items() if key != "seed"},
        **{key: statistics.fmean(values) for key, values in columns.items()},
        "spread": spread,
        "seeds": [run["seed"] for run in runs],
    }


def ranks(rows, key, lower_is_better=False):
    """Ranks rows by one score; a difference smaller than the spread of single runs does not count.

    Args:
        rows: name -> row of `summarise` over at least two seeds.
        key: a score.
        lower_is_better: True for distances.

    Returns:
        name -> 1 + the number of rows that are better by more than sqrt(spread^2 + spread^2), the standard deviation
        of the difference of two single runs. The spread is that of drawing images, not of training.
    """
    sign = -1 if lower_is_better else 1

    def better(one, other):
        return sign * (one[key] - other[key]) > math.hypot(one["spread"][key], other["spread"][key])

    return {name: 1 + sum(better(other, row) for other in rows.values()) for name, row in rows.items()}


def trilemma_corners(name, rows):
    """Normalises a row of the scoreboard to the three corners of the trilemma, each cut to [0, 1].

    Quality measures the square root of the Fréchet distance, itself a distance, on a scale from the Gaussian row, 0,
    to the real row, 1. Coverage is recall over the real row's recall. Speed is logarithmic: 1 for the fastest model,
    and a third less for every factor of ten below it.

    Args:
        name: the model.
        rows: name -> row, all of one data set and one number of images; with "real" and "gaussian".

    Returns:
        dict with "quality", "speed" and "coverage".
    """
    row, real, gaussian = rows[name], rows["real"], rows["gaussian"]
    distance, ceiling, floor = (each["frechet_distance"] ** 0.5 for each in (row, real, gaussian))
    fastest = max(each["images_per_second"] for each in rows.values() if "images_per_second" in each)
    corners = {
        "quality": (floor - distance) / (floor - ceiling),
        "speed": 1 + np.log10(row["images_per_second"] / fastest) / 3,
        "coverage": row["recall"] / real["recall"],
    }
    return {key: float(np.clip(value, 0, 1)) for key, value in corners.items()}


def save_reference(data_set, data_dir=None):
    """Computes and ships the features and labels of the 10,000 test images."""
    images, _ = data.load_images(data_set, "test", data_dir)
    # MNIST is ordered (by writer, and its first 5,000 test images are cleaner): any first n must be typical.
    features, labels = _classifier(data_set).embed(images[np.random.default_rng(0).permutation(len(images))])
    pretrained.save_arrays(f"reference_{data_set}", {"features": features, "labels": labels.astype("uint8")})


@functools.cache
def _classifier(data_set):
    return pretrained.load_pretrained(f"classifier_{data_set}")


def _check(data_set, num_images, image_shape):
    if data_set not in data.DATA_SETS:
        raise ValueError(f"unknown data set {data_set!r}; expected one of {sorted(data.DATA_SETS)}.")
    expected = (28, 28, 3) if data_set == "stacked_mnist" else (28, 28, 1)
    if tuple(image_shape) != expected:
        raise ValueError(f"images of {data_set} have the shape {expected}; got {tuple(image_shape)}.")
    if num_images < 10 or (num_images > 10_000 and data_set != "stacked_mnist"):
        raise ValueError(f"num_images is {num_images}; a score needs 10 to 10,000 images.")
