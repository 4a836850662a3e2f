"""One evaluator for every model: quality, coverage and speed against real test images, as one row."""

import functools
import json
import pathlib
import time

import matplotlib.image
import numpy as np

from trilemma import data, device, metrics, pretrained

_PACKAGE_DIR = pathlib.Path(__file__).parent


def score(model, data_set, num_images=2000, seed=0, batch_size=100, progress=False):
    """Generates images and scores them.

    Args:
        model: a GenerativeModel.
        data_set: name of the data set that the model was trained on.
        num_images: generated images, compared with as many real test images; 10 ... 10,000.
        seed: for `model.generate`.
        batch_size: images drawn at once; also the batch size of the measured speed.
        progress: show a progress bar.

    Returns:
        dict: the scores of `score_images`, images_per_second (compiled and warm: after a first batch that is not
        timed), passes_per_image (NFE), parameters (trainable), seed, batch_size, device.
    """
    _check_num_images(num_images)
    batch_size = min(batch_size, num_images)
    model.generate(batch_size, seed=seed, batch_size=batch_size)
    start = time.perf_counter()
    images = model.generate(num_images, seed=seed, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - start
    return {
        **score_images(images, data_set),
        "images_per_second": num_images / seconds,
        "passes_per_image": model.passes_per_image,
        "parameters": pretrained.count_parameters(model),
        "seed": seed,
        "batch_size": batch_size,
        "device": device.device_name(),
    }


def score_images(images, data_set):
    """Scores images against real test images, as many as there are images: a fixed random choice of the 10,000.

    Args:
        images: (num_images, 28, 28, 1) in [0, 1]; 10 ... 10,000 images.
        data_set: name of the data set.

    Returns:
        dict: num_images, frechet_distance, kernel_distance, precision, recall, density, coverage, classes_covered,
        class_kl; see `metrics`.

    Raises:
        ValueError: another shape, values outside [0, 1], or too few or too many images.
    """
    images = np.asarray(images)
    classifier = _classifier(data_set)
    if images.shape[1:] != classifier.image_shape:
        raise ValueError(f"images have the shape {images.shape}; expected (num_images, *{classifier.image_shape}).")
    _check_num_images(len(images))
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images lie in [{low:.3g}, {high:.3g}]; expected [0, 1]. Rescale or clip them.")
    return _compare(*classifier.embed(images), data_set)


def score_real(data_set, num_images=2000):
    """The ceiling of the scoreboard: random real training images against real test images, as `score_images` does."""
    _check_num_images(num_images)
    reference = pretrained.load_arrays(f"reference_{data_set}")
    return _compare(reference["train_features"][:num_images], reference["train_labels"][:num_images], data_set)


def _compare(features, labels, data_set):
    reference = pretrained.load_arrays(f"reference_{data_set}")
    real_features = reference["test_features"][: len(features)]
    return {
        "num_images": len(features),
        "frechet_distance": metrics.frechet_distance(real_features, features),
        "kernel_distance": metrics.kernel_distance(real_features, features),
        **metrics.neighbourhood_scores(real_features, features),
        # Labels by the classifier on both sides, so that its own errors do not count as missing classes.
        **metrics.class_scores(reference["test_labels"], labels, len(data.CLASS_NAMES[data_set])),
    }


def save_reference(data_set, data_dir=None):
    """Computes and ships the features and labels of the 10,000 test images and of 10,000 training images."""
    arrays = {}
    for split in ("train", "test"):
        images, _ = data.load_images(data_set, split, data_dir)
        # MNIST is ordered (by writer, and its first 5,000 test images are cleaner): any first n must be typical.
        images = images[np.random.default_rng(0).permutation(len(images))[:10_000]]
        features, labels = _classifier(data_set).embed(images)
        arrays |= {f"{split}_features": features, f"{split}_labels": labels.astype("uint8")}
    pretrained.save_arrays(f"reference_{data_set}", arrays)


@functools.cache
def _classifier(data_set):
    return pretrained.load_pretrained(f"classifier_{data_set}")


def _check_num_images(num_images):
    if not 10 <= num_images <= 10_000:
        raise ValueError(f"num_images is {num_images}; a score needs 10 to 10,000 images.")


def load_results(name):
    """Reads `results/<name>.json` of the repository, or the copy inside an installed package."""
    return json.loads(_results_file(f"{name}.json").read_text())


def _results_file(name):
    for folder in (_PACKAGE_DIR.parent / "results", _PACKAGE_DIR / "results"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"results/{name} does not exist; see the README for the command that writes it.")


def load_epoch_samples(name, image_shape=(28, 28, 1)):
    """Reads `results/epochs_<name>.png`: ten images per epoch, drawn during the training from one fixed seed.

    Returns:
        float32 (num_epochs, 10, height, width, channels) in [0, 1].
    """
    height, width, channels = image_shape
    picture = matplotlib.image.imread(_results_file(f"epochs_{name}.png"))[..., :channels]
    return picture.reshape(-1, height, 10, width, channels).swapaxes(1, 2)


def markdown_table(rows, columns):
    """Formats rows (dicts) as a Markdown table.

    Args:
        rows: list of dicts.
        columns: key -> format specification, for example {"model": "", "precision": ".2f"}; a missing value shows
            as a dash.
    """
    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    for row in rows:
        cells = [format(row[key], spec) if row.get(key) is not None else "–" for key, spec in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
