"""Distances between a set of real and a set of generated images, given their features.

A function takes the real set first. Features are arrays (n, d) of any scale; the sets may differ in size.
"""

import numpy as np

_BLOCK = 1000
_SLICES_AT_ONCE = 50


def frechet_distance(real_features, generated_features):
    """Squared Wasserstein-2 distance of the two Gaussians fitted to the features.

    Heusel et al. 2017, equation 6, with the unbiased covariance (divisor n - 1). FID is this distance in the
    features of an Inception network; ours are those of the data set's classifier, so the values are not comparable.

    Args:
        real_features, generated_features: (n, d), n at least 2.

    Returns:
        float, at least 0; lower is better, and larger for small n.
    """
    real, generated = check_features(real_features, generated_features)
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
    real, generated = check_features(real_features, generated_features)
    return float(
        _mean_kernel(real, real, leave_diagonal=True)
        + _mean_kernel(generated, generated, leave_diagonal=True)
        - 2 * _mean_kernel(real, generated, leave_diagonal=False)
    )


def _mean_kernel(a, b, leave_diagonal):
    total = sum(np.sum((a[block] @ b.T / a.shape[1] + 1) ** 3) for block in blocks(len(a)))
    if not leave_diagonal:
        return total / (len(a) * len(b))
    total -= np.sum((np.sum(a * a, axis=1) / a.shape[1] + 1) ** 3)
    return total / (len(a) * (len(a) - 1))


def sliced_distance(real_features, generated_features, num_projections=1000, seed=0):
    """Sliced Wasserstein distance: the mean squared Wasserstein-2 distance of random projections, times 3 d.

    The Monge Inception distance (MIND) of Berthet et al. 2026 in our features. Projected on a line, two samples are
    compared exactly, without Gaussians: W_2^2 is the integral over q in [0, 1] of the squared difference of their
    quantiles. For sets of one size that is the mean squared difference of the sorted values. A unit vector drawn
    evenly takes 1 / d of a squared length on average, so a pure shift of all features by v gives 3 |v|^2.

    Args:
        real_features, generated_features: (n, d), (m, d), n and m at least 2.
        num_projections: unit vectors; the deviation over their choice falls with its square root.
        seed: chooses the unit vectors.

    Returns:
        float, at least 0; lower is better, and larger for small n, but far less so than `frechet_distance`.
    """
    real, generated = check_features(real_features, generated_features)
    if num_projections < 1:
        raise ValueError(f"num_projections is {num_projections}; expected at least 1.")
    num_real, num_generated, dimensions = len(real), len(generated), real.shape[1]
    directions = np.random.default_rng(seed).standard_normal((num_projections, dimensions))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # Both quantile functions are steps; in units of 1 / (n m), one is constant between multiples of m, the other of n.
    steps = np.union1d(np.arange(num_real + 1) * num_generated, np.arange(num_generated + 1) * num_real)
    real_places, generated_places = steps[:-1] // num_generated, steps[:-1] // num_real
    widths = np.diff(steps) / (num_real * num_generated)
    total = 0.0
    for start in range(0, num_projections, _SLICES_AT_ONCE):
        chosen = directions[start : start + _SLICES_AT_ONCE]
        real_values, generated_values = (np.sort(chosen @ points.T, axis=1) for points in (real, generated))
        difference = real_values[:, real_places] - generated_values[:, generated_places]
        total += np.sum(difference**2 @ widths)
    return float(3 * dimensions * total / num_projections)


def squared_distances(a, b):
    """Squared Euclidean distances (n, m) of the rows of a (n, d) from those of b (m, d), exact to rounding."""
    distances = (-2 * a) @ b.T
    distances += np.sum(a * a, axis=1)[:, None]
    distances += np.sum(b * b, axis=1)
    return np.maximum(distances, 0, out=distances)


def blocks(count):
    """Slices that part 0 ... count - 1, so that a matrix of distances needs bounded memory."""
    return [slice(start, start + _BLOCK) for start in range(0, count, _BLOCK)]


def check_features(real_features, generated_features, least=2):
    """Both sets in float64.

    Raises:
        ValueError: other shapes than (n, d) and (m, d), fewer than `least` rows, or values that are no numbers.
    """
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
