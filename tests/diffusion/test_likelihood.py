import math

import numpy as np
import pytest
from keras import ops

from trilemma.diffusion import schedules
from trilemma.diffusion.likelihood import lower_bound

SCHEDULE = schedules.cosine_schedule(12)
LEVELS = (2 * np.arange(256) / 255 - 1).astype("float32")


def predictor(guess):
    """A network whose x_0 is `guess` of x_t and t, as the noise that leads there."""

    def predict_noise(noisy_images, timesteps):
        images = guess(noisy_images, timesteps)
        return schedules.noise_from_images(SCHEDULE, noisy_images, timesteps, images)

    return predict_noise


def noise_of(shape, seed=0):
    noise = np.random.default_rng(seed).standard_normal((13, *shape)).astype("float32")
    return lambda t: ops.take(ops.convert_to_tensor(noise), t, axis=0)


def normal_cdf(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_bound_of_a_network_that_knows_the_images_is_in_closed_form():
    levels = np.array([0, 1, 100, 254, 255])
    images = LEVELS[levels][None, :, None, None]
    found = lower_bound(predictor(lambda *_: images), SCHEDULE, images, noise_of(images.shape))
    last, deviation = SCHEDULE.alpha_bars[-1], math.sqrt(SCHEDULE.betas[1])
    expected = 0.0
    for level, image in zip(levels, LEVELS[levels].astype("float64"), strict=True):
        variance = 1 - last
        expected -= 0.5 * (variance + last * image**2 - 1 - math.log(variance))  # KL to the standard normal
        above = normal_cdf(1 / 255 / deviation) if level < 255 else 1.0
        below = normal_cdf(-1 / 255 / deviation) if level > 0 else 0.0
        expected += math.log(above - below)
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


def test_every_step_costs_the_divergence_of_two_gaussians():
    """The posterior q(x_{t-1} | x_t, x_0), with the true x_0 and with the predicted one, as `Schedule` has it."""
    images = LEVELS[np.random.default_rng(1).integers(0, 256, (2, 3, 2, 1))]
    draw_noise = noise_of(images.shape)

    def guess(noisy_images, timesteps):
        # Right at t = 1 alone, so that the decoder costs what it does for a network that knows everything.
        wrong = ops.tanh(noisy_images)
        return ops.where(ops.reshape(timesteps, (-1, 1, 1, 1)) == 1, images, wrong)

    best = lower_bound(predictor(lambda *_: images), SCHEDULE, images, draw_noise)
    found = np.asarray(best - lower_bound(predictor(guess), SCHEDULE, images, draw_noise))
    expected = np.zeros(2)
    for t in range(2, 13):
        alpha_bar = SCHEDULE.alpha_bars[t]
        noisy = np.sqrt(alpha_bar) * images + np.sqrt(1 - alpha_bar) * np.asarray(draw_noise(t))
        apart = SCHEDULE.posterior_images[t] * (images - np.tanh(noisy))
        expected += np.sum(apart**2, axis=(1, 2, 3)) / (2 * SCHEDULE.posterior_variances[t])
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_probabilities_of_all_images_of_one_pixel_sum_to_at_most_one():
    images = np.repeat(LEVELS, 400)[:, None, None, None]

    def guess(noisy_images, timesteps):
        return 0.8 * ops.tanh(2 * noisy_images)

    bounds = np.asarray(lower_bound(predictor(guess), SCHEDULE, images, noise_of(images.shape)))
    masses = np.exp(bounds.reshape(256, 400).mean(axis=1))
    assert 0.05 < masses.sum() <= 1.0
