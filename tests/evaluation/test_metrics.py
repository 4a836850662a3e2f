import math

import numpy as np
import pytest

from trilemma.evaluation import metrics
from trilemma.evaluation.metrics import class_scores

METRICS = [
    metrics.frechet_distance, metrics.kernel_distance, metrics.sliced_distance, metrics.neighbourhood_scores,
    metrics.nearest_neighbours,
    lambda real, generated: metrics.memorisation_scores(real, real, generated),
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


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness_adds_the_steps_of_both_directions(channels):
    rows, columns = np.indices((6, 8))
    ramp = np.repeat((0.1 * rows + 0.05 * columns)[None, ..., None], channels, axis=-1)
    assert metrics.sharpness(ramp) == pytest.approx(0.1**2 + 0.05**2)
    checkerboard = np.repeat(((rows + columns) % 2.0)[None, ..., None], channels, axis=-1)
    assert metrics.sharpness(np.concatenate([checkerboard, np.ones_like(checkerboard)])) == 1


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
