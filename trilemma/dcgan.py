"""Deep convolutional generative adversarial network (Radford, Metz & Chintala 2016)."""

import keras
import tensorflow as tf
from keras import layers, ops

from trilemma.device import scale_loss
from trilemma.generative import GenerativeModel, check_sides


def _initializer():
    return keras.initializers.RandomNormal(stddev=0.02)


def _normalise(x, batch_normalization):
    return layers.BatchNormalization()(x) if batch_normalization else x


def build_generator(image_shape, latent_size, width=64, batch_normalization=True):
    """Transposed convolutions from latents to an image; batch normalisation and ReLU, tanh at the end.

    Returns:
        A Functional model: latents (batch, latent_size) -> images (batch, height, width, channels), float32 in [-1, 1].
    """
    height, image_width, channels = image_shape
    latents = layers.Input((latent_size,), name="latents")
    x = layers.Reshape((1, 1, latent_size))(latents)
    # Batch normalisation has a bias of its own.
    settings = dict(use_bias=not batch_normalization, kernel_initializer=_initializer())
    x = layers.Conv2DTranspose(2 * width, (height // 4, image_width // 4), **settings)(x)
    x = layers.ReLU()(_normalise(x, batch_normalization))
    x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", **settings)(x)
    x = layers.ReLU()(_normalise(x, batch_normalization))
    images = layers.Conv2DTranspose(
        channels, 4, strides=2, padding="same", activation="tanh", kernel_initializer=_initializer(), dtype="float32"
    )(x)
    return keras.Model(latents, images, name="generator")


def build_discriminator(image_shape, width=64, batch_normalization=True):
    """Strided convolutions from an image to one logit; batch normalisation and LeakyReLU.

    Returns:
        A Functional model: images (batch, height, width, channels) in [-1, 1] -> logits (batch, 1), float32, above 0
        for "real".
    """
    height, image_width, _ = image_shape
    images = layers.Input(image_shape, name="images")
    # The first layer has no batch normalisation: the paper found that it makes samples oscillate.
    x = layers.Conv2D(width, 4, strides=2, padding="same", kernel_initializer=_initializer())(images)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(
        width, 4, strides=2, padding="same", use_bias=not batch_normalization, kernel_initializer=_initializer()
    )(x)
    x = layers.LeakyReLU(0.2)(_normalise(x, batch_normalization))
    x = layers.Conv2D(1, (height // 4, image_width // 4), kernel_initializer=_initializer(), dtype="float32")(x)
    return keras.Model(images, layers.Flatten(dtype="float32")(x), name="discriminator")


@keras.saving.register_keras_serializable("trilemma")
class DCGAN(GenerativeModel):
    """A generator and a discriminator that learn from each other.

    Args:
        image_shape: (height, width, channels); height and width divisible by 4.
        latent_size: dimensions of the generator's input.
        generator_width, discriminator_width: channels of the widest feature maps.
        batch_normalization: in both networks; without it the paper saw generators collapse to a single image.
        seed: integer that makes latents repeatable.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_size=100,
        generator_width=64,
        discriminator_width=64,
        batch_normalization=True,
        seed=None,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        check_sides(image_shape, 4)
        self.latent_size = latent_size
        self.generator_width = generator_width
        self.discriminator_width = discriminator_width
        self.batch_normalization = batch_normalization
        self.generator = build_generator(image_shape, latent_size, generator_width, batch_normalization)
        self.discriminator = build_discriminator(image_shape, discriminator_width, batch_normalization)
        self.networks = {"generator": (self.generator,), "discriminator": (self.discriminator,)}
        names = (
            "generator_loss", "discriminator_loss", "real_loss", "generated_loss",
            "real_called_real", "generated_called_real",
        )  # fmt: skip
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    def call(self, latents, training=False):
        """latents (batch, latent_size) -> images in [0, 1]."""
        return (self.generator(latents, training=training) + 1) / 2

    def default_optimizers(self, learning_rate, num_steps):
        """Arguments for `compile`: Adam with beta_1 = 0.5 for both networks (Radford et al. 2016, section 4)."""
        return {
            "generator_optimizer": keras.optimizers.Adam(learning_rate, beta_1=0.5),
            "discriminator_optimizer": keras.optimizers.Adam(learning_rate, beta_1=0.5),
        }

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Like `keras.Model.compile`, with one optimizer per network."""
        super().compile(optimizer=generator_optimizer, **kwargs)
        discriminator_optimizer = keras.optimizers.get(discriminator_optimizer)
        # Keras scales the loss for float16 only with the one optimizer it knows.
        loss_scale = keras.optimizers.LossScaleOptimizer
        if isinstance(self.optimizer, loss_scale) and not isinstance(discriminator_optimizer, loss_scale):
            discriminator_optimizer = loss_scale(discriminator_optimizer)
        self.discriminator_optimizer = discriminator_optimizer
        # Built here, each knows its own variables before a checkpoint is restored.
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_compile_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config):
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def compute_losses(self, images, training):
        """Non-saturating losses (Goodfellow et al. 2014, section 3), in nats, and what the discriminator thinks.

        Returns:
            real_loss + generated_loss = discriminator_loss; generator_loss; real_called_real and
            generated_called_real, the shares of real and of generated images that the discriminator takes for real.
        """
        latents = keras.random.normal((ops.shape(images)[0], self.latent_size), seed=self.seed_generator)
        generated_images = self.generator(latents, training=training)
        real_logits = self.discriminator(2 * images - 1, training=training)
        generated_logits = self.discriminator(generated_images, training=training)
        # softplus(-logit) = -log D and softplus(logit) = -log(1 - D).
        real_loss = ops.mean(ops.softplus(-real_logits))
        generated_loss = ops.mean(ops.softplus(generated_logits))
        return {
            "generator_loss": ops.mean(ops.softplus(-generated_logits)),
            "discriminator_loss": real_loss + generated_loss,
            "real_loss": real_loss,
            "generated_loss": generated_loss,
            "real_called_real": ops.mean(ops.cast(real_logits > 0, "float32")),
            "generated_called_real": ops.mean(ops.cast(generated_logits > 0, "float32")),
        }

    def train_step(self, images):
        with tf.GradientTape(persistent=True) as tape:
            losses = self.compute_losses(images, training=True)
            generator_loss = scale_loss(losses["generator_loss"], self.optimizer)
            discriminator_loss = scale_loss(losses["discriminator_loss"], self.discriminator_optimizer)
        generator_variables = self.generator.trainable_variables
        discriminator_variables = self.discriminator.trainable_variables
        generator_gradients = tape.gradient(generator_loss, generator_variables)
        discriminator_gradients = tape.gradient(discriminator_loss, discriminator_variables)
        self.optimizer.apply(generator_gradients, generator_variables)
        self.discriminator_optimizer.apply(discriminator_gradients, discriminator_variables)
        return self.update_trackers(losses)

    def sample(self, num_images):
        latents = keras.random.normal((num_images, self.latent_size), seed=self.seed_generator)
        return self(latents, training=False)

    def get_config(self):
        return {
            "image_shape": self.image_shape,
            "latent_size": self.latent_size,
            "generator_width": self.generator_width,
            "discriminator_width": self.discriminator_width,
            "batch_normalization": self.batch_normalization,
            "seed": self.seed,
        }
