import keras
import numpy as np
import pytest
from keras import layers

from trilemma.models.classifier import FEATURE_SIZE, TRUNKS, Classifier

ARCHITECTURES = pytest.mark.parametrize("architecture", TRUNKS)


def tiny_classifier(**settings):
    return Classifier(**{"image_shape": (8, 8, 1), "num_classes": 3, **settings})


@ARCHITECTURES
@pytest.mark.parametrize("image_shape, num_classes", [((28, 28, 1), 10), ((8, 12, 3), 4)])
def test_embedding_holds_features_and_labels(image_shape, num_classes, architecture, random):
    model = Classifier(image_shape, num_classes, architecture)
    features, labels = model.embed(random.random((5, *image_shape), "float32"), batch_size=2)
    assert (features.shape, features.dtype) == ((5, FEATURE_SIZE), "float32")
    assert features.min() >= 0
    assert labels.shape == (5,)
    assert set(labels) <= set(range(num_classes))


def test_labels_are_the_most_likely_classes(random):
    model, images = tiny_classifier(), random.random((20, 8, 8, 1), "float32")
    logits = np.asarray(model(images))
    assert model.embed(images)[1].tolist() == [max(range(3), key=row.__getitem__) for row in logits]


@ARCHITECTURES
def test_logits_follow_linearly_from_the_features(architecture, random):
    model, images = tiny_classifier(architecture=architecture), random.random((4, 8, 8, 1), "float32")
    kernel, bias = model.network.get_layer("logits").get_weights()
    np.testing.assert_allclose(model(images), model.embed(images)[0] @ kernel + bias, atol=1e-5)


@ARCHITECTURES
def test_embedding_is_free_of_augmentation_and_dropout(architecture, random):
    model, images = tiny_classifier(architecture=architecture), random.random((4, 8, 8, 1), "float32")
    np.testing.assert_allclose(model.embed(images)[0], model.embed(images, batch_size=1)[0], atol=1e-5)
    assert np.abs(np.asarray(model(images, training=True)) - np.asarray(model(images, training=True))).max() > 0


def test_augmentation_moves_images_by_two_pixels_at_most():
    shift = next(layer for layer in tiny_classifier().network.layers if isinstance(layer, layers.RandomTranslation))
    # A corner is hit with probability 1/64.
    images = np.zeros((2000, 8, 8, 1), "float32")
    images[:, 4, 4] = 1
    offsets = np.argwhere(np.asarray(shift(images, training=True))[..., 0])[:, 1:] - 4
    assert np.abs(offsets).max() == 2
    assert len(np.unique(offsets, axis=0)) == 25


def test_augmentation_moves_by_whole_pixels_and_changes_no_value(random):
    shift = next(layer for layer in tiny_classifier().network.layers if isinstance(layer, layers.RandomTranslation))
    images = random.random((100, 8, 8, 1), "float32")
    shifted = np.asarray(shift(images, training=True))
    assert np.abs(shifted - images).max() > 0
    for image, moved in zip(images, shifted, strict=True):
        assert set(np.unique(moved)) <= {0.0, *np.unique(image)}  # What moves in from the border is 0.


def test_features_are_float32_under_mixed_precision(random):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    assert tiny_classifier().embed(random.random((2, 8, 8, 1), "float32"))[0].dtype == "float32"


def test_saved_classifier_embeds_the_same(tmp_path, random):
    model, images = tiny_classifier(seed=4), random.random((3, 8, 8, 1), "float32")
    model.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    assert (loaded.image_shape, loaded.num_classes, loaded.seed) == ((8, 8, 1), 3, 4)
    np.testing.assert_allclose(loaded.embed(images)[0], model.embed(images)[0], atol=1e-6)


@pytest.mark.slow
def test_learns_to_tell_bright_from_dark(random):
    keras.utils.set_random_seed(0)
    labels = np.arange(64) % 2
    images = (0.2 + 0.6 * labels[:, None, None, None] + 0.1 * random.random((64, 8, 8, 1))).astype("float32")
    model = tiny_classifier(num_classes=2)
    model.compile(model.default_optimizers(1e-2, 100))
    history = model.fit(images, labels, batch_size=16, epochs=25, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.mean(model.embed(images)[1] == labels) > 0.95


def test_the_two_architectures_share_no_kind_of_normalisation_activation_or_pooling():
    kinds = {}
    for architecture in TRUNKS:
        network = tiny_classifier(architecture=architecture).network
        kinds[architecture] = {type(layer).__name__ for layer in network.layers}
    assert {"BatchNormalization", "ReLU", "MaxPooling2D", "Flatten"} <= kinds["plain"]
    assert {"GroupNormalization", "GlobalAveragePooling2D", "Add"} <= kinds["residual"]
    assert not {"BatchNormalization", "ReLU", "MaxPooling2D", "Flatten"} & kinds["residual"]


def test_unknown_architectures_are_named():
    with pytest.raises(ValueError, match="unknown architecture 'vit'; expected one of .*'plain', 'residual'"):
        tiny_classifier(architecture="vit")
