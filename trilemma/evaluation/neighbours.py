"""Scores of neighbourhoods: which images lie among which others, given features (n, d) or flattened images."""

import numpy as np

from trilemma.evaluation.distances import blocks, check_features, squared_distances


def neighbourhood_scores(real_features, generated_features, k=5):
    """Six scores from balls around every image up to its k-th nearest other image of the same set.

    Kynkaanniemi et al. 2019, equation 1 (precision, recall); Naeem et al. 2020, equations 5 and 6 (density,
    coverage): a point lies in a ball if its distance is strictly below the radius, as in the package `prdc`.

    Salvy et al. 2026 (clipped density, clipped coverage): the edge belongs to the ball. Strict balls would hold k - 1
    other real images instead of k, so that the real set's own score, the unit of the clipped density, came out too
    low; and repeated images would not lie in their own ball, of radius 0.

    Args:
        real_features, generated_features: (n, d), (m, d).
        k: neighbours, 1 <= k < n, m.

    Returns:
        dict of floats; higher is better.
            precision: the share of generated images in some real ball.
            recall: the share of real images in some generated ball.
            density: the mean number of real balls around a generated image over k; may exceed 1.
            coverage: the share of real balls that hold a generated image.
            clipped_density: the mean over generated images of min(1, number of real balls around it / k), with radii
                cut at their median, over the same mean for real images (each without its own ball), cut at 1. Reads
                as the share of generated images that are good.
            clipped_coverage: the mean over real balls of min(1, number of generated images in it / k), translated by
                `expected_filling` into the share of generated images drawn from the real distribution, the others
                lying in no ball, that is expected to give this mean.
    """
    real, generated = check_features(real_features, generated_features)
    if k < 1 or k >= min(len(real), len(generated)):
        raise ValueError(f"k is {k}; expected 1 <= k < {min(len(real), len(generated))}, the size of the smaller set.")
    radii, generated_radii = _squared_radii(real, k), _squared_radii(generated, k)
    closed_radii = _with_edge(real, radii)
    cut_radii = _with_edge(real, np.minimum(radii, np.median(np.sqrt(radii)) ** 2))
    real_balls, cut_balls, own_cut_balls = (np.zeros(len(points), int) for points in (generated, generated, real))
    ball_filled, in_generated_ball = np.zeros((2, len(real)), bool)
    num_inside = np.zeros(len(real), int)
    for block in blocks(len(real)):
        distances = squared_distances(real[block], generated)
        in_real_ball = distances < radii[block, None]
        real_balls += np.count_nonzero(in_real_ball, axis=0)
        ball_filled[block] = in_real_ball.any(axis=1)
        in_generated_ball[block] = (distances < generated_radii).any(axis=1)
        num_inside[block] = np.count_nonzero(distances <= closed_radii[block, None], axis=1)
        cut_balls += np.count_nonzero(distances <= cut_radii[block, None], axis=0)
        own = squared_distances(real[block], real)
        own_cut_balls += np.count_nonzero(own <= cut_radii[block, None], axis=0)
    own_cut_balls -= 1  # the ball around the image itself
    clipped_density, own_clipped_density = (np.mean(np.minimum(1, balls / k)) for balls in (cut_balls, own_cut_balls))
    shares = np.arange(len(generated) + 1) / len(generated)
    filling = np.mean(np.minimum(1, num_inside / k))
    return {
        "precision": float(np.mean(real_balls > 0)),
        "recall": float(np.mean(in_generated_ball)),
        "density": float(np.mean(real_balls) / k),
        "coverage": float(np.mean(ball_filled)),
        "clipped_density": float(min(1, clipped_density / own_clipped_density)),
        "clipped_coverage": float(np.interp(filling, expected_filling(len(real), len(generated), k), shares)),
    }


def expected_filling(num_real, num_generated, k):
    """The expected mean of min(1, count / k) over real balls when 0, 1, 2 ... generated images are good ones.

    Salvy et al. 2026, calibration of the clipped coverage. Let m generated images and the real ones be drawn from one
    continuous distribution. The chance that a generated image falls in the ball up to the k-th of n - 1 other real
    images is then distributed as Beta(k, n - k), whatever the distribution of the images, so the count in the ball is
    beta-binomial, P(j) = C(m, j) B(k + j, n - k + m - j) / B(k, n - k), and the expectation is
    1 - sum over j < k of (1 - j / k) P(j).

    Args:
        num_real: n, more than k.
        num_generated: the largest m.
        k: neighbours.

    Returns:
        float64 (num_generated + 1,), increasing from 0; entry m is for m good images.
    """
    good = np.arange(num_generated + 1.0)
    probability = np.ones_like(good)
    for i in range(1, k + 1):
        probability *= (num_real - i) / (num_real - i + good)  # After the loop, P(0).
    missing = probability
    for j in range(1, k):
        # P(j) from P(j - 1); the divisor is 0 only where the factor good - j + 1 or an earlier one is 0 too.
        probability = probability * (good - j + 1) * (k + j - 1) / (j * np.maximum(1, num_real - k + good - j))
        missing = missing + (1 - j / k) * probability
    return 1 - missing


def _squared_radii(points, k):
    radii = np.empty(len(points))
    for block in blocks(len(points)):
        distances = squared_distances(points[block], points)
        # The point itself, at distance 0, must not count as its own neighbour.
        rows = np.arange(len(distances))
        distances[rows, block.start + rows] = np.inf
        distances.partition(k - 1, axis=1)
        radii[block] = distances[:, k - 1]
    return radii


def _with_edge(points, squared_radii):
    """Radii enlarged by more than the rounding of `squared_distances`, so that points on the edge are inside."""
    return squared_radii + 1e-12 * (np.sum(points * points, axis=1) + squared_radii)


def nearest_neighbours(points, candidates):
    """The closest candidate of every point.

    Args:
        points: (n, d).
        candidates: (m, d).

    Returns:
        indices: int (n,), into `candidates`.
        distances: float (n,), Euclidean.
    """
    points, candidates = check_features(points, candidates, least=1)
    indices, distances = np.empty(len(points), int), np.empty(len(points))
    for block in blocks(len(points)):
        squared = squared_distances(points[block], candidates)
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
