import keras
import numpy as np
import pytest
import tensorflow as tf

from trilemma import noise
from trilemma.diffusion.samplers import (
    ddim_invert,
    ddim_sample,
    ddpm_sample,
    ddpm_step,
    dpm_solver_sample,
    spaced_timesteps,
)
from trilemma.diffusion.schedules import make_schedule


def draws(seed, images):
    """What the samplers call `draw_noise`, for as many images of this shape."""
    num_images, *shape = images.shape
    return lambda step: noise.standard_normal(seed, np.arange(num_images), step, shape)


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
    start = random.standard_normal((4, 100, 100, 1)).astype("float32")
    oracle = gaussian_oracle(alpha_bars, mean, deviation)
    images = np.asarray(ddpm_sample(oracle, schedule, start, draws(1, start), clip=False))
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

    images = np.zeros((2, 4, 4, 1), "float32")
    ddpm_sample(predict_noise, make_schedule("cosine", 5), images, draws(0, images))
    assert visited == [[5, 5], [4, 4], [3, 3], [2, 2], [1, 1]]


def test_first_timestep_shortens_the_way():
    visited = []

    def predict_noise(noisy_images, timesteps):
        visited.append(int(timesteps[0]))
        return keras.ops.zeros_like(noisy_images)

    images = np.zeros((1, 4, 4, 1), "float32")
    ddpm_sample(predict_noise, make_schedule("cosine", 5), images, draws(0, images), first_timestep=2)
    assert visited == [2, 1]


def test_last_step_adds_no_noise(random):
    schedule, noisy = make_schedule("cosine", 10), random.standard_normal((2, 4, 4, 1)).astype("float32")
    first, second = (np.asarray(ddpm_step(predict_zeros, schedule, noisy, 1, draws(s, noisy)(0))) for s in (1, 2))
    np.testing.assert_array_equal(first, second)
    expected = np.clip(noisy / np.sqrt(1 - schedule.betas[1]), -1, 1)
    np.testing.assert_allclose(first, expected, atol=1e-5)


def test_earlier_steps_add_noise_of_the_posterior_variance():
    schedule, noisy = make_schedule("linear", 10), np.zeros((2, 80, 80, 1), "float32")
    alpha_bar, before = np.prod(1 - schedule.betas[:6]), np.prod(1 - schedule.betas[:5])
    stepped = np.asarray(ddpm_step(predict_zeros, schedule, noisy, 5, draws(1, noisy)(0)))
    assert stepped.var() == pytest.approx(schedule.betas[5] * (1 - before) / (1 - alpha_bar), rel=0.05)
    assert not np.array_equal(stepped[0], stepped[1])


def test_clip_keeps_the_implied_image_in_range():
    schedule, noisy = make_schedule("cosine", 10), np.full((1, 4, 4, 1), 50.0, "float32")
    clipped = ddpm_sample(predict_zeros, schedule, noisy, draws(0, noisy))
    unclipped = ddpm_sample(predict_zeros, schedule, noisy, draws(0, noisy), clip=False)
    assert np.max(np.abs(clipped)) <= 1 + 1e-6
    assert np.max(np.abs(unclipped)) > 1


def test_compiled_loop_draws_new_noise_in_every_step():
    schedule, noisy = make_schedule("linear", 4), np.zeros((8, 50, 50, 1), "float32")
    sample = tf.function(lambda seed: ddpm_sample(predict_zeros, schedule, noisy, draws(seed, noisy), clip=False))
    variance = 0.0
    for t in range(4, 0, -1):
        beta, now, before = schedule.betas[t], np.prod(1 - schedule.betas[: t + 1]), np.prod(1 - schedule.betas[:t])
        # Without predicted noise x_0 is x_t / sqrt(alpha_bar); repeated noise would add deviations, not variances.
        slope = np.sqrt(before / now) * beta / (1 - now) + np.sqrt(1 - beta) * (1 - before) / (1 - now)
        variance = slope**2 * variance + beta * (1 - before) / (1 - now)
    first, second = (np.asarray(sample(tf.constant(seed))) for seed in (3, 4))
    assert first.var() == pytest.approx(variance, rel=0.05)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("num_steps", "power", "expected"),
    [
        (1, 1.0, [100]),
        (4, 1.0, [100, 75, 50, 25]),
        (4, 2.0, [100, 57, 25, 7]),
        (4, 0.5, [100, 87, 71, 50]),
        (3, 1.0, [100, 67, 34]),
        (100, 1.0, list(range(100, 0, -1))),
        (4, 9.0, [100, 8, 1]),
    ],
)
def test_spaced_timesteps(num_steps, power, expected):
    assert spaced_timesteps(100, num_steps, power).tolist() == expected


def test_quadratic_spacing_prefers_small_timesteps_and_visits_none_twice():
    timesteps = spaced_timesteps(200, 50, 2.0)
    assert np.all(np.diff(timesteps) < 0)
    assert np.mean(timesteps <= 50) > 0.45
    assert (timesteps[0], timesteps[-1]) == (200, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0), "num_steps is 0"),
        ((10, 11), "num_steps is 11"),
        ((10, 5, 0.0), "power is 0.0"),
        ((10, 5, -1), "above 0"),
    ],
)
def test_spacing_refuses_what_it_cannot_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        spaced_timesteps(*arguments)


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("clip", [True, False])
def test_ddim_with_eta_one_over_all_timesteps_is_ddpm(name, clip, random):
    schedule, start = make_schedule(name, 30), random.standard_normal((4, 8, 8, 1)).astype("float32")
    oracle = gaussian_oracle(schedule.alpha_bars, 0.4, 0.6)
    expected = ddpm_sample(oracle, schedule, start, draws(5, start), clip=clip)
    timesteps = spaced_timesteps(30, 30)
    images = ddim_sample(oracle, schedule, start, draws(5, start), timesteps, eta=1.0, clip=clip)
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize("sample", [ddim_sample, dpm_solver_sample])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_short_samplers_recover_the_distribution_at_every_eta(sample, eta, random):
    schedule = make_schedule("cosine", 400)
    oracle = gaussian_oracle(schedule.alpha_bars, 0.4, 0.3)
    start = random.standard_normal((4, 100, 100, 1)).astype("float32")
    timesteps = spaced_timesteps(400, 200)
    images = np.asarray(sample(oracle, schedule, start, draws(1, start), timesteps, eta, clip=False))
    assert images.mean() == pytest.approx(0.4, abs=0.01)
    assert images.std() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_steps_of_first_order_are_those_of_ddim(eta, random):
    """Of two steps both are of first order: one has no prediction before it, the other leads to x_0."""
    schedule, start = make_schedule("cosine", 20), random.standard_normal((2, 4, 4, 1)).astype("float32")
    oracle = gaussian_oracle(schedule.alpha_bars, 0.2, 0.5)
    arguments = (oracle, schedule, start, draws(3, start), np.array([18, 7]), eta)
    np.testing.assert_allclose(dpm_solver_sample(*arguments), ddim_sample(*arguments), atol=1e-5)


def test_without_eta_noise_alone_decides(random):
    schedule, start = make_schedule("cosine", 20), random.standard_normal((2, 4, 4, 1)).astype("float32")
    oracle, timesteps = gaussian_oracle(schedule.alpha_bars, 0.0, 0.5), spaced_timesteps(20, 5)
    for sample in (ddim_sample, dpm_solver_sample):
        np.testing.assert_array_equal(*(sample(oracle, schedule, start, timesteps=timesteps) for _ in range(2)))
        first, second = (sample(oracle, schedule, start, draws(s, start), timesteps, eta=0.5) for s in (1, 2))
        assert not np.allclose(first, second)


def exact_flow(schedule, start, mean, deviation):
    """Where the differential equation of the oracle leads from x_T: the number of deviations off the mean is kept."""
    alpha_bar = schedule.alpha_bars[-1]
    offset = start - np.sqrt(alpha_bar) * mean
    return mean + deviation * offset / np.sqrt(alpha_bar * deviation**2 + 1 - alpha_bar)


@pytest.mark.parametrize(("sample", "order"), [(ddim_sample, 1), (dpm_solver_sample, 2)])
def test_order_of_convergence(sample, order):
    schedule = make_schedule("linear", 200_000)
    oracle = gaussian_oracle(schedule.alpha_bars, 0.4, 0.3)
    start = np.linspace(-2, 2, 16, dtype="float32").reshape(1, 4, 4, 1)
    # Orders hold for steps of equal width in the logarithm of signal over noise; the last, to x_0, is negligible here.
    log_rates = 0.5 * np.log(schedule.alpha_bars[1:] / (1 - schedule.alpha_bars[1:]))
    errors = []
    for number in (16, 32, 64):
        widths = np.linspace(log_rates[-1], log_rates[20], number)
        timesteps = 1 + np.abs(log_rates[:, None] - widths).argmin(axis=0)
        images = np.asarray(sample(oracle, schedule, start, timesteps=timesteps, clip=False))
        errors.append(np.abs(images - exact_flow(schedule, start, 0.4, 0.3)).max())
    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_second_order_extrapolates_also_over_uneven_steps(eta):
    """With noise too; here every draw of it is 0.1."""
    schedule, timesteps = make_schedule("cosine", 200), np.array([180, 120, 100, 40, 30, 5])
    alpha_bars = np.append(schedule.alpha_bars[timesteps], 1)
    log_rates = 0.5 * np.log(alpha_bars[:-1] / (1 - alpha_bars[:-1]))

    seen = []

    def predict_noise(noisy_images, now):  # implies x_0 = log_rate, a line that the extrapolation follows exactly
        i = timesteps.tolist().index(int(now[0]))
        seen.append(float(noisy_images[0, 0, 0, 0]))
        return (noisy_images - np.sqrt(alpha_bars[i]) * log_rates[i]) / np.sqrt(1 - alpha_bars[i])

    expected = [0.7]
    for i, log_rate in enumerate(log_rates):
        # Of the line, the middle of the step counts; of the first step and the last, the start.
        middle = log_rate if i in (0, 5) else (log_rate + log_rates[i + 1]) / 2
        now, then = alpha_bars[i], alpha_bars[i + 1]
        deviation = eta * np.sqrt((1 - then) / (1 - now) * (1 - now / then))
        ratio = np.sqrt((1 - then - deviation**2) / (1 - now))
        expected.append(ratio * expected[-1] + (np.sqrt(then) - ratio * np.sqrt(now)) * middle + 0.1 * deviation)
    start = np.full((1, 4, 4, 1), 0.7, "float32")
    images = dpm_solver_sample(predict_noise, schedule, start, lambda step: 0.1, timesteps, eta, clip=False)
    # The last step goes to the last x_0, wherever it starts: what counts is every x_t on the way.
    np.testing.assert_allclose([*seen, np.asarray(images)[0, 0, 0, 0]], expected, rtol=1e-4)


@pytest.mark.parametrize("sample", [ddim_sample, dpm_solver_sample])
@pytest.mark.parametrize(("eta", "draw_noise"), [(1.5, np.zeros), (-0.1, np.zeros), (0.5, None)])
def test_impossible_eta_is_refused(sample, eta, draw_noise):
    start = np.zeros((1, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=f"eta is {eta}"):
        sample(predict_zeros, make_schedule("cosine", 10), start, draw_noise, np.array([10, 5]), eta)


def test_inversion_leads_to_noise_that_leads_back(random):
    schedule = make_schedule("cosine", 200)
    oracle = gaussian_oracle(schedule.alpha_bars, 0.1, 0.5)
    images = random.normal(0.1, 0.5, (4, 50, 50, 1)).astype("float32")
    errors = []
    for num_steps in (50, 200):
        timesteps = spaced_timesteps(200, num_steps)
        start = np.asarray(ddim_invert(oracle, schedule, images, timesteps))
        back = ddim_sample(oracle, schedule, start, timesteps=timesteps, clip=False)
        errors.append(np.sqrt(np.mean((back - images) ** 2)))
    assert start.mean() == pytest.approx(0, abs=0.05)
    assert start.std() == pytest.approx(1, abs=0.05)
    assert errors[1] < 0.02
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("sample", [ddim_sample, dpm_solver_sample])
def test_short_samplers_clip_and_visit_their_timesteps(sample):
    visited = []

    def predict_noise(noisy_images, timesteps):
        visited.append(np.asarray(timesteps).tolist())
        return keras.ops.zeros_like(noisy_images)

    noisy, schedule = np.full((2, 4, 4, 1), 50.0, "float32"), make_schedule("cosine", 10)
    images = sample(predict_noise, schedule, noisy, timesteps=spaced_timesteps(10, 2))
    assert visited == [[10, 10], [5, 5]]
    assert np.max(np.abs(images)) <= 1 + 1e-6
