"""Denoising diffusion probabilistic model (Ho et al. 2020)."""

import keras
from keras import ops

from trilemma.data import whole_number
from trilemma.diffusion import samplers, schedules
from trilemma.diffusion.guidance import guided
from trilemma.diffusion.likelihood import lower_bound
from trilemma.diffusion.unet import build_unet
from trilemma.models.contract import GenerativeModel, given
from trilemma.models.trainable import average_of, warm_up_and_cosine


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
        num_classes: learn from labels, and draw by them; None for a model without.
        label_dropout: share of the training images whose label is withheld, so that the network learns to predict
            without one too, which guidance needs (Ho & Salimans 2022, algorithm 1).
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
        num_classes=None,
        label_dropout=0.1,
        seed=None,
        **kwargs,
    ):
        config = dict(
            num_timesteps=num_timesteps, schedule=schedule, prediction=prediction, widths=tuple(widths),
            patch_size=patch_size, ema_decay=ema_decay, num_classes=num_classes, label_dropout=label_dropout,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        if prediction not in ("velocity", "noise"):
            raise ValueError(f'unknown prediction {prediction!r}; expected "velocity" or "noise".')
        self.schedule = schedules.make_schedule(schedule, num_timesteps)
        self.prediction = prediction
        self.num_classes = None if num_classes is None else whole_number("num_classes", num_classes)
        self.likelihood = "lower bound" if num_classes is None else None  # Or it would be one on log p(x | y).
        self.takes_guidance = num_classes is not None
        if not 0 <= label_dropout < 1:
            raise ValueError(f"label_dropout is {label_dropout}; expected a share of at least 0 and below 1.")
        self.label_dropout = label_dropout
        self.ema_decay = ema_decay
        with self.precision():
            self.network = self._build_network()
            self.ema_network = average_of(self.network)
        self.networks = {"unet": (self.ema_network, self.network)}
        self.use_sampler(**(sampler or {}))

    def _build_network(self, **inputs):
        shape, widths, patch_size = (self.config[key] for key in ("image_shape", "widths", "patch_size"))
        return build_unet(shape, widths, patch_size, num_classes=self.num_classes, **inputs)

    def call(self, inputs, training=False):
        """Predicts the noise with the averaged weights: [noisy_images, timesteps(, labels)] -> predicted_noise."""
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
        output = network(given(noisy_images, timesteps, self._told(labels, training)), training=training)
        if self.prediction == "noise":
            return {"loss": ops.mean(ops.square(noise - output))}
        errors = ops.square(schedules.velocity(self.schedule, images, timesteps, noise) - output)
        return {"loss": ops.mean(schedules.at_timesteps(self.schedule.signal_rates, timesteps) * errors)}

    def _told(self, labels, training):
        """The labels that the network is told: in training some are withheld."""
        if labels is None or not training:
            return labels
        chance = keras.random.uniform(ops.shape(labels), seed=self.seed_generator)
        return ops.where(chance < self.label_dropout, self.num_classes, labels)

    def use_sampler(self, name="ddpm", num_steps=None, power=1.0, eta=0.0, guidance=0.0):
        """Chooses the algorithm that `generate` draws with from now on; the weights stay the same.

        Args:
            name: a name in `samplers.SAMPLERS`: "ddpm", the sampler of the paper, over all timesteps; "ddim" or
                "dpm_solver", over a few of them.
            num_steps, power: see `samplers.spaced_timesteps`; None for all timesteps.
            eta: see `samplers.ddim_sample`, 0 ... 1; "ddpm" has none.
            guidance: what `generate` takes where it is given none; 0 for a model without classes.

        Returns:
            The model itself.

        Raises:
            ValueError: unknown name, an argument that this sampler does not have, or one out of its range.
        """
        samplers.check_sampler(name, num_steps, power, eta, self.schedule.num_timesteps)
        if guidance != 0:
            self._checked_guidance(guidance)
        self.guidance = guidance
        self.config["sampler"] = dict(name=name, num_steps=num_steps, power=power, eta=eta)
        self.config["sampler"] |= {"guidance": guidance} if guidance else {}
        self.passes_per_image = len(self._timesteps()) * (2 if guidance else 1)
        self.reset_sampling()
        return self

    def _timesteps(self):
        chosen, all_steps = self.config["sampler"], self.schedule.num_timesteps
        return samplers.spaced_timesteps(all_steps, chosen["num_steps"] or all_steps, chosen["power"])

    def sample(self, draw_noise, labels=None, guidance=None):
        chosen = self.config["sampler"]
        arguments = {} if chosen["name"] == "ddpm" else dict(timesteps=self._timesteps(), eta=chosen["eta"])
        predict_noise = self._predict_noise
        if labels is not None:
            predict_noise = guided(predict_noise, labels, guidance, no_label=self.num_classes)
        images = samplers.SAMPLERS[chosen["name"]](
            predict_noise,
            self.schedule,
            draw_noise(0, self.image_shape),
            lambda step: draw_noise(step + 1, self.image_shape),
            **arguments,
        )
        return ops.clip((images + 1) / 2, 0.0, 1.0)

    def _log_likelihood(self, images, draw_noise):
        """See `likelihood.lower_bound`, of images rounded to 256 grey levels; T passes, whatever the sampler is."""
        images = 2 * ops.round(255 * images) / 255 - 1
        return lower_bound(self._predict_noise, self.schedule, images, lambda t: draw_noise(t, self.image_shape))

    def _predict_noise(self, noisy_images, timesteps, labels=None):
        output = self.ema_network(given(noisy_images, timesteps, labels), training=False)
        if self.prediction == "noise":
            return output
        return schedules.noise_from_velocity(self.schedule, noisy_images, timesteps, output)
