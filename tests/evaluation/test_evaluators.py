import keras
import numpy as np
import pytest

from trilemma.data import DATA_SETS, SAMPLE_DIR, get_data_set, load_images, stack_digits
from trilemma.evaluation import evaluators, metrics
from trilemma.evaluation.evaluators import FeatureEvaluator, ModeEvaluator, evaluator_of, save_reference
from trilemma.evaluation.scoreboard import score_images
from trilemma.models.classifier import Classifier
from trilemma.training import pretrained


@pytest.fixture
def real_digits():
    with np.load(SAMPLE_DIR / "mnist.npz") as arrays:
        return arrays["x_test"][..., None], arrays["y_test"]


@pytest.fixture
def untrained_classifier(weights_dir, monkeypatch, change_reference):
    """A classifier with random weights and the features of 100 random images, shipped in a temporary folder."""
    images = np.random.default_rng(1).integers(0, 256, (100, 28, 28, 1), "uint8")
    monkeypatch.setattr(evaluators, "load_images", lambda *_: (images, np.arange(len(images)) % 10))
    pretrained.save_pretrained("classifier_mnist", Classifier())
    save_reference("mnist")
    # Random weights may never choose a class, yet the real labels must hold all of them.
    change_reference("mnist", labels=np.arange(100, dtype="uint8") % 10)
    return images


def test_reference_holds_a_fixed_shuffle_of_the_test_images(untrained_classifier):
    reference = pretrained.load_arrays("reference_mnist")
    features, labels = pretrained.load_pretrained("classifier_mnist").embed(untrained_classifier)
    order = [int(np.argmin(np.abs(features - row).sum(axis=1))) for row in reference["features"]]
    assert sorted(order) == list(range(100)) != order
    save_reference("mnist")
    np.testing.assert_array_equal(pretrained.load_arrays("reference_mnist")["labels"], labels[order])


def test_reference_is_not_made_from_the_sample(untrained_classifier, monkeypatch):
    def no_network():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(evaluators, "load_images", load_images)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", no_network)
    before = pretrained.pretrained_index()["reference_mnist"]
    with pytest.raises(ValueError, match="2000 test images that ship.*made from all images"):
        save_reference("mnist")
    assert pretrained.pretrained_index()["reference_mnist"] == before


def test_the_second_classifier_scores_again_where_it_is_trained(untrained_classifier, random):
    images = random.integers(0, 256, (40, 28, 28, 1), "uint8")
    alone = score_images(images, "mnist")
    pretrained.save_pretrained("classifier2_mnist", Classifier(architecture="residual"))
    assert evaluator_of("mnist").weights == ("classifier_mnist", "reference_mnist")  # The reference is not there yet.
    save_reference("mnist", "classifier2")
    names = ("classifier_mnist", "reference_mnist", "classifier2_mnist", "reference2_mnist")
    assert evaluator_of("mnist").weights == names
    both = score_images(images, "mnist")
    real_features = pretrained.load_arrays("reference2_mnist")["features"][:40]
    features, _ = pretrained.load_pretrained("classifier2_mnist").embed(images)
    neighbours = metrics.neighbourhood_scores(real_features, features)
    again = {
        "frechet_distance_2": metrics.frechet_distance(real_features, features),
        "clipped_density_2": neighbours["clipped_density"],
        "clipped_coverage_2": neighbours["clipped_coverage"],
    }
    assert both == pytest.approx({**alone, **again})
    assert again["frechet_distance_2"] != pytest.approx(alone["frechet_distance"], rel=0.01)


def test_a_second_classifier_without_its_own_reference_is_refused(untrained_classifier, change_reference):
    pretrained.save_pretrained("classifier2_mnist", Classifier(architecture="residual"))
    save_reference("mnist", "classifier2")
    pretrained.save_pretrained("classifier2_mnist", Classifier(architecture="residual", seed=7))
    with pytest.raises(ValueError, match="not those of its classifier.*python -m trilemma train classifier2_mnist"):
        evaluator_of("mnist")


def test_every_data_set_names_an_evaluator():
    assert {data_set.evaluator for data_set in DATA_SETS.values()} == set(evaluators.EVALUATORS)


def test_an_evaluator_names_the_files_on_which_its_scores_depend(untrained_classifier):
    features, modes = evaluator_of("mnist"), evaluator_of("stacked_mnist")
    assert (type(features), type(modes)) == (FeatureEvaluator, ModeEvaluator)
    assert features.weights == ("classifier_mnist", "reference_mnist")
    assert modes.weights == ("classifier_mnist",)
    assert (features.most_images, modes.most_images) == (100, 2**31)


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_an_evaluator_that_was_never_trained_says_how_to_train_it(weights_dir, name):
    with pytest.raises(ValueError, match=f"no evaluator of {name} yet.*python -m trilemma train classifier_{name}"):
        evaluator_of(name)


def test_unknown_data_sets_have_no_evaluator():
    with pytest.raises(ValueError, match="unknown data set 'cifar'"):
        evaluator_of("cifar")


def test_scores_are_those_of_the_metrics(untrained_classifier, random):
    images = random.integers(0, 256, (40, 28, 28, 1), "uint8")
    scores = evaluator_of("mnist").score(images)
    reference = pretrained.load_arrays("reference_mnist")
    features, labels = pretrained.load_pretrained("classifier_mnist").embed(images)
    expected = {
        "frechet_distance": metrics.frechet_distance(reference["features"][:40], features),
        "kernel_distance": metrics.kernel_distance(reference["features"][:40], features),
        "sliced_distance": metrics.sliced_distance(reference["features"][:40], features),
        **metrics.neighbourhood_scores(reference["features"][:40], features),
        **metrics.class_scores(reference["labels"], labels, 10),
    }
    assert scores == pytest.approx(expected)


def test_bytes_and_floats_score_alike(untrained_classifier):
    images = untrained_classifier[:50]
    assert score_images(images, "mnist") == pytest.approx(score_images(images / np.float32(255), "mnist"), rel=1e-5)


def test_features_are_computed_in_float32_whatever_the_policy_is(untrained_classifier):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = evaluator_of("mnist").first.classifier.network
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


def test_a_reference_is_computed_in_float32_whatever_the_policy_is(untrained_classifier):
    before = pretrained.load_arrays("reference_mnist")["features"]
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    save_reference("mnist")
    np.testing.assert_array_equal(pretrained.load_arrays("reference_mnist")["features"], before)


def test_a_new_reference_makes_a_new_evaluator(untrained_classifier):
    first = evaluator_of("mnist")
    assert evaluator_of("mnist") is first
    save_reference("mnist")
    assert evaluator_of("mnist") is not first


def test_channels_are_read_as_digits_of_one_number(untrained_classifier, monkeypatch):
    evaluator, read = evaluator_of("stacked_mnist"), []
    monkeypatch.setattr(metrics, "mode_scores", lambda labels, num_modes: read.append((labels, num_modes)) or {})
    monkeypatch.setattr(
        type(evaluator.single.first.classifier), "embed", lambda self, images: (None, images[:, 0, 0, 0].astype(int))
    )
    images = np.zeros((3, 28, 28, 3), "uint8")
    images[:, 0, 0] = [[1, 2, 3], [0, 0, 7], [9, 9, 9]]
    evaluator.score(images)
    ((labels, num_modes),) = read
    assert (labels.tolist(), num_modes) == ([123, 7, 999], 1000)


@pytest.mark.slow
def test_shipped_classifier_recognises_real_digits(real_digits):
    images, labels = real_digits
    _, predicted = pretrained.load_pretrained("classifier_mnist").embed(images)
    assert np.mean(predicted == labels) > 0.98


@pytest.mark.slow
def test_stacked_real_digits_are_recognised(real_digits, monkeypatch):
    images, labels = stack_digits(*real_digits)
    read = []
    monkeypatch.setattr(metrics, "mode_scores", lambda labels, num_modes: read.append(labels) or {})
    assert score_images(images, "stacked_mnist") == {"num_images": 2000}
    assert np.mean(read[0] == labels) > 0.95


def test_shipped_references_have_ten_thousand_images_of_ten_classes():
    for name in ("mnist", "fashion_mnist"):
        reference = pretrained.load_arrays(f"reference_{name}")
        assert reference["features"].shape == (10_000, 128)
        assert np.bincount(reference["labels"]).min() > 880
        assert get_data_set(name).num_classes == 10
