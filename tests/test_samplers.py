import keras
import numpy as np
import pytest
import tensorflow as tf

from trilemma.samplers import ddpm_sample, ddpm_step
from trilemma.schedules import make_schedule


def seed_generator(seed):
    return keras.random.SeedGenerator(seed)


def predict_zeros(noisy_images, timesteps):
    return keras.ops.zeros_like(noisy_images)


def gaussian_oracle(alpha_bars, mean, deviation):
    """E[noise | x_t] in closed form, for pixels x_0 ~ N(mean, deviation^2)."""
    alpha_bars = tf.constant(alpha_bars, "float32")

    def predict_noise(noisy_images, timesteps):
        alpha_bar = tf.reshape(tf.gather(alpha_bars, timesteps), (-1, 1, 1, 1))
        variance = alpha_bar * deviation**2 + 1 - alpha_bar
        return tf.sqrt(1 - alpha_bar) * (noisy_images - tf.sqrt(alpha_bar) * mean) / variance

    return predict_noise


def exact_moments(betas, alpha_bars, mean, deviation):
    """Mean and variance of the samples that the oracle leads to, step by step through linear Gaussians."""
    sample_mean, sample_variance = 0.0, 1.0
    for t in range(len(betas) - 1, 0, -1):
        now, before, alpha = alpha_bars[t], alpha_bars[t - 1], 1 - betas[t]
        gain = np.sqrt(now) * deviation**2 / (now * deviation**2 + 1 - now)  # E[x_0 | x_t] = offset + gain x_t
        offset = mean - gain * np.sqrt(now) * mean
        if t == 1:
            return offset + gain * sample_mean, gain**2 * sample_variance
        variance = 1 / (alpha / betas[t] + 1 / (1 - before))  # precisions of two Gaussians add up
        from_images = variance * np.sqrt(before) / (1 - before)
        slope = from_images * gain + variance * np.sqrt(alpha) / betas[t]
        sample_mean = from_images * offset + slope * sample_mean
        sample_variance = slope**2 * sample_variance + variance


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("mean, deviation", [(0.0, 1.0), (0.4, 0.3), (-1.5, 2.0)])
def test_oracle_predictor_recovers_the_distribution(name, mean, deviation, random):
    schedule = make_schedule(name, 40)
    alpha_bars = [np.prod(1 - schedule.betas[: t + 1]) for t in range(41)]
    noise = random.standard_normal((4, 100, 100, 1)).astype("float32")
    oracle = gaussian_oracle(alpha_bars, mean, deviation)
    images = np.asarray(ddpm_sample(oracle, schedule, noise, seed_generator(1), clip=False))
    exact_mean, exact_variance = exact_moments(schedule.betas, alpha_bars, mean, deviation)
    assert images.mean() == pytest.approx(exact_mean, abs=0.03 * deviation)
    assert images.var() == pytest.approx(exact_variance, rel=0.04)
    assert images.mean() == pytest.approx(mean, abs=0.06 * deviation + 0.01)
    assert images.std() == pytest.approx(deviation, rel=0.2)


def test_many_timesteps_remove_the_discretisation_error():
    schedule = make_schedule("cosine", 4000)
    alpha_bars = np.array([np.prod(1 - schedule.betas[: t + 1]) for t in range(4001)])
    assert exact_moments(schedule.betas, alpha_bars, 0.4, 0.3) == pytest.approx((0.4, 0.09), rel=0.02)


def test_steps_run_from_t_down_to_one():
    visited = []

    def predict_noise(noisy_images, timesteps):
        visited.append(np.asarray(timesteps).tolist())
        return keras.ops.zeros_like(noisy_images)

    ddpm_sample(predict_noise, make_schedule("cosine", 5), np.zeros((2, 4, 4, 1), "float32"), seed_generator(0))
    assert visited == [[5, 5], [4, 4], [3, 3], [2, 2], [1, 1]]


def test_first_timestep_shortens_the_way():
    visited = []

    def predict_noise(noisy_images, timesteps):
        visited.append(int(timesteps[0]))
        return keras.ops.zeros_like(noisy_images)

    images = np.zeros((1, 4, 4, 1), "float32")
    ddpm_sample(predict_noise, make_schedule("cosine", 5), images, seed_generator(0), first_timestep=2)
    assert visited == [2, 1]


def test_last_step_adds_no_noise(random):
    schedule, noisy = make_schedule("cosine", 10), random.standard_normal((2, 4, 4, 1)).astype("float32")
    first, second = (np.asarray(ddpm_step(predict_zeros, schedule, noisy, 1, seed_generator(s))) for s in (1, 2))
    np.testing.assert_array_equal(first, second)
    expected = np.clip(noisy / np.sqrt(1 - schedule.betas[1]), -1, 1)
    np.testing.assert_allclose(first, expected, atol=1e-5)


def test_earlier_steps_add_noise_of_the_posterior_variance():
    schedule, noisy = make_schedule("linear", 10), np.zeros((2, 80, 80, 1), "float32")
    alpha_bar, before = np.prod(1 - schedule.betas[:6]), np.prod(1 - schedule.betas[:5])
    stepped = np.asarray(ddpm_step(predict_zeros, schedule, noisy, 5, seed_generator(1)))
    assert stepped.var() == pytest.approx(schedule.betas[5] * (1 - before) / (1 - alpha_bar), rel=0.05)
    assert not np.array_equal(stepped[0], stepped[1])


def test_clip_keeps_the_implied_image_in_range():
    schedule, noisy = make_schedule("cosine", 10), np.full((1, 4, 4, 1), 50.0, "float32")
    clipped = ddpm_sample(predict_zeros, schedule, noisy, seed_generator(0))
    unclipped = ddpm_sample(predict_zeros, schedule, noisy, seed_generator(0), clip=False)
    assert np.max(np.abs(clipped)) <= 1 + 1e-6
    assert np.max(np.abs(unclipped)) > 1


def test_compiled_loop_draws_new_noise_in_every_step():
    schedule, seed = make_schedule("linear", 4), seed_generator(3)
    sample = tf.function(lambda noisy: ddpm_sample(predict_zeros, schedule, noisy, seed, clip=False))
    variance = 0.0
    for t in range(4, 0, -1):
        beta, now, before = schedule.betas[t], np.prod(1 - schedule.betas[: t + 1]), np.prod(1 - schedule.betas[:t])
        # Without predicted noise x_0 is x_t / sqrt(alpha_bar); repeated noise would add deviations, not variances.
        slope = np.sqrt(before / now) * beta / (1 - now) + np.sqrt(1 - beta) * (1 - before) / (1 - now)
        variance = slope**2 * variance + beta * (1 - before) / (1 - now)
    noisy = np.zeros((8, 50, 50, 1), "float32")
    assert np.asarray(sample(noisy)).var() == pytest.approx(variance, rel=0.05)
    assert not np.array_equal(sample(noisy), sample(noisy))
