"""Sampling algorithms over a noise predictor, one function per algorithm box of a paper."""

import keras
from keras import ops

from trilemma import schedules


def ddpm_step(predict_noise, schedule, noisy_images, timestep, seed, clip=True):
    """One step of the reverse process: x_t -> x_{t-1}.

    Draws from q(x_{t-1} | x_t, x_0) of Ho et al. 2020, equation 6, at the x_0 that the predicted noise implies.
    At t = 1 the posterior variance is 0, so the last step adds no noise.

    Args:
        predict_noise: function (noisy_images, timesteps (batch,)) -> predicted_noise.
        schedule: schedules.Schedule.
        noisy_images: x_t, (batch, height, width, channels).
        timestep: t, integer scalar in 1 ... T.
        seed: keras.random.SeedGenerator.
        clip: keep the implied x_0 in [-1, 1], the range of images.

    Returns:
        x_{t-1}, of the same shape.
    """
    timesteps = ops.broadcast_to(timestep, (ops.shape(noisy_images)[0],))
    predicted_noise = predict_noise(noisy_images, timesteps)
    images = schedules.predict_images(schedule, noisy_images, timesteps, predicted_noise)
    if clip:
        images = ops.clip(images, -1.0, 1.0)
    mean = (
        schedules.at_timesteps(schedule.posterior_images, timesteps) * images
        + schedules.at_timesteps(schedule.posterior_noisy, timesteps) * noisy_images
    )
    deviations = schedules.at_timesteps(schedule.posterior_variances**0.5, timesteps)
    return mean + deviations * keras.random.normal(ops.shape(noisy_images), seed=seed)


def ddpm_sample(predict_noise, schedule, noisy_images, seed, first_timestep=None, clip=True):
    """Algorithm 2 of Ho et al. 2020: runs `ddpm_step` from t = `first_timestep` down to 1.

    Args:
        predict_noise, schedule, seed, clip: as in `ddpm_step`.
        noisy_images: x_t at t = `first_timestep`; standard normal noise when that is T.
        first_timestep: where to start, 1 ... T; T when None. Smaller values denoise a noised image.

    Returns:
        Images x_0 of the same shape, about [-1, 1].
    """
    first = schedule.num_timesteps if first_timestep is None else first_timestep
    return ops.fori_loop(
        0, first, lambda i, x: ddpm_step(predict_noise, schedule, x, first - i, seed, clip), noisy_images
    )
