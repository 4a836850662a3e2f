import math

import numpy as np
import prdc
import pytest
import scipy.linalg

from trilemma.evaluation import metrics
from trilemma.evaluation.metrics import (
    class_scores,
    frechet_distance,
    kernel_distance,
    memorisation_scores,
    neighbourhood_scores,
)


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


def test_blocks_do_not_change_the_scores(monkeypatch, random):
    real, generated = random.standard_normal((50, 4)), random.standard_normal((37, 4)) + 0.5
    whole = neighbourhood_scores(real, generated), kernel_distance(real, generated)
    monkeypatch.setattr("trilemma.evaluation.metrics._BLOCK", 7)
    assert neighbourhood_scores(real, generated) == whole[0]
    assert kernel_distance(real, generated) == pytest.approx(whole[1])


def looped_scores(real, generated, k):
    def radius(point, others):
        return sorted(math.dist(point, other) for other in others)[k]  # entry 0 is the point itself

    real_radii = [radius(point, real) for point in real]
    generated_radii = [radius(point, generated) for point in generated]
    inside_real = [[math.dist(r, g) < radius for r, radius in zip(real, real_radii, strict=True)] for g in generated]
    inside_generated = [
        [math.dist(r, g) < radius for g, radius in zip(generated, generated_radii, strict=True)] for r in real
    ]
    return {
        "precision": sum(map(any, inside_real)) / len(generated),
        "recall": sum(map(any, inside_generated)) / len(real),
        "density": sum(map(sum, inside_real)) / (k * len(generated)),
        "coverage": sum(map(any, zip(*inside_real, strict=True))) / len(real),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_neighbourhood_scores_agree_with_prdc(k, random):
    real, generated = random.standard_normal((300, 8)), 0.8 * random.standard_normal((250, 8)) + 0.3
    assert neighbourhood_scores(real, generated, k) == pytest.approx(prdc.compute_prdc(real, generated, k))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dimensions", [1, 4])
def test_neighbourhood_scores_agree_with_loops(k, dimensions, random):
    real = random.standard_normal((30, dimensions))
    generated = 0.7 * random.standard_normal((40, dimensions)) + 0.5
    assert neighbourhood_scores(real, generated, k) == pytest.approx(looped_scores(real, generated, k))


def test_points_on_the_edge_of_a_ball_are_outside():
    real, generated = np.array([[0.0], [2.0], [4.0]]), np.array([[6.0], [8.0], [10.0]])
    assert neighbourhood_scores(real, generated, k=1) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_swapped_arguments_swap_precision_and_recall(random):
    real, generated = random.standard_normal((60, 5)), 0.4 * random.standard_normal((50, 5))
    scores, swapped = neighbourhood_scores(real, generated), neighbourhood_scores(generated, real)
    assert (scores["precision"], scores["recall"]) == (swapped["recall"], swapped["precision"])
    assert scores["precision"] > scores["recall"]


def test_expected_coverage_and_density_of_one_distribution(random):
    n, k = 400, 5
    scores = [neighbourhood_scores(*random.standard_normal((2, n, 16)), k) for _ in range(10)]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert np.mean([score["coverage"] for score in scores]) == pytest.approx(expected, abs=0.01)
    assert np.mean([score["density"] for score in scores]) == pytest.approx(1, abs=0.05)


def test_collapsed_samples_are_precise_but_do_not_recall(random):
    real, generated = 3 * random.standard_normal((200, 16)), 0.1 * random.standard_normal((200, 16))
    scores = neighbourhood_scores(real, generated)
    assert scores["precision"] > 0.8
    assert scores["recall"] < 0.3


def test_nearest_neighbours_agree_with_loops(monkeypatch, random):
    monkeypatch.setattr("trilemma.evaluation.metrics._BLOCK", 7)
    points, candidates = random.standard_normal((20, 3)), random.standard_normal((30, 3))
    indices, distances = metrics.nearest_neighbours(points, candidates)
    for point, index, distance in zip(points, indices, distances, strict=True):
        looped = [math.dist(point, candidate) for candidate in candidates]
        assert (index, distance) == (np.argmin(looped), pytest.approx(min(looped)))


def test_memorisation_scores_agree_with_loops(random):
    training, test, generated = (random.standard_normal((n, 2)) for n in (40, 30, 20))
    real, near = ([min(math.dist(a, b) for b in training) for a in points] for points in (test, generated))
    expected = np.mean([(g < r) + 0.5 * (g == r) for g in near for r in real])
    assert memorisation_scores(training, test, generated)["closer_to_training"] == pytest.approx(expected)


def test_copies_and_strangers_are_told_apart(random):
    training, test, strangers = (random.standard_normal((500, 4)) for _ in range(3))
    assert memorisation_scores(training, test, training[:100]) == {"closer_to_training": 1, "near_copies": 1}
    fresh = memorisation_scores(training, test, strangers)
    assert fresh["closer_to_training"] == pytest.approx(0.5, abs=0.05)
    assert fresh["near_copies"] < 0.05
    half = memorisation_scores(training, test, np.concatenate([training[:100], strangers[:100]]))
    assert half["near_copies"] == pytest.approx(0.5, abs=0.05)
    assert memorisation_scores(training, test, 10 + strangers)["closer_to_training"] == 0


def test_class_scores_by_hand():
    scores = class_scores([0, 0, 1, 2], [0, 0, 0, 1], num_classes=3)
    assert scores == {"classes_covered": 2, "class_kl": pytest.approx(0.75 * math.log(1.5))}


def test_equal_histograms_have_no_class_kl():
    assert class_scores([0, 1, 2], [2, 1, 0, 0, 1, 2], 3) == {"classes_covered": 3, "class_kl": pytest.approx(0)}


def test_collapse_to_one_of_ten_classes():
    scores = class_scores(np.arange(100) % 10, np.full(50, 7), 10)
    assert scores == {"classes_covered": 1, "class_kl": pytest.approx(math.log(10))}


def test_mode_scores_by_hand():
    assert metrics.mode_scores([0, 0, 0, 2], 4) == {
        "modes_covered": 2,
        "mode_kl": pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1)),
    }


def test_mode_kl_of_uniform_labels_is_half_the_modes_per_image(random):
    kls = [metrics.mode_scores(random.integers(1000, size=26_000), 1000)["mode_kl"] for _ in range(5)]
    assert np.mean(kls) == pytest.approx(999 / (2 * 26_000), rel=0.05)


def test_class_missing_from_the_real_labels_is_an_error():
    with pytest.raises(ValueError, match=r"lack the classes \[1\]"):
        class_scores([0, 2], [0, 1], 3)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, neighbourhood_scores])
@pytest.mark.parametrize("real, generated", [((9, 3), (9, 4)), ((9,), (9,)), ((1, 3), (9, 3)), ((9, 2, 2), (9, 2, 2))])
def test_features_of_wrong_shape_are_refused(metric, real, generated):
    with pytest.raises(ValueError, match="shapes"):
        metric(np.zeros(real), np.zeros(generated))


@pytest.mark.parametrize("k", [0, 9, 10])
def test_number_of_neighbours_must_fit_the_sets(k, random):
    with pytest.raises(ValueError, match=f"k is {k}"):
        neighbourhood_scores(random.standard_normal((9, 2)), random.standard_normal((20, 2)), k)


@pytest.mark.slow
def test_published_reference_values_of_prdc(random):
    scores = neighbourhood_scores(*random.standard_normal((2, 10_000, 1000)), k=5)
    # Few points lie in very many balls, so density varies from draw to draw (0.91 to 1.07 in four draws).
    tolerances = {"precision": 0.03, "recall": 0.03, "density": 0.2, "coverage": 0.03}
    published = {"precision": 0.477, "recall": 0.471, "density": 1.06, "coverage": 0.974}
    assert scores == {name: pytest.approx(value, abs=tolerances[name]) for name, value in published.items()}


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_adds_the_steps_of_both_directions(channels):
    rows, columns = np.indices((6, 8))
    ramp = np.repeat((0.1 * rows + 0.05 * columns)[None, ..., None], channels, axis=-1)
    assert metrics.sharpness(ramp) == pytest.approx(0.1**2 + 0.05**2)
    checkerboard = np.repeat(((rows + columns) % 2.0)[None, ..., None], channels, axis=-1)
    assert metrics.sharpness(np.concatenate([checkerboard, np.ones_like(checkerboard)])) == 1


METRICS = [
    frechet_distance, kernel_distance, neighbourhood_scores, metrics.nearest_neighbours,
    lambda real, generated: memorisation_scores(real, real, generated),
]  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_feature_that_is_no_number_is_refused_with_its_row(metric, value, random):
    good, bad = random.standard_normal((2, 30, 4))
    bad[17, 2] = value
    with pytest.raises(ValueError, match="1 of the 30 .*are not finite, the first in row 17"):
        metric(good, bad)
    with pytest.raises(ValueError, match="1 of the 30 .*are not finite, the first in row 17"):
        metric(bad, good)


def test_frechet_distance_of_a_set_to_itself_is_never_negative(random):
    for count, dimensions in [(2, 1), (3, 50), (20, 5), (40, 40), (200, 16)] * 20:
        features = random.standard_normal((count, dimensions)) * 10 ** random.uniform(-3, 3)
        distance = frechet_distance(features, features[random.permutation(count)])
        assert 0 <= distance <= 1e-6 * np.sum(np.var(features, axis=0))


def test_sharpness_of_bytes_is_that_of_floats(random):
    images = random.integers(0, 256, (5, 7, 6, 3), "uint8")
    assert metrics.sharpness(images) == metrics.sharpness(images / np.float32(255)) > 0
    with pytest.raises(ValueError, match=r"expected \[0, 1\], or uint8"):
        metrics.sharpness(images.astype("float32"))


@pytest.mark.parametrize(
    "labels, found",
    [
        ([0, 3], r"lie in 0 \.\.\. 3; expected 0 \.\.\. 2"),
        ([0, -1], r"lie in -1 \.\.\. 0"),
        ([0, 1.5], "float64"),
        ([], "at least one"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([True, False], "bool"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, found):
    for scoring in (
        lambda: class_scores([0, 1, 2], labels, 3),
        lambda: class_scores(labels, [0, 1, 2], 3),
        lambda: metrics.mode_scores(labels, 3),
    ):
        with pytest.raises(ValueError, match=f"labels (lie|are).*{found}|{found}"):
            scoring()
