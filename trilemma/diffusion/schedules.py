"""Noise schedules and the closed forms of the forward process (Ho et al. 2020).

Timesteps run from 1 (almost clean) to T (noise), as in the paper; index 0 of every array stands for the
clean image, so that alpha_bar_0 = 1 and the last sampling step needs no special case.
"""

import dataclasses

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """The variances of a diffusion process, and every coefficient that follows from them.

    Attributes, each a float64 array (T + 1,) with the paper's symbol:
        betas: beta_t, the variance added at step t; betas[0] = 0.
        alpha_bars: alpha_bar_t = prod_s (1 - beta_s).
        signal_rates: sqrt(alpha_bar_t).
        noise_rates: sqrt(1 - alpha_bar_t).
        posterior_images, posterior_noisy, posterior_variances: the Gaussian q(x_{t-1} | x_t, x_0) of
            equations 6 and 7 has the mean posterior_images * x_0 + posterior_noisy * x_t. Entry 0 is 0.
    """

    betas: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "betas", np.array(self.betas, np.float64))
        if (
            self.betas.ndim != 1
            or len(self.betas) < 2
            or self.betas[0] != 0
            or not np.all((self.betas[1:] > 0) & (self.betas[1:] < 1))
        ):
            raise ValueError(f"betas are {self.betas}; expected 0 followed by values in (0, 1).")
        self.betas.setflags(write=False)

    def __eq__(self, other):
        return isinstance(other, Schedule) and np.array_equal(self.betas, other.betas)

    def __hash__(self):
        return hash(self.betas.tobytes())

    @property
    def num_timesteps(self):
        """T, the number of steps."""
        return len(self.betas) - 1

    @property
    def alpha_bars(self):
        return np.cumprod(1 - self.betas)

    @property
    def signal_rates(self):
        return np.sqrt(self.alpha_bars)

    @property
    def noise_rates(self):
        return np.sqrt(1 - self.alpha_bars)

    @property
    def posterior_images(self):
        return self._from_step_one(lambda beta, now, before: np.sqrt(before) * beta / (1 - now))

    @property
    def posterior_noisy(self):
        return self._from_step_one(lambda beta, now, before: np.sqrt(1 - beta) * (1 - before) / (1 - now))

    @property
    def posterior_variances(self):
        return self._from_step_one(lambda beta, now, before: beta * (1 - before) / (1 - now))

    def _from_step_one(self, formula):
        values = formula(self.betas[1:], self.alpha_bars[1:], self.alpha_bars[:-1])
        return np.concatenate([[0.0], values])


def linear_schedule(num_timesteps):
    """Betas on a line from 1e-4 to 0.02 at T = 1000, scaled by 1000 / T for other T.

    Ho et al. 2020, section 4; the scaling is that of Nichol & Dhariwal 2021. Without it a smaller T never
    reaches noise. Betas end at 0.999.

    Args:
        num_timesteps: T, at least 2.
    """
    _check_num_timesteps(num_timesteps)
    betas = np.linspace(1e-4, 0.02, num_timesteps) * 1000 / num_timesteps
    return Schedule(np.concatenate([[0.0], np.minimum(betas, 0.999)]))


def cosine_schedule(num_timesteps, offset=0.008):
    """alpha_bar_t falls as a squared cosine.

    Nichol & Dhariwal 2021, equation 17; betas end at 0.999.

    Args:
        num_timesteps: T, at least 2.
        offset: s of the paper; keeps the first steps from being too small.
    """
    _check_num_timesteps(num_timesteps)
    times = np.linspace(0, 1, num_timesteps + 1)
    alpha_bars = np.cos((times + offset) / (1 + offset) * np.pi / 2) ** 2
    betas = 1 - alpha_bars[1:] / alpha_bars[:-1]
    return Schedule(np.concatenate([[0.0], np.minimum(betas, 0.999)]))


def variance_preserving_schedule(num_timesteps):
    """alpha_bar at t / T of the stochastic process whose rate of noise grows from 0.1 to 20; made for a few long steps.

    Song et al. 2021 (score-based models), appendix C, discretised as in Xiao et al. 2022, appendix B.

    Args:
        num_timesteps: T, at least 1.
    """
    times = np.linspace(0, 1, num_timesteps + 1)
    log_alpha_bars = -0.1 * times - 0.5 * (20 - 0.1) * times**2
    return Schedule(np.concatenate([[0.0], 1 - np.exp(np.diff(log_alpha_bars))]))


SCHEDULES = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
    "variance_preserving": variance_preserving_schedule,
}


def make_schedule(name, num_timesteps):
    """Builds the schedule of this name in `SCHEDULES` with T = `num_timesteps`."""
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; expected one of {sorted(SCHEDULES)}.")
    return SCHEDULES[name](num_timesteps)


def _check_num_timesteps(num_timesteps):
    if num_timesteps < 2:
        raise ValueError(f"num_timesteps is {num_timesteps}; a diffusion process needs T of at least 2.")


def at_timesteps(values, timesteps):
    """Picks one schedule value per image: (T + 1,) array, timesteps (batch,) -> float32 (batch, 1, 1, 1)."""
    return ops.reshape(ops.take(ops.convert_to_tensor(values, "float32"), timesteps), (-1, 1, 1, 1))


def q_sample(schedule, images, timesteps, noise):
    """Draws x_t given x_0 in one step: sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise.

    Ho et al. 2020, equation 4.

    Args:
        schedule: Schedule.
        images: x_0, (batch, height, width, channels), in [-1, 1].
        timesteps: int (batch,), each in 0 ... T.
        noise: standard normal, of the images' shape.

    Returns:
        noisy_images of the images' shape.
    """
    return (
        at_timesteps(schedule.signal_rates, timesteps) * images + at_timesteps(schedule.noise_rates, timesteps) * noise
    )


def q_step_sample(schedule, images, timesteps, noise):
    """Draws x_t given x_{t-1}: sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) noise (Ho et al. 2020, equation 2).

    Shapes as in `q_sample`; timesteps from 1.
    """
    betas = at_timesteps(schedule.betas, timesteps)
    return ops.sqrt(1 - betas) * images + ops.sqrt(betas) * noise


def predict_images(schedule, noisy_images, timesteps, predicted_noise):
    """Solves `q_sample` for x_0, given the noise (Ho et al. 2020, equation 15).

    Shapes as in `q_sample`; timesteps from 1.
    """
    noise_part = at_timesteps(schedule.noise_rates, timesteps) * predicted_noise
    return (noisy_images - noise_part) / at_timesteps(schedule.signal_rates, timesteps)


def noise_from_images(schedule, noisy_images, timesteps, images):
    """Solves `q_sample` for the noise, given x_0. Shapes as in `q_sample`; timesteps from 1."""
    image_part = at_timesteps(schedule.signal_rates, timesteps) * images
    return (noisy_images - image_part) / at_timesteps(schedule.noise_rates, timesteps)


def q_posterior_sample(schedule, images, noisy_images, timesteps, noise):
    """Draws x_{t-1} given x_t and x_0 (Ho et al. 2020, equations 6 and 7); at t = 1 it is x_0.

    Shapes as in `q_sample`; timesteps from 1.
    """
    mean = (
        at_timesteps(schedule.posterior_images, timesteps) * images
        + at_timesteps(schedule.posterior_noisy, timesteps) * noisy_images
    )
    return mean + at_timesteps(schedule.posterior_variances**0.5, timesteps) * noise


def velocity(schedule, images, timesteps, noise):
    """v = sqrt(alpha_bar_t) noise - sqrt(1 - alpha_bar_t) x_0, orthogonal to x_t (Salimans & Ho 2022, section 4).

    Shapes as in `q_sample`.
    """
    return (
        at_timesteps(schedule.signal_rates, timesteps) * noise - at_timesteps(schedule.noise_rates, timesteps) * images
    )


def noise_from_velocity(schedule, noisy_images, timesteps, predicted_velocity):
    """Solves `q_sample` and `velocity` for the noise. Shapes as in `q_sample`."""
    return (
        at_timesteps(schedule.signal_rates, timesteps) * predicted_velocity
        + at_timesteps(schedule.noise_rates, timesteps) * noisy_images
    )
