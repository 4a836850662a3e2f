"""Rows of the scoreboard: quality, coverage and speed of a model against real images."""

import hashlib
import math
import statistics
import time

import numpy as np

from trilemma import device
from trilemma.data import as_float, check_images, get_data_set, load_images
from trilemma.evaluation.evaluators import evaluator_of
from trilemma.training import pretrained

_SCORES = (
    "frechet_distance", "kernel_distance", "sliced_distance", "precision", "recall", "density", "coverage",
    "clipped_density", "clipped_coverage", "classes_covered", "class_kl", "frechet_distance_2", "clipped_density_2",
    "clipped_coverage_2", "accuracy", "accuracy_2", "modes_covered", "mode_kl", "closer_to_training", "near_copies",
)  # fmt: skip
NOISE = "threefry2x32"  # what images are drawn from; runs of one row share it


def score(model, data_set, num_images=2000, seed=0, batch_size=100, progress=False):
    """Generates images and scores them.

    Args:
        model: a GenerativeModel; one with classes draws them as often as they occur, see `draw_labels`.
        data_set: name of the data set that the model was trained on.
        num_images: generated images, compared with as many real test images; at least 10 (see `score_images`).
        seed: for `model.generate`.
        batch_size: images drawn at once; also the batch size of the measured speed.
        progress: show a progress bar.

    Returns:
        dict: the scores of `score_images`, images_per_second (compiled and warm), passes_per_image (NFE),
        parameters (trainable), seed, noise, batch_size, device, images_sha256 (of the images in 8 bits).
    """
    if not hasattr(model, "generate"):
        raise ValueError(f"model is a {type(model).__name__}, which draws no images; score_images takes images.")
    _check(data_set, num_images, model.image_shape)
    batch_size = min(batch_size, num_images)
    labels = draw_labels(model, data_set, num_images, seed)
    images, seconds = timed_generate(model, num_images, seed, batch_size, progress, labels)
    return {
        **score_images(images, data_set, labels),
        "images_sha256": hashlib.sha256(np.round(images * 255).astype("uint8")).hexdigest(),
        # A last batch that is not full takes as long as a full one.
        "images_per_second": math.ceil(num_images / batch_size) * batch_size / seconds,
        "passes_per_image": model.passes_per_image,
        "parameters": pretrained.count_parameters(model),
        "seed": seed,
        "noise": NOISE,
        "batch_size": batch_size,
        "device": device.device_name(),
    }


def draw_labels(model, data_set, num_images, seed=0):
    """Labels for `model.generate`: classes drawn as often as they occur among real test images; None without classes.

    Args:
        model: a GenerativeModel.
        data_set, num_images, seed: as in `score`.

    Returns:
        int array (num_images,), or None.
    """
    if model.num_classes is None:
        return None
    _, labels = evaluator_of(data_set).first.reference()
    return np.random.default_rng(seed).choice(labels, num_images).astype("int32")


def timed_generate(model, num_images, seed=0, batch_size=100, progress=False, labels=None):
    """Generates images and measures the seconds that it takes, without those of compiling: a first batch is not timed.

    Returns:
        images: float32 (num_images, height, width, channels).
        seconds: float.
    """
    first = None if labels is None else labels[:batch_size]
    model.generate(batch_size, labels=first, seed=seed, batch_size=batch_size)
    start = time.perf_counter()
    images = model.generate(num_images, labels=labels, seed=seed, batch_size=batch_size, progress=progress)
    return images, time.perf_counter() - start


def score_images(images, data_set, labels=None):
    """Scores images with the evaluator of a data set.

    Args:
        images: uint8, or floats in [0, 1], (num_images, height, width, channels) of the data set; at least 10, and
            at most as many as its evaluator has real images.
        data_set: name of the data set.
        labels: integers (num_images,), what the images should show; None where nothing was asked for.

    Returns:
        dict: num_images, and the scores of `evaluators.FeatureEvaluator` or `ModeEvaluator`.

    Raises:
        ValueError: another shape or type, values outside [0, 1], or too few or too many images.
    """
    images = images if hasattr(images, "shape") else np.asarray(images)
    _check(data_set, len(images), images.shape[1:])
    return {"num_images": len(images), **evaluator_of(data_set).score(check_images(images), labels)}


def score_real(data_set, num_images=2000, seed=0, data_dir=None):
    """The ceiling of the scoreboard: a random choice of real training images, scored as `score_images` does.

    `data_dir` as in `data.load_images`.
    """
    images, labels = load_images(data_set, "train", data_dir)
    if num_images > len(images):
        raise ValueError(f"num_images is {num_images}; only {len(images)} training images are at hand.")
    chosen = np.random.default_rng(seed).choice(len(images), num_images, replace=False)
    return {**score_images(images[chosen], data_set, labels[chosen]), "seed": seed}


def score_gaussian(data_set, num_images=2000, seed=0, data_dir=None):
    """The floor of the scoreboard: pixels drawn independently with the mean and deviation that they have in training.

    Values are cut to [0, 1]. `data_dir` as in `data.load_images`.
    """
    images = as_float(load_images(data_set, "train", data_dir)[0])
    noise = np.random.default_rng(seed).standard_normal((num_images, *images.shape[1:]))
    drawn = np.clip(images.mean(axis=0) + images.std(axis=0) * noise, 0, 1)
    return {**score_images(drawn.astype("float32"), data_set), "seed": seed}


BOUNDS = {"real": score_real, "gaussian": score_gaussian}


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
    to the real row, 1. Coverage is the clipped coverage over the real row's: of the scores of coverage it is the one
    that every fault of `faults` moves as it should. Speed is logarithmic: 1 for the fastest model,
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
        "coverage": row["clipped_coverage"] / real["clipped_coverage"],
    }
    return {key: float(np.clip(value, 0, 1)) for key, value in corners.items()}


def _check(data_set, num_images, image_shape):
    expected = get_data_set(data_set).image_shape
    if tuple(image_shape) != expected:
        raise ValueError(f"images of {data_set} have the shape {expected}; got {tuple(image_shape)}.")
    most = evaluator_of(data_set).most_images
    if not 10 <= num_images <= most:
        raise ValueError(f"num_images is {num_images}; a score of {data_set} needs 10 to {most:,} images.")
