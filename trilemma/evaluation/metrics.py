"""All scores under one name: those of features are in `distances` and `neighbours`, those of labels and pixels here.

A function of two sets takes the real one first.
"""

import numpy as np

from trilemma.data import as_float
from trilemma.evaluation.distances import frechet_distance, kernel_distance, sliced_distance
from trilemma.evaluation.neighbours import memorisation_scores, nearest_neighbours, neighbourhood_scores

__all__ = [
    "class_scores", "frechet_distance", "kernel_distance", "memorisation_scores", "mode_scores", "nearest_neighbours",
    "neighbourhood_scores", "sharpness", "sliced_distance",
]  # fmt: skip


def sharpness(images):
    """The mean squared difference of vertical neighbours among the pixels plus that of horizontal ones.

    Args:
        images: uint8, or floats in [0, 1], (n, height, width, channels).

    Returns:
        float; blur lowers it, noise raises it.
    """
    images = as_float(images)
    return float(np.mean(np.diff(images, axis=1) ** 2) + np.mean(np.diff(images, axis=2) ** 2))


def class_scores(real_labels, generated_labels, num_classes):
    """How the generated images spread over the classes.

    Args:
        real_labels, generated_labels: int (n,), each in 0 ... num_classes - 1.
        num_classes: number of classes.

    Returns:
        classes_covered: classes with at least one generated image.
        class_kl: KL(generated histogram || real histogram) in nats, at least 0; lower is better.
    """
    real_labels = _checked_labels(real_labels, num_classes, "real labels")
    real = np.bincount(real_labels, minlength=num_classes) / len(real_labels)
    if np.any(real == 0):
        raise ValueError(
            f"the real labels lack the classes {np.flatnonzero(real == 0).tolist()}; use more real images, or "
            "train the classifier that gave them longer."
        )
    covered, kl = _histogram_kl(generated_labels, real)
    return {"classes_covered": covered, "class_kl": kl}


def mode_scores(labels, num_modes):
    """How the generated images spread over modes, compared with equal shares, as for Stacked-MNIST.

    Srivastava et al. 2017, section 4.2.

    Args:
        labels: int (n,), each in 0 ... num_modes - 1.
        num_modes: number of modes.

    Returns:
        modes_covered: modes with at least one image.
        mode_kl: KL(histogram || uniform) in nats. Uniform labels have about num_modes / 2n; real Stacked-MNIST a
            little more, since digits are not equally frequent.
    """
    covered, kl = _histogram_kl(labels, np.full(num_modes, 1 / num_modes))
    return {"modes_covered": covered, "mode_kl": kl}


def _histogram_kl(labels, shares):
    """Bins that hold a label, and KL(histogram of the labels || shares) in nats."""
    labels = _checked_labels(labels, len(shares))
    histogram = np.bincount(labels, minlength=len(shares)) / len(labels)
    covered = histogram > 0
    kl = np.sum(histogram[covered] * np.log(histogram[covered] / shares[covered]))
    return int(covered.sum()), float(kl)


def _checked_labels(labels, num_classes, name="labels"):
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(f"{name} are {labels.dtype} of shape {labels.shape}; expected at least one integer, (n,).")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"{name} lie in {labels.min()} ... {labels.max()}; expected 0 ... {num_classes - 1}.")
    return labels
