"""The classifier whose features and labels every metric of the scoreboard uses."""

import keras
import numpy as np
from keras import layers

FEATURE_SIZE = 128


def build_classifier_network(image_shape, num_classes):
    """A small convolutional network.

    Returns:
        A Functional model: images (batch, height, width, channels) in [0, 1] -> features (batch, 128), the
        penultimate activations, at least 0, and logits (batch, num_classes).
    """
    images = layers.Input(image_shape, name="images")
    x = layers.RandomTranslation(2 / image_shape[0], 2 / image_shape[1], "constant", "nearest")(images)
    for width in (32, 64, 128):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        if width < 128:
            x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(layers.Flatten()(layers.MaxPooling2D()(x)))
    features = layers.Dense(FEATURE_SIZE, activation="relu", dtype="float32", name="features")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(layers.Dropout(0.3)(features))
    return keras.Model(images, [features, logits], name="classifier")


@keras.saving.register_keras_serializable("trilemma")
class Classifier(keras.Model):
    """Tells the ten classes of a data set apart.

    Args:
        image_shape: (height, width, channels).
        num_classes: number of classes.
        seed: unused; every recipe gives one to its model.
    """

    def __init__(self, image_shape=(28, 28, 1), num_classes=10, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.seed = seed
        self.network = build_classifier_network(image_shape, num_classes)
        self.networks = {"classifier": (self.network,)}
        self.built = True

    def call(self, images, training=False):
        """images in [0, 1] -> logits (batch, num_classes)."""
        return self.network(images, training=training)[1]

    def default_optimizers(self, learning_rate, num_steps):
        """Arguments for `compile`: Adam with a cosine down to zero, cross-entropy and accuracy."""
        return {
            "optimizer": keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)),
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "metrics": ["accuracy"],
        }

    def embed(self, images, batch_size=500):
        """Computes what the metrics need.

        Args:
            images: (num_images, height, width, channels) in [0, 1].
            batch_size: images per forward pass.

        Returns:
            features: float32 (num_images, 128).
            labels: int (num_images,), the most likely class.
        """
        features, logits = self.network.predict(images, batch_size=batch_size, verbose=0)
        return features, np.argmax(logits, axis=-1)

    def get_config(self):
        return {"image_shape": self.image_shape, "num_classes": self.num_classes, "seed": self.seed}
