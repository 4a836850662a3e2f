"""Denoising diffusion GAN (Xiao, Kreis & Vahdat 2022): a few long denoising steps, each drawn by a GAN."""

import keras
import numpy as np
from keras import layers, ops

from trilemma.data import check_sides
from trilemma.diffusion import samplers, schedules
from trilemma.diffusion.unet import SinusoidalEmbedding, build_unet
from trilemma.models.adversarial import LOSS_NAMES, adversarial_losses, gradient_penalty
from trilemma.models.contract import GenerativeModel
from trilemma.models.trainable import average_of


def build_generator(image_shape, latent_size, widths, patch_size):
    """The U-Net with latents, and tanh at the end.

    Returns:
        A Functional model: [noisy_images, timesteps (batch,), latents (batch, latent_size)] -> images of the shape of
        noisy_images, float32 in [-1, 1].
    """
    unet = build_unet(image_shape, widths, patch_size, latent_size)
    return keras.Model(unet.inputs, layers.Activation("tanh", dtype="float32")(unet.output), name="generator")


@keras.saving.register_keras_serializable("trilemma")
class MinibatchDeviation(layers.Layer):
    """Appends the standard deviation over the batch of each channel's mean, the same at all positions of all images.

    So a discriminator sees that a batch lacks classes, which no single image shows. After Karras et al. 2018, section
    3, who average the deviations of all channels and positions.

    Call: feature maps (batch, height, width, channels) -> (batch, height, width, 2 channels).
    """

    def call(self, feature_maps):
        means = ops.mean(ops.cast(feature_maps, "float32"), axis=(1, 2))
        deviations = ops.cast(ops.sqrt(ops.var(means, axis=0) + 1e-8), feature_maps.dtype)
        return ops.concatenate([feature_maps, ops.broadcast_to(deviations, ops.shape(feature_maps))], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2 * input_shape[-1])


def build_discriminator(image_shape, width=64, minibatch_deviation=False):
    """Judges x_{t-1} in the light of x_t and t; strided convolutions, LeakyReLU, an added time embedding.

    Args:
        image_shape: (height, width, channels).
        width: channels of the first feature map.
        minibatch_deviation: judge each image in the light of its batch too, see `MinibatchDeviation`.

    Returns:
        A Functional model: [images x_{t-1}, noisy_images x_t, each (batch, height, width, channels), timesteps
        (batch,)] -> logits (batch, 1), float32, above 0 for "real".
    """
    images = layers.Input(image_shape, name="images")
    noisy_images = layers.Input(image_shape, name="noisy_images")
    timesteps = layers.Input((), dtype="int32", name="timesteps")
    time = layers.Dense(2 * width, activation="swish")(SinusoidalEmbedding(width)(timesteps))

    x = layers.Concatenate()([images, noisy_images])
    for features, kernel_size, strides in [(width, 4, 2), (2 * width, 4, 2), (2 * width, 3, 1), (4 * width, 3, 2)]:
        x = layers.Conv2D(features, kernel_size, strides=strides, padding="same")(x)
        x = layers.LeakyReLU(0.2)(x + layers.Reshape((1, 1, features))(layers.Dense(features)(time)))
        if minibatch_deviation and strides == 1:
            x = MinibatchDeviation()(x)
    x = layers.Conv2D(1, x.shape[1:3], dtype="float32")(x)
    return keras.Model([images, noisy_images, timesteps], layers.Flatten(dtype="float32")(x), name="discriminator")


@keras.saving.register_keras_serializable("trilemma")
class DDGAN(GenerativeModel):
    """Removes noise in T long steps, T small.

    Over a long step q(x_{t-1} | x_t) is no Gaussian any more: many images fit the same x_t. So a generator draws one
    of them, x_0 = G(x_t, z, t), the posterior q(x_{t-1} | x_t, x_0) leads on to x_{t-1}, and a discriminator compares
    pairs (x_{t-1}, x_t) with real ones.

    Args:
        image_shape: (height, width, channels); height and width divisible by 4.
        num_timesteps: T, also the number of passes per image; 4 in the paper, 1 makes it a GAN.
        latent_size: dimensions of z; 0 puts a constant in its place.
        widths, patch_size: of the generator, see `unet.build_unet`.
        discriminator_width, minibatch_deviation: see `build_discriminator`.
        training_timesteps: the timesteps of training images are drawn from these, so one that stands there twice
            comes twice as often; None for 1 ... T.
        r1_weight: gamma of the gradient penalty.
        r1_interval: the penalty enters every so many steps, as many times as strong ("lazy", Karras et al. 2020).
        ema_decay: decay per step of the averaged generator that samples; it warms up.
        seed: integer that makes noise, latents and timesteps repeatable.

    Raises:
        ValueError: training_timesteps that are none of 1 ... T.
    """

    loss_names = LOSS_NAMES

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_timesteps=4,
        latent_size=64,
        widths=(64, 96),
        patch_size=2,
        discriminator_width=64,
        minibatch_deviation=False,
        training_timesteps=None,
        r1_weight=0.01,
        r1_interval=4,
        ema_decay=0.999,
        seed=None,
        **kwargs,
    ):
        config = dict(
            num_timesteps=num_timesteps, latent_size=latent_size, widths=tuple(widths), patch_size=patch_size,
            discriminator_width=discriminator_width, minibatch_deviation=minibatch_deviation,
            training_timesteps=None if training_timesteps is None else tuple(training_timesteps),
            r1_weight=r1_weight, r1_interval=r1_interval, ema_decay=ema_decay,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        check_sides(image_shape, 4)
        known = range(1, num_timesteps + 1)
        if not set(training_timesteps or known) <= set(known):
            raise ValueError(f"training_timesteps are {training_timesteps}; expected some of 1 ... {num_timesteps}.")
        self.schedule = schedules.make_schedule("variance_preserving", num_timesteps)
        self.passes_per_image = num_timesteps
        self.training_timesteps = np.array(training_timesteps or known, "int32")
        self.latent_size = latent_size
        self.r1_weight = r1_weight
        self.r1_interval = r1_interval
        self.ema_decay = ema_decay
        with self.precision():
            self.generator = build_generator(image_shape, max(latent_size, 1), widths, patch_size)
            self.ema_generator = average_of(self.generator)
            self.discriminator = build_discriminator(image_shape, discriminator_width, minibatch_deviation)
        # The discriminator does not ship, since nothing that draws needs it; who trains on starts with a new one.
        self.networks = {"generator": (self.ema_generator, self.generator)}

    def call(self, inputs, training=False):
        """Draws x_0 with the averaged weights: [noisy_images, timesteps, latents] -> images in [-1, 1]."""
        return self.ema_generator(inputs, training=training)

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with beta_1 = 0.5, beta_2 = 0.99 and a cosine down to zero for both networks.

        The discriminator learns four times as fast as the generator (two time scales, Heusel et al. 2017), since most
        of its pairs are almost noise, which teach it little.
        """

        def optimizer(learning_rate):
            schedule = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
            return keras.optimizers.Adam(schedule, beta_1=0.5, beta_2=0.99)

        return {"generator_loss": optimizer(learning_rate), "discriminator_loss": optimizer(4 * learning_rate)}

    def players(self):
        return {"generator_loss": (self.generator,), "discriminator_loss": (self.discriminator,)}

    def averages(self):
        return ((self.ema_generator, self.generator),)

    def compute_losses(self, images, labels, training):
        """Section 3.2 of Xiao et al. 2022, see `adversarial.adversarial_losses`.

        In training the discriminator's loss also holds the penalty r1_weight / 2 |grad_{x_{t-1}} D(x_{t-1}, x_t, t)|^2
        on real pairs.
        """
        images = 2 * images - 1
        num_images = ops.shape(images)[0]
        chosen = keras.random.randint((num_images,), 0, len(self.training_timesteps), seed=self.seed_generator)
        timesteps = ops.take(self.training_timesteps, chosen)
        first_noise, second_noise, posterior_noise = (
            keras.random.normal(ops.shape(images), seed=self.seed_generator) for _ in range(3)
        )
        # Keras takes layers without inputs, but oneDNN does not: a constant stands for no latents.
        latents = ops.zeros((num_images, 1))
        if self.latent_size:
            latents = keras.random.normal((num_images, self.latent_size), seed=self.seed_generator)
        real = schedules.q_sample(self.schedule, images, timesteps - 1, first_noise)
        noisy_images = schedules.q_step_sample(self.schedule, real, timesteps, second_noise)

        generator = self.generator if training else self.ema_generator
        drawn = generator([noisy_images, timesteps, latents], training=training)
        generated = schedules.q_posterior_sample(self.schedule, drawn, noisy_images, timesteps, posterior_noise)
        losses = adversarial_losses(
            self.discriminator([real, noisy_images, timesteps], training=training),
            self.discriminator([generated, noisy_images, timesteps], training=training),
        )
        if training:
            losses["discriminator_loss"] += self._lazy_penalty(real, noisy_images, timesteps)
        return losses

    def _lazy_penalty(self, real, noisy_images, timesteps):
        def penalty():
            squares = gradient_penalty(
                lambda images: self.discriminator([images, noisy_images, timesteps], training=True), real
            )
            return self.r1_interval * self.r1_weight / 2 * squares

        is_due = ops.equal(self.optimizers["discriminator_loss"].iterations % self.r1_interval, 0)
        return ops.cond(is_due, penalty, lambda: 0.0)

    def sample(self, draw_noise, labels=None, guidance=None):
        num_timesteps = self.schedule.num_timesteps

        def draw_images(noisy_images, timesteps, step):
            latents = ops.zeros((ops.shape(timesteps)[0], 1))
            if self.latent_size:
                latents = draw_noise(num_timesteps + 1 + step, (self.latent_size,))
            return self([noisy_images, timesteps, latents])

        images = samplers.ddgan_sample(
            draw_images,
            self.schedule,
            draw_noise(0, self.image_shape),
            lambda step: draw_noise(step + 1, self.image_shape),
        )
        return ops.clip((images + 1) / 2, 0.0, 1.0)
