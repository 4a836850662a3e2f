import keras
import numpy as np
import pytest

from trilemma.diffusion import schedules
from trilemma.diffusion.schedules import SCHEDULES, Schedule, make_schedule

ALL_SCHEDULES = pytest.mark.parametrize("name", sorted(SCHEDULES))


def looped_alpha_bars(betas):
    product, alpha_bars = 1.0, []
    for beta in betas:
        product *= 1 - beta
        alpha_bars.append(product)
    return np.array(alpha_bars)


@ALL_SCHEDULES
@pytest.mark.parametrize("num_timesteps", [2, 3, 10, 50, 200, 1000, 4000])
def test_last_step_is_noise(name, num_timesteps):
    schedule = make_schedule(name, num_timesteps)
    assert schedule.num_timesteps == num_timesteps
    assert 0 < schedule.alpha_bars[-1] < 0.01


def test_unscaled_betas_of_the_article_leave_a_signal():
    betas = np.concatenate([[0.0], np.linspace(1e-4, 0.02, 200)])
    assert Schedule(betas).alpha_bars[-1] == pytest.approx(0.132, abs=5e-4)


@ALL_SCHEDULES
def test_alpha_bars_are_the_product_of_all_alphas_up_to_t(name):
    schedule = make_schedule(name, 50)
    assert schedule.alpha_bars[0] == 1
    np.testing.assert_allclose(schedule.alpha_bars, looped_alpha_bars(schedule.betas), rtol=1e-12)
    np.testing.assert_allclose(schedule.signal_rates**2 + schedule.noise_rates**2, 1)


def test_linear_schedule_is_that_of_ho_et_al():
    betas = make_schedule("linear", 1000).betas[1:]
    assert (betas[0], betas[-1]) == pytest.approx((1e-4, 0.02))
    np.testing.assert_allclose(np.diff(betas), 0.0199 / 999)


def test_cosine_schedule_is_equation_17_of_nichol_and_dhariwal():
    def cosine(t):
        return np.cos((t / 100 + 0.008) / 1.008 * np.pi / 2) ** 2

    expected = [cosine(t) / cosine(0) for t in range(100)]
    np.testing.assert_allclose(make_schedule("cosine", 100).alpha_bars[:-1], expected, rtol=1e-10)


@pytest.mark.parametrize(("name", "num_timesteps"), [("cosine", 2), ("cosine", 1000), ("linear", 2), ("linear", 20)])
def test_betas_end_at_999_thousandths(name, num_timesteps):
    betas = make_schedule(name, num_timesteps).betas
    assert betas[-1] == betas.max() == 0.999


@pytest.mark.parametrize("num_timesteps", [1, 4, 8])
def test_variance_preserving_schedule_is_that_of_xiao_et_al(num_timesteps):
    steps = np.arange(1, num_timesteps + 1)
    exponents = 0.1 / num_timesteps + 0.5 * (20 - 0.1) * (2 * steps - 1) / num_timesteps**2
    np.testing.assert_allclose(make_schedule("variance_preserving", num_timesteps).betas[1:], 1 - np.exp(-exponents))


@ALL_SCHEDULES
@pytest.mark.parametrize("t", [2, 7, 20])
def test_posterior_is_the_product_of_two_gaussians(name, t):
    schedule, image, noisy = make_schedule(name, 20), 0.3, -0.8
    grid = np.linspace(-6, 6, 200_001)
    alpha_bar, beta = looped_alpha_bars(schedule.betas)[t - 1], schedule.betas[t]
    log_before = -((grid - np.sqrt(alpha_bar) * image) ** 2) / (2 * (1 - alpha_bar))  # q(x_{t-1} | x_0)
    log_step = -((noisy - np.sqrt(1 - beta) * grid) ** 2) / (2 * beta)  # q(x_t | x_{t-1})
    density = np.exp(log_before + log_step - np.max(log_before + log_step))
    density /= density.sum()
    mean = np.sum(density * grid)
    assert schedule.posterior_images[t] * image + schedule.posterior_noisy[t] * noisy == pytest.approx(mean, abs=1e-5)
    assert schedule.posterior_variances[t] == pytest.approx(np.sum(density * (grid - mean) ** 2), rel=1e-3, abs=1e-7)


@ALL_SCHEDULES
def test_posterior_of_the_first_step_is_the_image_itself(name):
    schedule = make_schedule(name, 20)
    first = schedule.posterior_images[1], schedule.posterior_noisy[1], schedule.posterior_variances[1]
    assert first == pytest.approx((1, 0, 0), abs=1e-12)


@pytest.mark.parametrize("t", [1, 5, 20])
def test_q_sample_scales_images_and_noise(t, random):
    schedule = make_schedule("cosine", 20)
    alpha_bar = looped_alpha_bars(schedule.betas)[t]
    timesteps, zeros = np.full(8, t), np.zeros((8, 40, 40, 1), "float32")
    noise = random.standard_normal(zeros.shape).astype("float32")
    only_noise = np.asarray(schedules.q_sample(schedule, zeros, timesteps, noise))
    only_images = np.asarray(schedules.q_sample(schedule, zeros + 0.5, timesteps, zeros))
    assert only_noise.var() == pytest.approx(1 - alpha_bar, rel=0.05)
    np.testing.assert_allclose(only_images, 0.5 * np.sqrt(alpha_bar), rtol=1e-5)


def test_q_sample_gives_every_image_its_own_timestep():
    schedule = make_schedule("linear", 10)
    ones = np.ones((3, 2, 2, 1), "float32")
    noisy = np.asarray(schedules.q_sample(schedule, ones, np.array([0, 4, 10]), 0 * ones))
    np.testing.assert_allclose(noisy[:, 0, 0, 0], np.sqrt(looped_alpha_bars(schedule.betas))[[0, 4, 10]], rtol=1e-6)


def test_q_sample_agrees_with_one_step_at_a_time(random):
    schedule, x = make_schedule("linear", 10), np.full((20_000,), 0.7)
    for beta in schedule.betas[1:6]:
        x = np.sqrt(1 - beta) * x + np.sqrt(beta) * random.standard_normal(x.shape)
    noise = random.standard_normal((20_000, 1, 1, 1)).astype("float32")
    images = np.full_like(noise, 0.7)
    direct = np.asarray(schedules.q_sample(schedule, images, np.full(20_000, 5), noise))
    assert direct.mean() == pytest.approx(x.mean(), abs=0.03)
    assert direct.std() == pytest.approx(x.std(), rel=0.03)


def test_predict_images_inverts_q_sample(random):
    schedule = make_schedule("cosine", 50)
    images, noise = random.standard_normal((2, 4, 8, 8, 1)).astype("float32")
    timesteps = np.array([1, 10, 25, 45])
    noisy = schedules.q_sample(schedule, images, timesteps, noise)
    restored = keras.ops.convert_to_numpy(schedules.predict_images(schedule, noisy, timesteps, noise))
    np.testing.assert_allclose(restored, images, atol=1e-4)


@pytest.mark.parametrize("betas", [[0.0], [0.1, 0.2, 0.3], [0.0, 0.0, 0.1], [0.0, 0.1, 1.0], [[0.0, 0.1, 0.2]]])
def test_schedule_refuses_impossible_betas(betas):
    with pytest.raises(ValueError, match="betas"):
        Schedule(np.array(betas))


def test_schedule_is_frozen():
    schedule = make_schedule("cosine", 10)
    with pytest.raises(ValueError, match="read-only"):
        schedule.betas[1] = 0.5
    with pytest.raises(AttributeError):
        schedule.betas = np.zeros(3)


def test_make_schedule_names_the_known_schedules():
    with pytest.raises(ValueError, match="'quadratic'.*cosine.*linear"):
        make_schedule("quadratic", 10)


def test_single_steps_lead_where_q_sample_leads(random):
    schedule, images = make_schedule("cosine", 10), np.full((2, 80, 80, 1), 0.5, "float32")
    noisy, timesteps = images, [np.full(2, t) for t in range(11)]
    for t in range(1, 8):
        noise = random.standard_normal(images.shape).astype("float32")
        noisy = schedules.q_step_sample(schedule, noisy, timesteps[t], noise)
    assert np.mean(noisy) == pytest.approx(0.5 * np.sqrt(np.prod(1 - schedule.betas[:8])), abs=0.03)
    assert np.var(noisy) == pytest.approx(1 - np.prod(1 - schedule.betas[:8]), rel=0.05)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_one_timestep_is_too_few(name):
    with pytest.raises(ValueError, match="at least 2"):
        make_schedule(name, 1)


def test_velocity_is_the_derivative_along_the_angle(random):
    # x_t = cos(angle) x_0 + sin(angle) noise with cos(angle)^2 = alpha_bar_t; v is its derivative.
    schedule = schedules.cosine_schedule(50)
    images, noise = random.standard_normal((2, 50, 4, 4, 1))
    timesteps = np.arange(1, 51)
    angles = np.arccos(np.sqrt(np.cumprod(1 - schedule.betas)[1:])).reshape(-1, 1, 1, 1)
    step = 1e-5
    after, before = (np.cos(a) * images + np.sin(a) * noise for a in (angles + step, angles - step))
    velocity = schedules.velocity(schedule, images.astype("float32"), timesteps, noise.astype("float32"))
    np.testing.assert_allclose(velocity, (after - before) / (2 * step), atol=1e-4)


def test_noise_from_velocity_inverts_velocity(random):
    schedule = schedules.linear_schedule(50)
    images, noise = random.standard_normal((2, 50, 4, 4, 1)).astype("float32")
    timesteps = np.arange(1, 51)
    noisy_images = schedules.q_sample(schedule, images, timesteps, noise)
    velocity = schedules.velocity(schedule, images, timesteps, noise)
    restored = schedules.noise_from_velocity(schedule, noisy_images, timesteps, velocity)
    np.testing.assert_allclose(restored, noise, atol=1e-5)
