"""A generative adversarial network of today: relativistic pairs, two gradient penalties, no normalisation.

After R3GAN (Huang et al. 2024, arXiv 2501.05441), whose loss keeps a training of plain residual networks stable without
any of the older tricks.
"""

import keras
from keras import layers, ops

from trilemma.data import check_sides, whole_number
from trilemma.models import dcgan
from trilemma.models.adversarial import RELATIVISTIC_LOSS_NAMES, gradient_penalty, relativistic_losses
from trilemma.models.contract import GenerativeModel, given, with_labels
from trilemma.models.trainable import average_of


def _leak(x):
    return layers.LeakyReLU(0.2)(x)


def residual_block(x, width):
    """Two 3x3 convolutions beside a shortcut; a 1x1 convolution first where the number of channels changes.

    Nothing is normalised. The second kernel starts at zero, so that a new network of many blocks is as tame as a
    shallow one.

    Args:
        x: feature maps (batch, height, width, channels).
        width: channels of the output.
    """
    if x.shape[-1] != width:
        x = layers.Conv2D(width, 1, use_bias=False, kernel_initializer="he_normal")(x)
    y = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")(_leak(x))
    y = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(_leak(y))
    return layers.Add()([x, y])


def build_generator(image_shape, latent_size, widths, num_blocks, num_classes=None):
    """Residual blocks from latents to an image, doubling the sides by repeating pixels.

    Args:
        image_shape: (height, width, channels).
        latent_size: dimensions of the latents.
        widths: channels at every resolution, finest first, as in `unet.build_unet`.
        num_blocks: residual blocks at every resolution.
        num_classes: take labels (batch,) too, 0 ... num_classes - 1; None for a network without.

    Returns:
        A Functional model: latents (batch, latent_size), or [latents, labels] -> images (batch, height, width,
        channels), float32, about [-1, 1].
    """
    coarsest = [side // 2 ** (len(widths) - 1) for side in image_shape[:2]]
    latents = layers.Input((latent_size,), name="latents")
    inputs, x = with_labels(latents, latents, num_classes)
    x = layers.Dense(coarsest[0] * coarsest[1] * widths[-1])(x)
    x = layers.Reshape((*coarsest, widths[-1]))(x)
    for level in reversed(range(len(widths))):
        for _ in range(num_blocks):
            x = residual_block(x, widths[level])
        if level > 0:
            # The channels change before the sides, where it costs a quarter.
            if widths[level - 1] != widths[level]:
                x = layers.Conv2D(widths[level - 1], 1, use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.UpSampling2D(2)(x)
    images = layers.Conv2D(image_shape[-1], 3, padding="same", dtype="float32", name="images")(_leak(x))
    return keras.Model(inputs, images, name="generator")


def build_discriminator(image_shape, widths, num_blocks, num_classes=None):
    """Residual blocks from an image to one logit, halving the sides by averaging pixels; arguments as above.

    With labels, the logit is the sum of what the image says by itself and of its features projected on what is learnt
    of the class (Miyato & Koyama 2018, "cGANs with projection discriminator", equation 5).

    Returns:
        A Functional model: images (batch, height, width, channels) in [-1, 1], or [images, labels] -> logits
        (batch, 1), float32; only differences of logits mean something.
    """
    images = layers.Input(image_shape, name="images")
    x = layers.Conv2D(widths[0], 3, padding="same", kernel_initializer="he_normal")(images)
    for level, width in enumerate(widths):
        if level > 0:
            x = layers.AveragePooling2D(2)(x)
        for _ in range(num_blocks):
            x = residual_block(x, width)
    features = layers.Flatten()(_leak(x))
    logits = layers.Dense(1, dtype="float32")(features)
    if num_classes is None:
        return keras.Model(images, logits, name="discriminator")
    labels = layers.Input((), dtype="int32", name="labels")
    of_class = layers.Embedding(num_classes, features.shape[-1], embeddings_initializer="zeros")(labels)
    logits = logits + layers.Dot(axes=1, dtype="float32")([features, of_class])
    return keras.Model([images, labels], logits, name="discriminator")


@keras.saving.register_keras_serializable("trilemma")
class GAN(GenerativeModel):
    """A generator and a discriminator that learn from pairs of images.

    Args:
        image_shape: (height, width, channels); height and width divisible by 2^(len(widths) - 1).
        latent_size: dimensions of the generator's input.
        architecture: "residual", the networks of this file; or "dcgan", those of the DCGAN without batch normalisation,
            under which the gradient of one image would depend on the others.
        generator_widths, discriminator_widths, num_blocks: of the residual networks, see `build_generator`.
        penalty_weight: gamma of the gradient penalties, R1 on real and R2 on generated images.
        ema_decay: decay per step of the averaged generator that samples; it warms up.
        num_classes: learn from labels, and draw by them; None for a model without. Of the residual networks.
        seed: integer that makes latents repeatable.

    Raises:
        ValueError: unknown architecture, labels for that of the DCGAN, or sides that cannot be halved as often as
            asked.
    """

    loss_names = RELATIVISTIC_LOSS_NAMES

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_size=64,
        architecture="residual",
        generator_widths=(64, 128, 128),
        discriminator_widths=(64, 128, 128),
        num_blocks=2,
        penalty_weight=0.5,
        ema_decay=0.999,
        num_classes=None,
        seed=None,
        **kwargs,
    ):
        config = dict(
            latent_size=latent_size, architecture=architecture, generator_widths=tuple(generator_widths),
            discriminator_widths=tuple(discriminator_widths), num_blocks=num_blocks, penalty_weight=penalty_weight,
            ema_decay=ema_decay, num_classes=num_classes,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        self.latent_size = whole_number("latent_size", latent_size)
        self.penalty_weight = penalty_weight
        self.ema_decay = ema_decay
        self.num_classes = None if num_classes is None else whole_number("num_classes", num_classes)
        with self.precision():
            self.generator = self._build_generator()
            self.ema_generator = average_of(self.generator)
            self.discriminator = self._build_discriminator()
        # The discriminator does not ship, since nothing that draws needs it; who trains on starts with a new one.
        self.networks = {"generator": (self.ema_generator, self.generator)}

    def _build_generator(self):
        config = self.config
        if config["architecture"] == "dcgan":
            if self.num_classes is not None:
                raise ValueError(f'num_classes is {self.num_classes}; the architecture "dcgan" takes no labels.')
            check_sides(self.image_shape, 4)
            return dcgan.build_generator(self.image_shape, self.latent_size, batch_normalization=False)
        if config["architecture"] != "residual":
            raise ValueError(f'unknown architecture {config["architecture"]!r}; expected "residual" or "dcgan".')
        for widths in (config["generator_widths"], config["discriminator_widths"]):
            check_sides(self.image_shape, 2 ** (len(widths) - 1))
        widths, num_blocks = config["generator_widths"], config["num_blocks"]
        return build_generator(self.image_shape, self.latent_size, widths, num_blocks, self.num_classes)

    def _build_discriminator(self):
        if self.config["architecture"] == "dcgan":
            return dcgan.build_discriminator(self.image_shape, batch_normalization=False)
        widths, num_blocks = self.config["discriminator_widths"], self.config["num_blocks"]
        return build_discriminator(self.image_shape, widths, num_blocks, self.num_classes)

    def call(self, inputs, training=False):
        """Draws with the averaged weights: latents (batch, latent_size), or [latents, labels] -> images in [0, 1]."""
        return ops.clip((self.ema_generator(inputs, training=training) + 1) / 2, 0.0, 1.0)

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with beta_1 = 0, beta_2 = 0.99 and a cosine down to zero for both networks."""

        def optimizer():
            schedule = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
            return keras.optimizers.Adam(schedule, beta_1=0.0, beta_2=0.99)

        return {name: optimizer() for name in self.players()}

    def players(self):
        return {"generator_loss": (self.generator,), "discriminator_loss": (self.discriminator,)}

    def averages(self):
        return ((self.ema_generator, self.generator),)

    def compute_losses(self, images, labels, training):
        """See `adversarial.relativistic_losses`; in training the penalty is penalty_weight / 2 times R1 + R2.

        Both are means over as many images, so their sum is twice the mean over all of them, taken in one pass.
        """
        images = 2 * images - 1
        latents = keras.random.normal((ops.shape(images)[0], self.latent_size), seed=self.seed_generator)
        generator = self.generator if training else self.ema_generator
        generated = generator(given(latents, labels), training=training)

        def discriminate(images, labels=labels):
            return self.discriminator(given(images, labels), training=training)

        penalty = 0.0
        if training:
            both = ops.concatenate([images, ops.stop_gradient(generated)])
            both_labels = None if labels is None else ops.concatenate([labels, labels])
            penalty = self.penalty_weight * gradient_penalty(lambda images: discriminate(images, both_labels), both)
        return relativistic_losses(discriminate(images), discriminate(generated), penalty)

    def sample(self, draw_noise, labels=None, guidance=None):
        return self(given(draw_noise(0, (self.latent_size,)), labels))
