"""The classifiers whose features and labels every metric of the scoreboard uses."""

import keras
import numpy as np
from keras import layers, ops

from trilemma import backend
from trilemma.data import as_float, check_images, make_dataset
from trilemma.diffusion.unet import GroupNormalization
from trilemma.models.trainable import TrainableModel, in_unit_range

FEATURE_SIZE = 128


def _plain_trunk(x):
    """Convolutions, batch normalisation, ReLU, largest values; a dense layer sees every position of the last map."""
    for width in (32, 64, 128):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        if width < 128:
            x = layers.MaxPooling2D()(x)
    return layers.Flatten()(layers.MaxPooling2D()(x))


def _residual_trunk(x):
    """Residual blocks of other kernels and activations; the mean over all positions of the last map."""
    x = layers.Conv2D(32, 5, padding="same")(x)
    for width in (32, 64, 128):
        x = layers.Conv2D(width, 2, strides=2)(x)
        y = layers.Conv2D(width, 3, padding="same")(layers.Activation("gelu")(GroupNormalization(8)(x)))
        y = layers.Conv2D(width, 3, padding="same")(layers.Activation("gelu")(GroupNormalization(8)(y)))
        x = layers.Add()([x, y])
    return layers.GlobalAveragePooling2D()(layers.Activation("gelu")(x))


TRUNKS = {"plain": _plain_trunk, "residual": _residual_trunk}


def build_classifier_network(image_shape, num_classes, architecture="plain"):
    """A small convolutional network: augmentation, the trunk of an architecture, features and logits.

    Returns:
        A Functional model: images (batch, height, width, channels) in [0, 1] -> features (batch, 128), the
        penultimate activations, at least 0, and logits (batch, num_classes).

    Raises:
        ValueError: unknown architecture.
    """
    if architecture not in TRUNKS:
        raise ValueError(f"unknown architecture {architecture!r}; expected one of {list(TRUNKS)}.")
    images = layers.Input(image_shape, name="images")
    translation = layers.RandomTranslation(2 / image_shape[0], 2 / image_shape[1], "constant", "nearest")
    # Keras compiles no model with this layer, for XLA on TensorFlow lacks its operation; JAX has it.
    translation.supports_jit = keras.backend.backend() == "jax"
    x = layers.Dropout(0.3)(TRUNKS[architecture](translation(images)))
    features = layers.Dense(FEATURE_SIZE, activation="relu", dtype="float32", name="features")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(layers.Dropout(0.3)(features))
    return keras.Model(images, [features, logits], name="classifier")


@keras.saving.register_keras_serializable("trilemma")
class Classifier(TrainableModel):
    """Tells the ten classes of a data set apart.

    Args:
        image_shape: (height, width, channels).
        num_classes: number of classes.
        architecture: "plain" or "residual", see `build_classifier_network`.
        seed: as every model has one; what is random here, shifts and dropout, follows `keras.utils.set_random_seed`.
    """

    loss_names = ("loss", "accuracy")

    def __init__(self, image_shape=(28, 28, 1), num_classes=10, architecture="plain", seed=None, **kwargs):
        super().__init__(image_shape, seed, dict(num_classes=num_classes, architecture=architecture), **kwargs)
        self.num_classes = num_classes
        with self.precision():
            self.network = build_classifier_network(image_shape, num_classes, architecture)
        self.networks = {"classifier": (self.network,)}
        self._compiled_network = backend.compile_function(self._predict, self.variables, False)

    def call(self, images, training=False):
        """images, uint8 or in [0, 1] -> logits (batch, num_classes)."""
        return self.network(in_unit_range(images), training=training)[1]

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with a cosine down to zero."""
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, num_steps))

    def players(self):
        return {"loss": (self.network,)}

    def compute_losses(self, images, labels, training):
        """Cross-entropy in nats per image, and the share of images that are told right."""
        logits = self(images, training=training)
        predicted = ops.argmax(logits, axis=-1)
        return {
            "loss": ops.mean(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)),
            "accuracy": ops.mean(ops.cast(ops.equal(predicted, ops.cast(labels, predicted.dtype)), "float32")),
        }

    def embed(self, images, batch_size=500):
        """Computes what the metrics need.

        Args:
            images: (num_images, height, width, channels), uint8, or floats in [0, 1].
            batch_size: images per forward pass.

        Returns:
            features: float32 (num_images, 128).
            labels: int (num_images,), the most likely class.
        """
        images = check_images(images, self.image_shape)
        batches = make_dataset(images, batch_size=batch_size, shuffle=False, drop_remainder=False)
        outputs = [self._compiled_network(ops.convert_to_tensor(as_float(batch))) for batch in batches]
        features, logits = (
            np.concatenate([ops.convert_to_numpy(each) for each in part]) for part in zip(*outputs, strict=True)
        )
        return features, np.argmax(logits, axis=-1)

    def _predict(self, images):
        return self.network(images, training=False)
