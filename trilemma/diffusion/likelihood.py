"""What a diffusion model says of the probability of an image: the variational bound of Ho et al. 2020."""

import numpy as np
from keras import ops

from trilemma.diffusion import schedules


def lower_bound(predict_noise, schedule, images, draw_noise):
    """A lower bound on log p(x_0) of images with 256 grey levels, from one x_t for every timestep.

    Ho et al. 2020 (arXiv 2006.11239), equation 5, its three kinds of terms: x_T against pure noise; every step of the
    sampler `ddpm_sample` against the posterior q(x_{t-1} | x_t, x_0); and the decoder p(x_0 | x_1) of equation 13. The
    divergence of a step is half the loss of signal-to-noise ratio, alpha_bar / (1 - alpha_bar), times the squared error
    of the predicted x_0 (Kingma et al. 2021, arXiv 2107.00630, equation 14). The decoder's variance is beta_1.

    Args:
        predict_noise, schedule: as in `samplers.ddpm_step`.
        images: x_0, (batch, height, width, channels) in [-1, 1], of 256 evenly spaced levels.
        draw_noise: function of t -> standard normal of the images' shape, another one for every t in 1 ... T.

    Returns:
        (batch,), nats; its mean over the noise is the bound.
    """
    # From t = 1: at t = 0 there is no noise.
    ratios = schedule.alpha_bars[1:] / (1 - schedule.alpha_bars[1:])
    weights = np.concatenate([[0.0, 0.0], (ratios[:-1] - ratios[1:]) / 2])

    def predict(t):
        timesteps = ops.broadcast_to(t, (ops.shape(images)[0],))
        noisy_images = schedules.q_sample(schedule, images, timesteps, draw_noise(t))
        noise = predict_noise(noisy_images, timesteps)
        return ops.clip(schedules.predict_images(schedule, noisy_images, timesteps, noise), -1.0, 1.0)

    def add_step(t, total):
        weight = ops.take(ops.convert_to_tensor(weights, "float32"), t)
        return total - weight * _sum(ops.square(images - predict(t)))

    last = schedule.alpha_bars[-1]
    at_the_end = -0.5 * _sum(last * ops.square(images) - last - np.log(1 - last))
    decoded = _sum(_log_of_level(images, predict(ops.convert_to_tensor(1, "int32")), schedule.betas[1] ** 0.5))
    return ops.fori_loop(2, schedule.num_timesteps + 1, add_step, at_the_end + decoded)


def _log_of_level(images, means, deviation):
    """log of the mass of a Gaussian between the neighbours of a level, half way; the outermost levels have no end."""
    half = 1 / 255
    above, below = ((images + side * half - means) / deviation for side in (1, -1))
    above = ops.where(images > 1 - half, np.inf, above)
    below = ops.where(images < -1 + half, -np.inf, below)
    mass = 0.5 * (ops.erf(above / 2**0.5) - ops.erf(below / 2**0.5))
    return ops.log(ops.maximum(mass, 1e-12))


def _sum(values):
    return ops.sum(values, axis=(1, 2, 3))
