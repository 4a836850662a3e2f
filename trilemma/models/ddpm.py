"""Denoising diffusion probabilistic model (Ho et al. 2020)."""

import keras
from keras import ops

from trilemma.diffusion import samplers, schedules
from trilemma.diffusion.unet import build_unet
from trilemma.models.contract import GenerativeModel
from trilemma.models.trainable import warm_up_and_cosine


@keras.saving.register_keras_serializable("trilemma")
class DDPM(GenerativeModel):
    """Learns to predict the noise in a noisy image; generates by removing noise in T steps.

    Near t = T a noisy image is almost noise alone, and x_0 = (x_t - sqrt(1 - alpha_bar_t) noise) / sqrt(alpha_bar_t)
    magnifies every error of the predicted noise: clipped to [-1, 1], x_0 is drawn towards grey. A network that predicts
    the velocity commits its errors in x_0 itself; the noise follows from it exactly, up to rounding.

    Args:
        image_shape: (height, width, channels).
        num_timesteps: T, also the number of network passes per image; 200 in the article.
        schedule: a name in `schedules.SCHEDULES`.
        prediction: what the network's output is: "velocity" (Salimans & Ho 2022) or "noise" (Ho et al. 2020).
        widths, patch_size: see `unet.build_unet`.
        ema_decay: decay per step of the averaged weights that sample; it warms up, so that the
            initial weights are soon forgotten.
        sampler: arguments of `use_sampler` for the sampler to begin with; None for the one of the paper.
        seed: integer that makes noise and timesteps repeatable.
    """

    def __init__(
        self,
        image_shape=(28, 28, 1),
        num_timesteps=200,
        schedule="cosine",
        prediction="velocity",
        widths=(64, 96),
        patch_size=2,
        ema_decay=0.999,
        sampler=None,
        seed=None,
        **kwargs,
    ):
        config = dict(
            num_timesteps=num_timesteps, schedule=schedule, prediction=prediction, widths=tuple(widths),
            patch_size=patch_size, ema_decay=ema_decay,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        if prediction not in ("velocity", "noise"):
            raise ValueError(f'unknown prediction {prediction!r}; expected "velocity" or "noise".')
        self.schedule = schedules.make_schedule(schedule, num_timesteps)
        self.prediction = prediction
        self.ema_decay = ema_decay
        with self.precision():
            self.network, self.ema_network = self._build_network(), self._build_network()
        self.ema_network.set_weights(self.network.get_weights())
        self.ema_network.trainable = False
        self.networks = {"unet": (self.ema_network, self.network)}
        self.use_sampler(**(sampler or {}))

    def _build_network(self, **inputs):
        return build_unet(self.config["image_shape"], self.config["widths"], self.config["patch_size"], **inputs)

    def call(self, inputs, training=False):
        """Predicts the noise with the averaged weights: [noisy_images, timesteps] -> predicted_noise."""
        return self._predict_noise(*inputs)

    def default_optimizers(self, learning_rate, num_steps):
        """Adam, 500 steps of warm-up, then a cosine down to zero."""
        return keras.optimizers.Adam(warm_up_and_cosine(learning_rate, num_steps))

    def players(self):
        return {"loss": (self.network,)}

    def averages(self):
        return ((self.ema_network, self.network),)

    def compute_losses(self, images, labels, training):
        """Mean squared error of the prediction at random timesteps.

        For "noise" this is equation 14 of Ho et al. 2020. The squared error of the velocity is that of the noise over
        alpha_bar_t: large noise, which decides the shape, counts more and fine texture less. The weight
        sqrt(alpha_bar_t) keeps halfway between the two.
        """
        timesteps = keras.random.randint(
            (ops.shape(images)[0],), 1, self.schedule.num_timesteps + 1, seed=self.seed_generator
        )
        noise = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        images = 2 * images - 1
        noisy_images = schedules.q_sample(self.schedule, images, timesteps, noise)
        network = self.network if training else self.ema_network
        output = network([noisy_images, timesteps], training=training)
        if self.prediction == "noise":
            return {"loss": ops.mean(ops.square(noise - output))}
        errors = ops.square(schedules.velocity(self.schedule, images, timesteps, noise) - output)
        return {"loss": ops.mean(schedules.at_timesteps(self.schedule.signal_rates, timesteps) * errors)}

    def use_sampler(self, name="ddpm", num_steps=None, power=1.0, eta=0.0):
        """Chooses the algorithm that `generate` draws with from now on; the weights stay the same.

        Args:
            name: a name in `samplers.SAMPLERS`: "ddpm", the sampler of the paper, over all timesteps; "ddim" or
                "dpm_solver", over a few of them.
            num_steps, power: see `samplers.spaced_timesteps`; None for all timesteps.
            eta: see `samplers.ddim_sample`, 0 ... 1; "ddpm" has none.

        Returns:
            The model itself.

        Raises:
            ValueError: unknown name, an argument that this sampler does not have, or one out of its range.
        """
        samplers.check_sampler(name, num_steps, power, eta, self.schedule.num_timesteps)
        self.config["sampler"] = dict(name=name, num_steps=num_steps, power=power, eta=eta)
        self.passes_per_image = len(self._timesteps())
        self.reset_sampling()
        return self

    def _timesteps(self):
        chosen, all_steps = self.config["sampler"], self.schedule.num_timesteps
        return samplers.spaced_timesteps(all_steps, chosen["num_steps"] or all_steps, chosen["power"])

    def sample(self, draw_noise, labels=None, guidance=None):
        chosen = self.config["sampler"]
        arguments = {} if chosen["name"] == "ddpm" else dict(timesteps=self._timesteps(), eta=chosen["eta"])
        images = samplers.SAMPLERS[chosen["name"]](
            self._predict_noise,
            self.schedule,
            draw_noise(0, self.image_shape),
            lambda step: draw_noise(step + 1, self.image_shape),
            **arguments,
        )
        return ops.clip((images + 1) / 2, 0.0, 1.0)

    def _predict_noise(self, noisy_images, timesteps):
        output = self.ema_network([noisy_images, timesteps], training=False)
        if self.prediction == "noise":
            return output
        return schedules.noise_from_velocity(self.schedule, noisy_images, timesteps, output)
