import math

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

from trilemma.evaluation import distances
from trilemma.evaluation.distances import frechet_distance, kernel_distance, sliced_distance


def standardised(random, count, dimensions):
    """A sample whose mean is exactly 0 and whose covariance is exactly the identity."""
    sample = random.standard_normal((count, dimensions))
    sample -= sample.mean(axis=0)
    return sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample, rowvar=False))).T


@pytest.mark.parametrize("dimensions", [2, 16, 128])
def test_frechet_distance_of_shifted_gaussians_is_the_squared_shift(dimensions, random):
    real, generated = standardised(random, 500, dimensions), standardised(random, 400, dimensions) + 1
    assert frechet_distance(real, generated) == pytest.approx(dimensions, rel=1e-8)


@pytest.mark.parametrize("s1, s2", [(1, 3), (2, 0.5), (1, 0)])
def test_frechet_distance_of_scaled_gaussians(s1, s2, random):
    real, generated = s1 * standardised(random, 300, 10), s2 * standardised(random, 300, 10)
    assert frechet_distance(real, generated) == pytest.approx(10 * (s1 - s2) ** 2, rel=1e-8)


@pytest.mark.parametrize("count", [8, 200])
def test_frechet_distance_agrees_with_the_matrix_square_root(count, random):
    # Eight samples in ten dimensions make both covariances singular.
    real = random.standard_normal((count, 10)) @ random.standard_normal((10, 10))
    generated = 1 + random.standard_normal((count, 10)) @ random.standard_normal((10, 10))
    covariances = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    ridge = 1e-10 * np.eye(10)
    root = scipy.linalg.sqrtm((covariances[0] + ridge) @ (covariances[1] + ridge)).real
    mean_part = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    expected = mean_part + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_is_a_symmetric_distance(random):
    real, generated = random.standard_normal((50, 6)), random.uniform(size=(70, 6))
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(real, generated) == pytest.approx(frechet_distance(generated, real))
    assert frechet_distance(real, generated) > 0.1


def test_frechet_distance_of_a_single_feature(random):
    real, generated = standardised(random, 50, 2)[:, :1], 3 * standardised(random, 60, 2)[:, :1] + 1
    assert frechet_distance(real, generated) == pytest.approx(1 + (3 - 1) ** 2)


def test_kernel_distance_is_the_unbiased_double_loop(random):
    real, generated = random.standard_normal((7, 3)), 0.5 + random.standard_normal((5, 3))

    def kernel(a, b):
        return (sum(x * y for x, y in zip(a, b, strict=True)) / 3 + 1) ** 3

    def mean_over_pairs(points):
        pairs = [kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return sum(pairs) / len(pairs)

    mixed = [kernel(a, b) for a in real for b in generated]
    expected = mean_over_pairs(real) + mean_over_pairs(generated) - 2 * sum(mixed) / len(mixed)
    assert kernel_distance(real, generated) == pytest.approx(expected)


def test_kernel_distance_is_unbiased_on_one_distribution(random):
    distances = [kernel_distance(*random.standard_normal((2, 60, 8))) for _ in range(200)]
    assert np.mean(distances) == pytest.approx(0, abs=4 * np.std(distances) / math.sqrt(200))
    assert min(distances) < 0


def test_frechet_distance_of_a_set_to_itself_is_never_negative(random):
    for count, dimensions in [(2, 1), (3, 50), (20, 5), (40, 40), (200, 16)] * 20:
        features = random.standard_normal((count, dimensions)) * 10 ** random.uniform(-3, 3)
        distance = frechet_distance(features, features[random.permutation(count)])
        assert 0 <= distance <= 1e-6 * np.sum(np.var(features, axis=0))


def test_blocks_do_not_change_the_distances(monkeypatch, random):
    real, generated = random.standard_normal((50, 4)), random.standard_normal((37, 4)) + 0.5
    whole = kernel_distance(real, generated), sliced_distance(real, generated)
    monkeypatch.setattr(distances, "_BLOCK", 7)
    monkeypatch.setattr(distances, "_SLICES_AT_ONCE", 7)
    assert kernel_distance(real, generated) == pytest.approx(whole[0])
    assert sliced_distance(real, generated) == pytest.approx(whole[1])


def test_sliced_distance_of_a_shifted_sample_is_three_squared_shifts(random):
    real, shift = random.standard_normal((300, 16)) * np.arange(16), random.standard_normal(16)
    # 4,000 directions take 1/16 of the squared shift each, with a relative deviation of about sqrt(2 / 4000).
    assert sliced_distance(real, real + shift, 4000) == pytest.approx(3 * np.sum(shift**2), rel=0.1)
    assert sliced_distance(real[:, :1], real[:, :1] + 2) == pytest.approx(3 * 2**2)


def test_sliced_distance_of_two_gaussians(random):
    shift = np.full(8, 0.5)
    real, generated = random.standard_normal((20_000, 8)), random.standard_normal((15_000, 8)) + shift
    assert sliced_distance(real, generated) == pytest.approx(3 * np.sum(shift**2), rel=0.1)


@pytest.mark.parametrize("s1, s2", [(1, 3), (2, 0.5), (1, 0)])
def test_sliced_distance_of_scaled_samples(s1, s2, random):
    sample = standardised(random, 300, 10)
    # Every projection has the mean square 299 / 300, and the transport moves each point along its own line.
    expected = 3 * 10 * (s1 - s2) ** 2 * 299 / 300
    assert sliced_distance(s1 * sample, s2 * sample) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_real, num_generated", [(6, 6), (6, 4), (3, 8), (2, 7)])
def test_sliced_distance_agrees_with_optimal_transport(num_real, num_generated, random):
    real, generated = random.standard_normal((num_real, 3)), random.exponential(size=(num_generated, 3))
    directions = np.random.default_rng(5).standard_normal((4, 3))
    transports = []
    for direction in directions / np.linalg.norm(directions, axis=1, keepdims=True):
        # Copies give both sets the same number of points of the same weight.
        a, b = np.repeat(real @ direction, num_generated), np.repeat(generated @ direction, num_real)
        costs = (a[:, None] - b) ** 2
        transports.append(costs[scipy.optimize.linear_sum_assignment(costs)].mean())
    assert sliced_distance(real, generated, 4, seed=5) == pytest.approx(3 * 3 * np.mean(transports))


def test_sliced_distance_is_a_symmetric_distance(random):
    real, generated = random.standard_normal((50, 6)), random.uniform(size=(70, 6))
    assert sliced_distance(real, real[random.permutation(50)]) == pytest.approx(0, abs=1e-12)
    assert sliced_distance(real, generated) == pytest.approx(sliced_distance(generated, real))
    assert sliced_distance(real, generated) > 0.1


def test_sliced_distance_knows_no_order_and_no_common_multiple(random):
    real, generated = random.standard_normal((30, 5)), random.standard_normal((20, 5)) + 1
    expected = sliced_distance(real, generated)
    assert sliced_distance(real[::-1], random.permutation(generated)) == pytest.approx(expected)
    assert sliced_distance(np.repeat(real, 3, axis=0), np.tile(generated, (2, 1))) == pytest.approx(expected)


def test_sliced_distance_sees_what_two_moments_do_not(random):
    real = random.standard_normal((4000, 2))
    # Corners of a square: mean 0 and covariance 1, as the real sample has.
    generated = random.choice([-1.0, 1.0], (4000, 2))
    assert frechet_distance(real, generated) < 0.01
    assert sliced_distance(real, generated) > 0.2


def test_seeds_choose_other_projections_of_nearly_the_same_distance(random):
    real, generated = random.standard_normal((200, 16)), random.standard_normal((200, 16)) + 1
    values = [sliced_distance(real, generated, seed=seed) for seed in range(5)]
    assert len(set(values)) == 5
    assert np.std(values) < 0.1 * np.mean(values)
    with pytest.raises(ValueError, match="num_projections is 0"):
        sliced_distance(real, generated, 0)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, sliced_distance])
@pytest.mark.parametrize("real, generated", [((9, 3), (9, 4)), ((9,), (9,)), ((1, 3), (9, 3)), ((9, 2, 2), (9, 2, 2))])
def test_features_of_wrong_shape_are_refused(metric, real, generated):
    with pytest.raises(ValueError, match="shapes"):
        metric(np.zeros(real), np.zeros(generated))
