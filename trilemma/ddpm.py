"""Denoising diffusion probabilistic model (Ho et al. 2020)."""

import keras
import tensorflow as tf
from keras import ops

from trilemma import samplers, schedules
from trilemma.device import scale_loss
from trilemma.generative import GenerativeModel
from trilemma.unet import build_unet


@keras.saving.register_keras_serializable("trilemma")
class DDPM(GenerativeModel):
    """Learns to predict the noise in a noisy image; generates by removing noise in T steps.

    Args:
        image_shape: (height, width, channels).
        num_timesteps: T, also the number of network passes per image; 200 in the article.
        schedule: "cosine" or "linear".
        widths, num_blocks, patch_size: see `unet.build_unet`.
        ema_decay: decay per step of the averaged weights that sample; it warms up, so that the
            initial weights are soon forgotten.
        seed: integer that makes noise and timesteps repeatable.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_timesteps=200,
        schedule="cosine",
        widths=(64, 128),
        num_blocks=1,
        patch_size=2,
        ema_decay=0.999,
        seed=None,
        **kwargs,
    ):
        super().__init__(image_shape, seed, **kwargs)
        self.config = dict(
            image_shape=tuple(image_shape), num_timesteps=num_timesteps, schedule=schedule, widths=tuple(widths),
            num_blocks=num_blocks, patch_size=patch_size, ema_decay=ema_decay, seed=seed,
        )  # fmt: skip
        self.schedule = schedules.make_schedule(schedule, num_timesteps)
        self.passes_per_image = num_timesteps
        self.ema_decay = ema_decay
        self.network = build_unet(image_shape, widths, num_blocks, patch_size)
        self.ema_network = build_unet(image_shape, widths, num_blocks, patch_size)
        self.ema_network.set_weights(self.network.get_weights())
        self.ema_network.trainable = False
        self.networks = {"unet": (self.ema_network, self.network)}
        self.trackers = {"loss": keras.metrics.Mean(name="loss")}

    def call(self, inputs, training=False):
        """Predicts the noise with the averaged weights: [noisy_images, timesteps] -> predicted_noise."""
        return self.ema_network(inputs, training=training)

    def default_optimizers(self, learning_rate, num_steps):
        """Arguments for `compile`: Adam, 500 steps of warm-up, then a cosine down to less than 1 % of the rate."""
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, num_steps, warmup_target=learning_rate, warmup_steps=min(500, num_steps // 10)
        )
        return {"optimizer": keras.optimizers.Adam(schedule)}

    def compute_losses(self, images, training):
        """Mean squared error of the predicted noise at random timesteps (Ho et al. 2020, equation 14)."""
        timesteps = keras.random.randint(
            (ops.shape(images)[0],), 1, self.schedule.num_timesteps + 1, seed=self.seed_generator
        )
        noise = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        noisy_images = schedules.q_sample(self.schedule, 2 * images - 1, timesteps, noise)
        network = self.network if training else self.ema_network
        predicted_noise = network([noisy_images, timesteps], training=training)
        return {"loss": ops.mean(ops.square(noise - predicted_noise))}

    def train_step(self, images):
        with tf.GradientTape() as tape:
            losses = self.compute_losses(images, training=True)
            scaled_loss = scale_loss(losses["loss"], self.optimizer)
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(scaled_loss, variables), variables)

        step = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(self.ema_decay, (1 + step) / (10 + step))
        for average, variable in zip(self.ema_network.weights, self.network.weights, strict=True):
            average.assign(decay * average + (1 - decay) * variable)

        return self.update_trackers(losses)

    def sample(self, num_images):
        noise = keras.random.normal((num_images, *self.image_shape), seed=self.seed_generator)
        images = samplers.ddpm_sample(self._predict_noise, self.schedule, noise, self.seed_generator)
        return ops.clip((images + 1) / 2, 0.0, 1.0)

    def _predict_noise(self, noisy_images, timesteps):
        return self.ema_network([noisy_images, timesteps], training=False)

    def get_config(self):
        return self.config
