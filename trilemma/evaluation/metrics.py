"""Distances between sets of real and of generated images, given their features or labels.

A function of two sets takes the real one first. Features are arrays (n, d) of any scale; sets may differ in size.
"""

import numpy as np

from trilemma.data import as_float

_BLOCK = 1000


def frechet_distance(real_features, generated_features):
    """Squared Wasserstein-2 distance of the two Gaussians fitted to the features.

    Heusel et al. 2017, equation 6, with the unbiased covariance (divisor n - 1). FID is this distance in the
    features of an Inception network; ours are those of the data set's classifier, so the values are not comparable.

    Args:
        real_features, generated_features: (n, d), n at least 2.

    Returns:
        float, at least 0; lower is better, and larger for small n.
    """
    real, generated = _checked(real_features, generated_features)
    real_root = _symmetric_root(np.atleast_2d(np.cov(real, rowvar=False)))
    generated_covariance = np.atleast_2d(np.cov(generated, rowvar=False))
    # The eigenvalues of S_r S_g are those of the symmetric matrix sqrt(S_r) S_g sqrt(S_r).
    eigenvalues = np.linalg.eigvalsh(real_root @ generated_covariance @ real_root)
    root_trace = np.sum(np.sqrt(np.maximum(eigenvalues, 0)))
    mean_part = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    distance = mean_part + np.sum(real_root**2) + np.trace(generated_covariance) - 2 * root_trace
    return max(0.0, float(distance))  # Rounding can leave a little less.


def _symmetric_root(matrix):
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T


def kernel_distance(real_features, generated_features):
    """Kernel Inception distance: the unbiased squared maximum mean discrepancy under k(a, b) = (a.b / d + 1)^3.

    Binkowski et al. 2018, section 3 and equation 4, over all pairs instead of random subsets.

    Returns:
        float; lower is better, expectation 0 for two samples of one distribution, so that it can be negative.
    """
    real, generated = _checked(real_features, generated_features)
    return float(
        _mean_kernel(real, real, leave_diagonal=True)
        + _mean_kernel(generated, generated, leave_diagonal=True)
        - 2 * _mean_kernel(real, generated, leave_diagonal=False)
    )


def _mean_kernel(a, b, leave_diagonal):
    total = sum(np.sum((a[i : i + _BLOCK] @ b.T / a.shape[1] + 1) ** 3) for i in range(0, len(a), _BLOCK))
    if not leave_diagonal:
        return total / (len(a) * len(b))
    total -= np.sum((np.sum(a * a, axis=1) / a.shape[1] + 1) ** 3)
    return total / (len(a) * (len(a) - 1))


def neighbourhood_scores(real_features, generated_features, k=5):
    """Precision, recall, density and coverage from balls around every image up to its k-th neighbour.

    Kynkaanniemi et al. 2019, equation 1 (precision, recall); Naeem et al. 2020, equations 5 and 6 (density,
    coverage). A point lies in a ball if its distance is strictly below the radius, as in the package `prdc`;
    the radius is the distance to the k-th nearest other point of the same set.

    Returns:
        dict of floats: precision, the share of generated images in some real ball; recall, the share of real
        images in some generated ball; density, the mean number of real balls around a generated image over k;
        coverage, the share of real balls that hold a generated image. Higher is better; density may exceed 1.
    """
    real, generated = _checked(real_features, generated_features)
    if k < 1 or k >= min(len(real), len(generated)):
        raise ValueError(f"k is {k}; expected 1 <= k < {min(len(real), len(generated))}, the size of the smaller set.")
    real_radii = _neighbour_distances(real, k)
    generated_radii = _neighbour_distances(generated, k)
    real_balls = np.zeros(len(generated), int)
    in_generated_ball = np.zeros(len(real), bool)
    ball_filled = np.zeros(len(real), bool)
    for start in range(0, len(real), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances = _squared_distances(real[block], generated)
        in_real_ball = distances < real_radii[block, None]
        real_balls += in_real_ball.sum(axis=0)
        ball_filled[block] = in_real_ball.any(axis=1)
        in_generated_ball[block] = (distances < generated_radii).any(axis=1)
    return {
        "precision": float(np.mean(real_balls > 0)),
        "recall": float(np.mean(in_generated_ball)),
        "density": float(np.mean(real_balls) / k),
        "coverage": float(np.mean(ball_filled)),
    }


def _neighbour_distances(points, k):
    radii = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        distances = _squared_distances(points[start : start + _BLOCK], points)
        # The point itself, at distance 0, must not count as its own neighbour.
        distances[np.arange(len(distances)), start + np.arange(len(distances))] = np.inf
        radii[start : start + _BLOCK] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return radii


def _squared_distances(a, b):
    distances = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1) - 2 * a @ b.T
    return np.maximum(distances, 0)


def nearest_neighbours(points, candidates):
    """The closest candidate of every point.

    Args:
        points: (n, d).
        candidates: (m, d).

    Returns:
        indices: int (n,), into `candidates`.
        distances: float (n,), Euclidean.
    """
    points, candidates = _checked(points, candidates, least=1)
    indices, distances = np.empty(len(points), int), np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        squared = _squared_distances(points[block], candidates)
        indices[block] = squared.argmin(axis=1)
        distances[block] = np.sqrt(squared.min(axis=1))
    return indices, distances


def memorisation_scores(training_points, test_points, generated_points):
    """Whether generated images lie closer to the training images than unseen real images do.

    Meehan et al. 2020, section 3, whose statistic is the first score before its standardisation.

    Args:
        training_points, test_points, generated_points: flattened images or features, (n, d), (m, d), (k, d).

    Returns:
        closer_to_training: the probability that a generated image lies closer to its nearest training image than a
            test image does to its own; 0.5 when nothing is memorised, 1 for copies.
        near_copies: the share of generated images closer to a training image than 99 % of the test images are;
            0.01 is expected.
    """
    _, real = nearest_neighbours(test_points, training_points)
    _, generated = nearest_neighbours(generated_points, training_points)
    real = np.sort(real)
    # Ties count half.
    farther = len(real) - 0.5 * (np.searchsorted(real, generated, "left") + np.searchsorted(real, generated, "right"))
    return {
        "closer_to_training": float(np.mean(farther) / len(real)),
        "near_copies": float(np.mean(generated < np.quantile(real, 0.01))),
    }


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


def _checked(real_features, generated_features, least=2):
    real, generated = np.asarray(real_features, np.float64), np.asarray(generated_features, np.float64)
    shapes = real.shape, generated.shape
    matrices = real.ndim == generated.ndim == 2 and real.shape[1] == generated.shape[1]
    if not matrices or min(len(real), len(generated)) < least:
        wanted = f"(n, d) and (m, d) with n, m >= {least}"
        raise ValueError(f"features have the shapes {shapes[0]} and {shapes[1]}; expected {wanted}.")
    for name, features in (("first", real), ("second", generated)):
        broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{len(broken)} of the {len(features)} features of the {name} set are not finite, the first in row "
                f"{broken[0]}; expected numbers. Look at the images that they are of."
            )
    return real, generated


def _checked_labels(labels, num_classes, name="labels"):
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(f"{name} are {labels.dtype} of shape {labels.shape}; expected at least one integer, (n,).")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"{name} lie in {labels.min()} ... {labels.max()}; expected 0 ... {num_classes - 1}.")
    return labels
