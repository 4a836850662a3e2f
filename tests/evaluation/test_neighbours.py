import itertools
import math
import statistics

import numpy as np
import prdc
import pytest
import scipy.spatial
import scipy.stats

from trilemma.evaluation.neighbours import (
    expected_filling,
    memorisation_scores,
    nearest_neighbours,
    neighbourhood_scores,
)


def looped_scores(real, generated, k):
    def radius(point, others):
        return sorted(math.dist(point, other) for other in others)[k]  # entry 0 is the point itself

    real_radii = [radius(point, real) for point in real]
    generated_radii = [radius(point, generated) for point in generated]
    cut_radii = [min(radius, statistics.median(real_radii)) for radius in real_radii]
    inside_real = [[math.dist(r, g) < radius for r, radius in zip(real, real_radii, strict=True)] for g in generated]
    inside_generated = [
        [math.dist(r, g) < radius for g, radius in zip(generated, generated_radii, strict=True)] for r in real
    ]

    def clipped(counts):
        return sum(min(1, count / k) for count in counts) / len(counts)

    around = [sum(math.dist(r, g) <= radius for r, radius in zip(real, cut_radii, strict=True)) for g in generated]
    around_real = [
        sum(math.dist(r, point) <= radius for j, (r, radius) in enumerate(zip(real, cut_radii, strict=True)) if j != i)
        for i, point in enumerate(real)
    ]
    filling = clipped(
        [sum(math.dist(r, g) <= radius for g in generated) for r, radius in zip(real, real_radii, strict=True)]
    )
    return {
        "precision": sum(map(any, inside_real)) / len(generated),
        "recall": sum(map(any, inside_generated)) / len(real),
        "density": sum(map(sum, inside_real)) / (k * len(generated)),
        "coverage": sum(map(any, zip(*inside_real, strict=True))) / len(real),
        "clipped_density": min(1, clipped(around) / clipped(around_real)),
        "clipped_coverage": inverted(filling, len(real), len(generated), k),
    }


def inverted(filling, num_real, num_generated, k):
    """The share of good images at which a filling is expected, by chances of draws without replacement."""

    def expected(num_good):
        def chance(j):
            arrangements = math.comb(j + k - 1, j) * math.comb(num_good - j + num_real - 1 - k, num_good - j)
            return arrangements / math.comb(num_good + num_real - 1, num_good)

        return 1 - sum((1 - j / k) * chance(j) for j in range(min(k, num_good + 1)))

    for num_good in range(num_generated):
        low, high = expected(num_good), expected(num_good + 1)
        if filling <= high:
            return (num_good + (filling - low) / (high - low)) / num_generated
    return 1.0


@pytest.mark.parametrize("k", [1, 5])
def test_neighbourhood_scores_agree_with_prdc(k, random):
    real, generated = random.standard_normal((300, 8)), 0.8 * random.standard_normal((250, 8)) + 0.3
    scores = neighbourhood_scores(real, generated, k)
    expected = prdc.compute_prdc(real, generated, k)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dimensions", [1, 4])
def test_neighbourhood_scores_agree_with_loops(k, dimensions, random):
    real = random.standard_normal((30, dimensions))
    generated = 0.7 * random.standard_normal((40, dimensions)) + 0.5
    assert neighbourhood_scores(real, generated, k) == pytest.approx(looped_scores(real, generated, k))


def test_points_on_the_edge_are_outside_but_for_the_clipped_scores():
    real, generated = np.array([[0.0], [2.0], [4.0]]), np.array([[6.0], [8.0], [10.0]])
    assert neighbourhood_scores(real, generated, k=1) == {
        "precision": 0,
        "recall": 0,
        "density": 0,
        "coverage": 0,
        "clipped_density": pytest.approx(1 / 3),
        # One of three real balls is filled, as is expected of one good image: m / (m + 2) for k = 1.
        "clipped_coverage": pytest.approx(1 / 3),
    }


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


def counted_arrangements(num_real, num_good, k):
    """The expectation of min(1, count / k) over every order in which points may lie around a real one."""
    places = range(num_real - 1 + num_good)
    fillings = []
    for others in itertools.combinations(places, num_real - 1):
        # Good images nearer than the k-th other real one.
        fillings.append(min(k, others[k - 1] - (k - 1)) / k)
    return sum(fillings) / len(fillings)


@pytest.mark.parametrize("num_real, k", [(2, 1), (4, 1), (4, 3), (7, 2), (6, 5)])
def test_expected_filling_counts_all_arrangements(num_real, k):
    expected = [counted_arrangements(num_real, num_good, k) for num_good in range(7)]
    assert expected_filling(num_real, 6, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_real, num_generated, k", [(300, 200, 5), (100, 400, 10), (10_000, 10_000, 5)])
def test_expected_filling_is_negative_hypergeometric(num_real, num_generated, k):
    fillings = expected_filling(num_real, num_generated, k)
    assert fillings[0] == 0
    assert np.all(np.diff(fillings) > 0)
    for m in (1, num_generated // 3, num_generated):
        distribution = scipy.stats.nhypergeom(num_real - 1 + m, m, k)
        expected = sum(min(1, j / k) * distribution.pmf(j) for j in range(k)) + distribution.sf(k - 1)
        assert fillings[m] == pytest.approx(expected, rel=1e-6)


def test_expected_filling_agrees_with_simulation(random):
    num_real, num_generated, k = 120, 80, 5
    fillings = expected_filling(num_real, num_generated, k)
    for m in (20, 80):
        found = []
        for _ in range(200):
            real, good = random.exponential(size=(num_real, 3)), random.exponential(size=(m, 3))
            radii = np.sort(scipy.spatial.distance.cdist(real, real), axis=1)[:, k]
            counts = (scipy.spatial.distance.cdist(real, good) < radii[:, None]).sum(axis=1)
            found.append(np.minimum(1, counts / k).mean())
        assert np.mean(found) == pytest.approx(fillings[m], abs=4 * np.std(found) / math.sqrt(200))


def mixture(random, count, share, dimensions=8):
    """A standard normal sample of which all but a share lie far away, and far from each other."""
    sample = random.standard_normal((count, dimensions))
    num_bad = round(count * (1 - share))
    sample[:num_bad] += 100 * random.standard_normal((num_bad, dimensions)) + 1000
    return sample


@pytest.mark.parametrize("num_real, num_generated", [(600, 600), (600, 300), (300, 600)])
@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.75, 1])
def test_clipped_scores_read_as_the_share_of_good_images(share, num_real, num_generated, random):
    scores = [
        neighbourhood_scores(random.standard_normal((num_real, 8)), mixture(random, num_generated, share))
        for _ in range(10)
    ]
    for name in ("clipped_density", "clipped_coverage"):
        # Both are cut at 1, so that the mean of perfect samples is a little less.
        assert np.mean([score[name] for score in scores]) == pytest.approx(share, abs=0.03 if share < 1 else 0.05)


def test_a_missing_mode_costs_its_share_of_clipped_coverage_alone(random):
    modes = 50 * np.eye(10)
    real, generated = (modes[random.integers(10, size=2000)] + random.standard_normal((2000, 10)) for _ in range(2))
    kept = modes[random.integers(7, size=2000)] + random.standard_normal((2000, 10))
    scores, intact = neighbourhood_scores(real, kept), neighbourhood_scores(real, generated)
    assert intact["clipped_density"] > 0.97
    assert intact["clipped_coverage"] > 0.95
    assert scores["clipped_density"] > 0.97
    assert scores["clipped_coverage"] == pytest.approx(0.7, abs=0.05)


def test_outliers_hardly_move_the_clipped_scores(random):
    real, generated = random.standard_normal((600, 8)), random.standard_normal((600, 8)) / 3
    before = neighbourhood_scores(real, generated)
    outliers = 30 * random.standard_normal((12, 8))  # 2 %, with balls around everything
    for other in (
        neighbourhood_scores(np.concatenate([real[:-12], outliers]), generated),
        neighbourhood_scores(real, np.concatenate([generated[:-12], outliers])),
    ):
        for name in ("clipped_density", "clipped_coverage"):
            assert other[name] == pytest.approx(before[name], abs=0.03)
    # The others do move: precision by outliers in the real set, recall by those in the generated one.
    far = 8 + random.standard_normal((600, 8))
    real_outliers = neighbourhood_scores(np.concatenate([real[:-12], outliers]), far)
    assert neighbourhood_scores(real, far)["precision"] == 0
    assert (real_outliers["precision"], real_outliers["clipped_density"]) == (1, 0)
    generated_outliers = neighbourhood_scores(real, np.concatenate([generated[:-12], outliers]))
    assert before["recall"] < 0.2
    assert generated_outliers["recall"] > 0.8


def test_clipped_scores_of_repeated_points(random):
    points = random.standard_normal((40, 3)) + 1000  # far from 0, where distances round most
    repeated = np.repeat(points, 10, axis=0)
    assert neighbourhood_scores(repeated, repeated, k=5)["clipped_density"] == 1
    assert neighbourhood_scores(repeated, repeated, k=5)["clipped_coverage"] == 1
    assert neighbourhood_scores(repeated, repeated + 1, k=5)["clipped_density"] == 0
    half = neighbourhood_scores(repeated, np.repeat(points[:20], 20, axis=0), k=5)
    assert half["clipped_density"] == 1
    assert half["clipped_coverage"] == pytest.approx(0.5, abs=0.05)
    # Repeats in the generated set alone: recall sees nothing, the clipped scores what is there.
    real, few = random.standard_normal((400, 3)), random.standard_normal((40, 3))
    scores = neighbourhood_scores(real, np.repeat(few, 10, axis=0))
    assert scores["recall"] == 0
    assert scores["clipped_density"] > 0.75
    assert 0.3 < scores["clipped_coverage"] < 0.7


@pytest.mark.parametrize(
    "real, generated",
    [
        (np.zeros((9, 2)), np.zeros((9, 2))),
        (np.zeros((9, 2)), np.ones((9, 2))),
        (np.indices((4, 4)).reshape(2, -1).T.astype(float), np.indices((4, 4)).reshape(2, -1).T.astype(float)),
        (np.repeat([[0.0], [1.0]], 6, axis=0), np.arange(12.0)[:, None]),
        (np.arange(7.0)[:, None], np.arange(9.0)[:, None]),
    ],
)
def test_ties_and_duplicates_give_floats_in_range(real, generated):
    for k in (1, 5):
        scores = neighbourhood_scores(real, generated, k)
        assert all(type(value) is float and value >= 0 for value in scores.values())
        assert max(scores["clipped_density"], scores["clipped_coverage"]) <= 1
        assert {name: scores[name] for name in scores} == pytest.approx(looped_scores(real, generated, k))


def test_blocks_do_not_change_the_scores(monkeypatch, random):
    real, generated = random.standard_normal((50, 4)), random.standard_normal((37, 4)) + 0.5
    whole = neighbourhood_scores(real, generated)
    monkeypatch.setattr("trilemma.evaluation.distances._BLOCK", 7)
    assert neighbourhood_scores(real, generated) == whole


def test_nearest_neighbours_agree_with_loops(monkeypatch, random):
    monkeypatch.setattr("trilemma.evaluation.distances._BLOCK", 7)
    points, candidates = random.standard_normal((20, 3)), random.standard_normal((30, 3))
    indices, distances = nearest_neighbours(points, candidates)
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
    for name, value in published.items():
        assert scores[name] == pytest.approx(value, abs=tolerances[name])
