import hashlib
import time

import numpy as np
import pytest

from trilemma import records
from trilemma.data import SAMPLE_DIR
from trilemma.evaluation import evaluators, scoreboard
from trilemma.evaluation.scoreboard import (
    BOUNDS,
    ranks,
    score,
    score_gaussian,
    score_images,
    score_real,
    summarise,
    trilemma_corners,
)
from trilemma.models.classifier import Classifier
from trilemma.models.contract import GenerativeModel
from trilemma.models.vae import VAE
from trilemma.training import pretrained, recipes

SCORES = {
    "num_images", "frechet_distance", "kernel_distance", "sliced_distance", "precision", "recall", "density",
    "coverage", "clipped_density", "clipped_coverage", "classes_covered", "class_kl",
}  # fmt: skip


@pytest.fixture
def real_digits():
    with np.load(SAMPLE_DIR / "mnist.npz") as arrays:
        return arrays["x_test"][..., None], arrays["y_test"]


@pytest.fixture
def untrained_classifier(weights_dir, monkeypatch, change_reference):
    """A classifier with random weights and the features of 300 random images, shipped in a temporary folder."""
    images = np.random.default_rng(1).integers(0, 256, (300, 28, 28, 1), "uint8")
    for module in (scoreboard, evaluators):
        monkeypatch.setattr(module, "load_images", lambda *_: (images, np.arange(len(images)) % 10))
    pretrained.save_pretrained("classifier_mnist", Classifier())
    evaluators.save_reference("mnist")
    # Random weights may never choose a class, yet the real labels must hold all of them.
    change_reference("mnist", labels=np.arange(300, dtype="uint8") % 10)
    return images


def test_the_reference_images_themselves_score_best(untrained_classifier):
    same, shifted = score_images(untrained_classifier, "mnist"), score_images(untrained_classifier // 2, "mnist")
    assert set(same) == SCORES
    assert same["num_images"] == 300
    assert same["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert same["coverage"] == 1
    assert shifted["frechet_distance"] > 10 * abs(same["frechet_distance"])


def test_repeated_real_images_are_precise_but_do_not_recall(untrained_classifier):
    scores = score_images(np.repeat(untrained_classifier[:5], 60, axis=0), "mnist")
    assert (scores["precision"], scores["recall"]) == (1, 0)


@pytest.mark.parametrize("score_bound", BOUNDS.values(), ids=BOUNDS)
def test_bounding_rows_have_the_scores_of_a_model(untrained_classifier, score_bound):
    row, again, other = (score_bound("mnist", 50, seed) for seed in (3, 3, 4))
    assert set(row) == SCORES | {"seed"} | ({"accuracy"} if score_bound is score_real else set())
    assert (row["num_images"], row["seed"]) == (50, 3)
    assert row == again
    assert row["frechet_distance"] != other["frechet_distance"]


def test_real_row_draws_every_training_image_at_most_once(untrained_classifier):
    # The training images of this fixture are its test images.
    assert score_real("mnist", 300)["frechet_distance"] == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="num_images is 301; only 300 training images"):
        score_real("mnist", 301)


def test_gaussian_row_has_the_moments_of_every_pixel(untrained_classifier, monkeypatch):
    drawn = []
    monkeypatch.setattr(scoreboard, "score_images", lambda images, data_set: drawn.append(images) or {})
    images = 0.5 + 0.1 * np.random.default_rng(2).standard_normal((2000, 28, 28, 1)).astype("float32")
    images[:, 5, 7] += 0.2
    images = np.clip(images, 0, 1)
    monkeypatch.setattr(scoreboard, "load_images", lambda *_: (images, np.arange(len(images)) % 10))
    score_gaussian("mnist", 2000)
    np.testing.assert_allclose(drawn[0].mean(axis=0), images.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(drawn[0].std(axis=0), images.std(axis=0), atol=0.02)
    assert abs(np.corrcoef(drawn[0][:, 5, 7, 0], drawn[0][:, 5, 8, 0])[0, 1]) < 0.1


class SlowToCompile(VAE):
    """Stands for a model whose first call compiles for a second."""

    started = False

    def generate(self, num_images, **settings):
        if not self.started:
            time.sleep(1)
        self.started = True
        return super().generate(num_images, **settings)


def test_measured_seconds_leave_compiling_out():
    images, seconds = scoreboard.timed_generate(SlowToCompile(seed=0), 20, batch_size=10)
    assert images.shape == (20, 28, 28, 1)
    assert 0 < seconds < 1


def test_summary_by_hand():
    runs = [
        {"precision": precision, "classes_covered": 10, "num_images": 50, "seed": seed, "device": "CPU", "note": note}
        for seed, (precision, note) in enumerate([(0.5, "a"), (0.7, "b"), (0.9, "b")])
    ]
    row = summarise(runs)
    assert row.pop("spread") == {"precision": pytest.approx(0.2), "classes_covered": 0}
    expected = {"precision": pytest.approx(0.7), "classes_covered": 10, "num_images": 50, "device": "CPU"}
    assert row == {**expected, "seeds": [0, 1, 2]}


def test_summary_of_one_run_has_no_spread():
    assert summarise([{"precision": 0.5, "seed": 7}]) == {"precision": 0.5, "spread": {}, "seeds": [7]}


@pytest.mark.parametrize("lower_is_better, expected", [(True, [1, 1, 2, 4]), (False, [3, 2, 2, 1])])
def test_ranks_by_hand(lower_is_better, expected):
    # b differs from a by 2.5, less than hypot(3, 0.1), and from c by 1.5, less than hypot(0.1, 2); a from c by 4,
    # more than hypot(3, 2).
    values = {"a": (10, 3.0), "b": (12.5, 0.1), "c": (14, 2.0), "d": (30, 0.0)}
    rows = {name: {"frechet_distance": mean, "spread": {"frechet_distance": s}} for name, (mean, s) in values.items()}
    assert list(ranks(rows, "frechet_distance", lower_is_better).values()) == expected


def test_score_adds_speed_and_size(untrained_classifier):
    model = VAE(seed=0)
    row = score(model, "mnist", num_images=20, seed=3, batch_size=8)
    measured = {
        "images_per_second", "passes_per_image", "parameters", "seed", "noise", "batch_size", "device", "images_sha256",
    }  # fmt: skip
    assert set(row) == SCORES | measured
    assert (row["num_images"], row["passes_per_image"], row["seed"], row["batch_size"]) == (20, 1, 3, 8)
    assert row["parameters"] == model.count_params()
    assert row["images_per_second"] > 0
    expected = score_images(model.generate(20, seed=3, batch_size=8), "mnist")
    assert {name: row[name] for name in SCORES} == pytest.approx(expected)


class Brightness(GenerativeModel):
    """Draws every class in a grey of its own, and nothing else."""

    num_classes = 10

    def sample(self, draw_noise, labels=None, guidance=None):
        return (labels[:, None, None, None] / 10 + 0 * draw_noise(0, self.image_shape)).astype("float32")


def test_a_model_of_classes_is_asked_for_them_as_often_as_they_occur(untrained_classifier, change_reference):
    change_reference("mnist", labels=np.repeat([3, 7, 7], 100).astype("uint8"))
    labels = scoreboard.draw_labels(Brightness((28, 28, 1)), "mnist", 3000, seed=1)
    assert set(labels) == {3, 7}
    assert np.mean(labels == 7) == pytest.approx(2 / 3, abs=0.05)
    np.testing.assert_array_equal(labels[:9], scoreboard.draw_labels(Brightness((28, 28, 1)), "mnist", 3000, 1)[:9])
    assert scoreboard.draw_labels(VAE(seed=0), "mnist", 5) is None


def test_score_asks_a_model_of_classes_and_says_how_often_it_is_right(untrained_classifier, monkeypatch):
    model, asked = Brightness((28, 28, 1)), []

    def generate(num_images, labels, **_):
        asked.append(labels)
        return np.random.default_rng(2).random((num_images, 28, 28, 1), "float32")

    monkeypatch.setattr(model, "generate", generate)
    row = score(model, "mnist", num_images=50, seed=4)
    expected = scoreboard.draw_labels(model, "mnist", 50, seed=4)
    np.testing.assert_array_equal(asked[-1], expected)
    images = generate(50, None)
    predicted = pretrained.load_pretrained("classifier_mnist").embed(images)[1]
    assert row["accuracy"] == pytest.approx(np.mean(predicted == expected))
    assert score_images(images, "mnist", predicted)["accuracy"] == 1
    assert score_images(images, "mnist", (predicted + 1) % 10)["accuracy"] == 0


def test_labels_that_do_not_fit_the_images_are_refused(untrained_classifier):
    for labels, message in (([0] * 49, r"\(49,\); expected \(50,\)"), ([10] * 50, "10 ... 10; expected 0 ... 9")):
        with pytest.raises(ValueError, match=message):
            score_images(untrained_classifier[:50], "mnist", labels)


def test_checksum_is_of_the_images_rounded_to_8_bits(untrained_classifier, monkeypatch, random):
    nearest = random.integers(1, 255, (20, 28, 28, 1))
    images = ((nearest + random.uniform(-0.4, 0.4, nearest.shape)) / 255).astype("float32")
    monkeypatch.setattr(scoreboard, "timed_generate", lambda *_: (images, 1.0))
    row = score(VAE(seed=0), "mnist", num_images=20)
    assert row["images_sha256"] == hashlib.sha256(nearest.astype("uint8").tobytes()).hexdigest()


@pytest.mark.parametrize("shape", [(20, 28, 28), (20, 28, 28, 3), (20, 32, 32, 1), (28, 28, 1)])
def test_images_of_wrong_shape_are_refused(untrained_classifier, shape):
    with pytest.raises(ValueError, match="shape"):
        score_images(np.zeros(shape, "float32"), "mnist")
    with pytest.raises(ValueError, match="shape"):
        score_images(np.zeros(shape, "uint8"), "mnist")


@pytest.mark.parametrize("low, high", [(-1, 1), (0, 255), (np.nan, 1)])
def test_images_out_of_range_are_refused(untrained_classifier, low, high):
    images = np.full((20, 28, 28, 1), low, "float32")
    images[0] = high
    with pytest.raises(ValueError, match=r"expected \[0, 1\]"):
        score_images(images, "mnist")


@pytest.mark.parametrize("count", [0, 9, 10_001])
def test_too_few_or_too_many_images_are_refused(untrained_classifier, count):
    for scoring in (
        lambda: score_images(np.zeros((count, 28, 28, 1), "uint8"), "mnist"),
        lambda: score(VAE(), "mnist", num_images=count),
        lambda: score_real("mnist", count),
        lambda: score_gaussian("mnist", count),
    ):
        with pytest.raises(ValueError, match=f"num_images is {count}"):
            scoring()


def test_unknown_data_set_is_refused_before_images_are_drawn(monkeypatch):
    monkeypatch.setattr(VAE, "generate", None)
    for scoring in (
        lambda: score(VAE(), "cifar"),
        lambda: score_images(np.zeros((10, 28, 28, 1)), "cifar"),
        lambda: score_real("cifar"),
    ):
        with pytest.raises(ValueError, match="unknown data set 'cifar'; expected one of.*'mnist'"):
            scoring()


def test_model_of_another_shape_is_refused_before_images_are_drawn(monkeypatch):
    monkeypatch.setattr(VAE, "generate", None)
    with pytest.raises(ValueError, match=r"shape \(28, 28, 1\); got \(28, 28, 3\)"):
        score(VAE(image_shape=(28, 28, 3)), "mnist")


def test_images_of_a_last_batch_that_is_not_full_count_as_drawn(monkeypatch):
    monkeypatch.setattr(scoreboard, "timed_generate", lambda *_: (np.zeros((25, 28, 28, 1), "float32"), 2.0))
    monkeypatch.setattr(scoreboard, "score_images", lambda *_: {})
    assert score(VAE(), "mnist", num_images=25, batch_size=10)["images_per_second"] == 15


def rows_of(**changes):
    return {
        "real": {"frechet_distance": 4.0, "clipped_coverage": 0.8},
        "gaussian": {"frechet_distance": 400.0, "clipped_coverage": 0.0},
        "fast": {"frechet_distance": 121.0, "clipped_coverage": 0.4, "images_per_second": 5000.0},
        "slow": {"frechet_distance": 9.0, "clipped_coverage": 0.9, "images_per_second": 5.0},
        **changes,
    }


def test_corners_by_hand():
    # Square roots: real 2, gaussian 20, fast 11, slow 3.
    fast, slow = (trilemma_corners(name, rows_of()) for name in ("fast", "slow"))
    assert fast == pytest.approx({"quality": 9 / 18, "speed": 1, "coverage": 0.5})
    assert slow == pytest.approx({"quality": 17 / 18, "speed": 0, "coverage": 1})
    hundred = rows_of(slow={"frechet_distance": 9.0, "clipped_coverage": 0.9, "images_per_second": 50.0})
    assert trilemma_corners("slow", hundred)["speed"] == pytest.approx(1 / 3)


def test_corners_beyond_the_bounds_are_cut():
    bad = {"frechet_distance": 900.0, "clipped_coverage": 0.0, "images_per_second": 0.001}
    assert trilemma_corners("bad", rows_of(bad=bad)) == {"quality": 0, "speed": 0, "coverage": 0}


def test_modes_may_be_counted_on_more_images_than_distances(untrained_classifier):
    scores = score_images(np.zeros((10_010, 28, 28, 3), "uint8"), "stacked_mnist")
    assert scores == {"num_images": 10_010, "modes_covered": 1, "mode_kl": pytest.approx(np.log(1000))}


@pytest.mark.slow
def test_real_images_score_far_better_than_noise(real_digits, random):
    images, _ = real_digits
    real, noise = score_images(images[:500], "mnist"), score_images(random.random((500, 28, 28, 1)), "mnist")
    assert real["frechet_distance"] < 0.01 * noise["frechet_distance"]
    assert real["kernel_distance"] < 0.01 * noise["kernel_distance"]
    assert real["precision"] > 0.8 > 0.2 > noise["precision"]
    assert real["coverage"] > 0.8 > 0.2 > noise["coverage"]
    assert real["classes_covered"] == 10
    assert real["class_kl"] < 0.1 < noise["class_kl"]


@pytest.mark.slow
def test_real_row_of_the_shipped_reference_is_a_ceiling():
    row = score_real("mnist", 2000, data_dir=SAMPLE_DIR)
    features = pretrained.load_arrays("reference_mnist")["features"]
    assert row["frechet_distance"] < 0.01 * np.sum(np.var(features, axis=0))
    assert min(row["precision"], row["recall"], row["coverage"]) > 0.85


def test_bounds_are_named_for_the_command_line():
    assert list(BOUNDS.items()) == [("real", score_real), ("gaussian", score_gaussian)]


def test_a_row_names_its_noise_and_its_images(untrained_classifier):
    rows = [
        score(VAE(seed=0), "mnist", num_images=20, seed=seed, batch_size=size)
        for seed, size in [(3, 8), (3, 20), (4, 8)]
    ]
    assert {row["noise"] for row in rows} == {scoreboard.NOISE}
    # Other batches may round otherwise; another seed draws other images.
    assert rows[0]["frechet_distance"] == pytest.approx(rows[1]["frechet_distance"], rel=1e-3)
    assert rows[0]["images_sha256"] != rows[2]["images_sha256"]


def test_bounds_of_the_sample_are_drawn_from_it(untrained_classifier, monkeypatch):
    asked = []
    monkeypatch.setattr(
        scoreboard, "load_images", lambda *names: asked.append(names) or (untrained_classifier, np.arange(300) % 10)
    )
    for bound in BOUNDS.values():
        bound("mnist", 20, 0, "a folder")
    assert asked == [("mnist", "train", "a folder")] * 2


@pytest.mark.parametrize("num_images", [200, 1000, 10_000, 26_000])
def test_recorded_rows_of_fitted_priors_name_the_file_of_their_teacher_too(num_images):
    index, recorded = pretrained.pretrained_index(), records.load_results(f"scoreboard_{num_images}")
    fitted = [name for name in recorded if name.startswith("mixture_")]
    assert fitted
    for name in fitted:
        teacher = recipes.get_recipe(name).teacher_name
        assert {recorded[name]["files_sha256"][file] == index[file]["sha256"] for file in (name, teacher)} == {True}
