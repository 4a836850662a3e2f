"""Deep convolutional generative adversarial network (Radford, Metz & Chintala 2016)."""

import keras
from keras import layers, ops

from trilemma.data import check_sides, whole_number
from trilemma.models.adversarial import LOSS_NAMES, adversarial_losses
from trilemma.models.contract import GenerativeModel
from trilemma.models.trainable import average_of


def _initializer():
    return keras.initializers.RandomNormal(stddev=0.02)


def _normalise(x, batch_normalization):
    return layers.BatchNormalization()(x) if batch_normalization else x


def build_generator(image_shape, latent_size, width=64, batch_normalization=True, activation="tanh"):
    """Transposed convolutions from latents to an image; batch normalisation and ReLU, tanh at the end.

    Args:
        image_shape: (height, width, channels).
        latent_size: dimensions of the latents.
        width: channels of the last hidden layer, half of the first one's.
        batch_normalization: after every convolution but the last.
        activation: of the last layer; None leaves logits, for a likelihood.

    Returns:
        A Functional model: latents (batch, latent_size) -> images (batch, height, width, channels), float32 in [-1, 1],
        or logits.
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
        channels, 4, strides=2, padding="same", activation=activation, kernel_initializer=_initializer(),
        dtype="float32",
    )(x)  # fmt: skip
    return keras.Model(latents, images, name="generator")


def build_discriminator(image_shape, width=64, batch_normalization=True):
    """Strided convolutions from an image to one logit; batch normalisation and LeakyReLU.

    Returns:
        A Functional model: images (batch, height, width, channels) in [-1, 1] -> logits (batch, 1), float32, above 0
        for "real". Its layer "features" is the last hidden one, of `width` channels.
    """
    height, image_width, _ = image_shape
    images = layers.Input(image_shape, name="images")
    # The first layer has no batch normalisation: the paper found that it makes samples oscillate.
    x = layers.Conv2D(width, 4, strides=2, padding="same", kernel_initializer=_initializer())(images)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2D(
        width, 4, strides=2, padding="same", use_bias=not batch_normalization, kernel_initializer=_initializer()
    )(x)
    x = layers.LeakyReLU(0.2, name="features")(_normalise(x, batch_normalization))
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
        ema_decay: decay per step of an averaged generator, which the paper does not have; None for none.
        averaged: draw with the averaged generator.
        seed: integer that makes latents repeatable.

    Raises:
        ValueError: averaged, but no ema_decay.
    """

    loss_names = LOSS_NAMES

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_size=100,
        generator_width=64,
        discriminator_width=64,
        batch_normalization=True,
        ema_decay=None,
        averaged=False,
        seed=None,
        **kwargs,
    ):
        config = dict(
            latent_size=latent_size, generator_width=generator_width, discriminator_width=discriminator_width,
            batch_normalization=batch_normalization, ema_decay=ema_decay, averaged=averaged,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        check_sides(image_shape, 4)
        self.latent_size = whole_number("latent_size", latent_size)
        if averaged and ema_decay is None:
            raise ValueError("averaged is True, but ema_decay is None; give a decay, as 0.999, to have an average.")
        self.ema_decay, self.averaged = ema_decay, averaged
        with self.precision():
            self.generator = build_generator(image_shape, self.latent_size, generator_width, batch_normalization)
            self.discriminator = build_discriminator(image_shape, discriminator_width, batch_normalization)
            self.ema_generator = None if ema_decay is None else average_of(self.generator)
        generators = [self.generator] + ([] if ema_decay is None else [self.ema_generator])
        # The one that draws comes first: it ships.
        self.networks = {
            "generator": tuple(generators[::-1] if averaged else generators),
            "discriminator": (self.discriminator,),
        }

    def call(self, latents, training=False):
        """latents (batch, latent_size) -> images in [0, 1]."""
        generator = self.ema_generator if self.averaged else self.generator
        return (generator(latents, training=training) + 1) / 2

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with beta_1 = 0.5 for both networks (Radford et al. 2016, section 4)."""
        return {name: keras.optimizers.Adam(learning_rate, beta_1=0.5) for name in self.players()}

    def players(self):
        return {"generator_loss": (self.generator,), "discriminator_loss": (self.discriminator,)}

    def averages(self):
        return () if self.ema_generator is None else ((self.ema_generator, self.generator),)

    def compute_losses(self, images, labels, training):
        """See `adversarial.adversarial_losses`."""
        latents = keras.random.normal((ops.shape(images)[0], self.latent_size), seed=self.seed_generator)
        generated_images = self.generator(latents, training=training)
        real_logits = self.discriminator(2 * images - 1, training=training)
        return adversarial_losses(real_logits, self.discriminator(generated_images, training=training))

    def sample(self, draw_noise, labels=None, guidance=None):
        return self(draw_noise(0, (self.latent_size,)), training=False)
