"""Progressive distillation: a student learns to take in one step what takes its teacher two, down to a single step."""

import functools

import keras
import numpy as np
from keras import ops

from trilemma.data import whole_number
from trilemma.diffusion import samplers, schedules
from trilemma.models.ddpm import DDPM


def ddim_step(schedule, images, noisy_images, timesteps, destinations):
    """Goes from x_t to x_s without drawing noise, given x_0 (Song et al. 2021, equation 12 with sigma = 0).

    Shapes as in `schedules.q_sample`; timesteps t from 1, destinations s int (batch,), each in 0 ... t - 1.
    """
    of_images, of_noisy_images = _ddim_weights(schedule, timesteps, destinations)
    return of_images * images + of_noisy_images * noisy_images


def images_of_step(schedule, reached_images, noisy_images, timesteps, destinations):
    """Solves `ddim_step` for x_0: the image for which one step leads from x_t to the reached x_s."""
    of_images, of_noisy_images = _ddim_weights(schedule, timesteps, destinations)
    return (reached_images - of_noisy_images * noisy_images) / of_images


def _ddim_weights(schedule, timesteps, destinations):
    ratio = schedules.at_timesteps(schedule.noise_rates, destinations) / schedules.at_timesteps(
        schedule.noise_rates, timesteps
    )
    signal_rate = schedules.at_timesteps(schedule.signal_rates, destinations)
    return signal_rate - ratio * schedules.at_timesteps(schedule.signal_rates, timesteps), ratio


@keras.saving.register_keras_serializable("trilemma")
class Student(DDPM):
    """Learns long steps on the way of `ddim_sample`: the shortest from a trained DDPM, longer ones from its own.

    Salimans & Ho 2022, algorithm 2, train one network after the other for 16, 8, 4, ... steps, each the student of the
    one before. Here one network is told where a step leads and learns all of them at once, as the shortcut models of
    Frans et al. 2024 do, so that one set of weights serves every number of passes.

    Args:
        most_steps: from T to 0 in the shortest steps, a power of two; the teacher takes two for each.
        **kwargs: of `DDPM`, with `sampler` as arguments of this class's `use_sampler`, and without `prediction`: the
            network predicts the velocity.
    """

    def __init__(self, image_shape=(28, 28, 1), most_steps=16, **kwargs):
        most_steps = whole_number("most_steps", most_steps, 4)
        if most_steps & (most_steps - 1):
            raise ValueError(f"most_steps is {most_steps}; expected a power of two, at least 4.")
        for name, reason in (("prediction", 'always predicts the "velocity"'), ("num_classes", "has no classes")):
            if name in kwargs:
                raise ValueError(f"{name} is {kwargs[name]!r}; a student {reason}. Leave it out.")
        self.most_steps = most_steps
        super().__init__(image_shape, **kwargs)
        for name in ("prediction", "num_classes", "label_dropout"):
            del self.config[name]
        self.config["most_steps"] = most_steps
        self.likelihood = None  # Its long steps are none of the bound's.
        # The timesteps at which the teacher's steps start and end, rising from 0.
        self._stops = np.append(samplers.spaced_timesteps(self.schedule.num_timesteps, 2 * most_steps), 0)[::-1]
        self._teacher = None

    def _build_network(self):
        return super()._build_network(with_destinations=True)

    def call(self, inputs, training=False):
        """Predicts the noise with the averaged weights: [noisy_images, timesteps, destinations] -> predicted_noise."""
        return self._predict_noise_towards(*inputs)

    def learn_from(self, teacher):
        """Prepares `fit`: takes over the teacher's averaged weights and asks it for the shortest steps.

        Args:
            teacher: a trained DDPM that predicts the velocity, of the same shape of images, schedule and widths.

        Returns:
            The student itself.

        Raises:
            ValueError: the teacher is another.
        """
        shared = ("image_shape", "num_timesteps", "schedule", "prediction", "widths", "patch_size")
        needed = {**self.config, "prediction": "velocity"}
        differing = {key: teacher.config.get(key) for key in shared if teacher.config.get(key) != needed[key]}
        if differing:
            wanted = {key: needed[key] for key in differing}
            raise ValueError(f"the teacher has {differing}; the student needs {wanted}.")
        for network in (self.network, self.ema_network):
            for weight, value in zip(network.weights, teacher.ema_network.get_weights(), strict=True):
                # The rows that look at the destination, which the teacher lacks, start at zero.
                missing = np.subtract(weight.shape, value.shape)
                weight.assign(np.pad(value, [(0, count) for count in missing]))
        # Keras would save the teacher's weights with the student's if it found the model itself here.
        self._teacher = functools.partial(teacher._predict_noise)
        return self

    def compute_losses(self, images, labels, training):
        """Mean squared error of the velocity that leads in one step to where two steps of half its length lead.

        For an eighth of the images these are steps of the teacher, for the others of the student's averaged weights.
        """
        if self._teacher is None:
            raise ValueError("the student has no teacher; call learn_from(teacher) before fit or evaluate.")
        images = 2 * images - 1
        num_images = ops.shape(images)[0]
        # A plain number where the size of a batch is known while the step is traced, as it always is on JAX.
        larger, smaller = (max, min) if isinstance(num_images, int) else (ops.maximum, ops.minimum)
        num_taught = larger(1, num_images // 8)
        timesteps, halfway, destinations = self._draw_steps(num_taught, num_images)
        noise = keras.random.normal(ops.shape(images), seed=self.seed_generator)
        noisy_images = schedules.q_sample(self.schedule, images, timesteps, noise)

        start = (noisy_images, timesteps, halfway, destinations)
        taught = self._two_steps(lambda x, now, _: self._teacher(x, now), *(each[:num_taught] for each in start))
        # A batch of one image goes both ways and counts as taught, since TensorFlow fails on empty ones.
        num_skipped = smaller(num_taught, num_images - 1)
        own = self._two_steps(self._predict_noise_towards, *(each[num_skipped:] for each in start))
        reached = ops.concatenate([taught, own])[:num_images]
        target = images_of_step(self.schedule, reached, noisy_images, timesteps, destinations)

        target_noise = schedules.noise_from_images(self.schedule, noisy_images, timesteps, target)
        target_velocity = ops.stop_gradient(schedules.velocity(self.schedule, target, timesteps, target_noise))
        network = self.network if training else self.ema_network
        output = network([noisy_images, timesteps, destinations], training=training)
        return {"loss": ops.mean(ops.square(target_velocity - output))}

    def _draw_steps(self, num_taught, num_images):
        """Timesteps where steps start, are halfway and end: first of the shortest kind, then of longer ones."""
        num_levels = self.most_steps.bit_length()
        # The larger of two draws: the longer a step, the more there is to learn, and the more often it comes.
        draws = keras.random.randint((2, num_images), 1, num_levels, seed=self.seed_generator)
        half = ops.where(ops.arange(num_images) < num_taught, 1, 2 ** ops.max(draws, axis=0))
        place = keras.random.randint((num_images,), 0, self.most_steps, seed=self.seed_generator)
        place = place % (self.most_steps // half)  # Powers of two: every start is as likely as the others.
        stops = ops.convert_to_tensor(self._stops, "int32")
        return [ops.take(stops, half * (2 * place + parts)) for parts in (2, 1, 0)]

    def _two_steps(self, predict_noise, noisy_images, timesteps, halfway, destinations):
        for now, then in ((timesteps, halfway), (halfway, destinations)):
            predicted_noise = predict_noise(noisy_images, now, then)
            images = schedules.predict_images(self.schedule, noisy_images, now, predicted_noise)
            noisy_images = ddim_step(self.schedule, ops.clip(images, -1.0, 1.0), noisy_images, now, then)
        return noisy_images

    def use_sampler(self, num_steps=4):
        """Chooses the number of steps, and so of passes, that `generate` takes from now on.

        Args:
            num_steps: a power of two, 1 ... `most_steps`.

        Returns:
            The model itself.
        """
        num_steps = whole_number("num_steps", num_steps, 1, self.most_steps)
        if num_steps & (num_steps - 1):
            raise ValueError(f"num_steps is {num_steps}; expected a power of two, 1 ... {self.most_steps}.")
        super().use_sampler("ddim", num_steps)
        stops = np.append(self._timesteps(), 0)
        self._destinations = np.zeros(self.schedule.num_timesteps + 1, "int32")
        self._destinations[stops[:-1]] = stops[1:]
        return self

    def get_config(self):
        return {**super().get_config(), "sampler": {"num_steps": self.config["sampler"]["num_steps"]}}

    def _predict_noise(self, noisy_images, timesteps):
        destinations = ops.take(ops.convert_to_tensor(self._destinations), timesteps)
        return self._predict_noise_towards(noisy_images, timesteps, destinations)

    def _predict_noise_towards(self, noisy_images, timesteps, destinations):
        output = self.ema_network([noisy_images, timesteps, destinations], training=False)
        return schedules.noise_from_velocity(self.schedule, noisy_images, timesteps, output)
