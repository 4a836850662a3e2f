import keras
import numpy as np
import pytest

from trilemma import schedules
from trilemma.ddpm import DDPM


def tiny_ddpm(**settings):
    return DDPM(**{"image_shape": (8, 8, 1), "num_timesteps": 10, "widths": (8, 16), "seed": 0, **settings})


def compiled(model, optimizer="sgd"):
    model.compile(optimizer=optimizer)
    return model


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_target_of_the_loss_is_the_noise(schedule):
    model, grey = tiny_ddpm(schedule=schedule), 0.75
    alpha_bars = np.cumprod(1 - model.schedule.betas).astype("float32")
    seen_timesteps = []

    def true_noise(inputs, training):
        noisy_images, timesteps = (np.asarray(value) for value in inputs)
        seen_timesteps.extend(timesteps.tolist())
        alpha_bar = alpha_bars[timesteps].reshape(-1, 1, 1, 1)
        return (noisy_images - np.sqrt(alpha_bar) * (2 * grey - 1)) / np.sqrt(1 - alpha_bar)

    model.network = model.ema_network = true_noise
    losses = model.compute_losses(np.full((256, 8, 8, 1), grey, "float32"), training=True)
    assert float(losses["loss"]) == pytest.approx(0, abs=1e-6)
    assert set(seen_timesteps) == set(range(1, 11))


def test_loss_of_an_untrained_network_is_the_variance_of_the_noise():
    # The last layer starts at zero, so the loss is the mean square of standard normal noise.
    loss = tiny_ddpm().compute_losses(np.zeros((256, 8, 8, 1), "float32"), training=True)["loss"]
    assert float(loss) == pytest.approx(1, abs=0.05)


def test_training_step_moves_the_network_and_the_average_follows():
    model = compiled(tiny_ddpm(ema_decay=0.5), keras.optimizers.SGD(0.1))
    before = [weight.copy() for weight in model.ema_network.get_weights()]
    model.fit(np.random.default_rng(0).random((4, 8, 8, 1), "float32"), verbose=0)
    decay = min(0.5, 2 / 11)
    moved = 0.0
    for old, now, average in zip(before, model.network.get_weights(), model.ema_network.get_weights(), strict=True):
        np.testing.assert_allclose(average, decay * old + (1 - decay) * now, atol=1e-6)
        moved += np.abs(now - old).sum()
    assert moved > 0


def test_average_soon_forgets_the_initial_weights():
    # The warm-up of the decay: after n steps the initial weights keep the share prod (1 + i) / (10 + i).
    shares = np.cumprod([min(0.999, (1 + step) / (10 + step)) for step in range(1, 51)])
    model = compiled(tiny_ddpm(), keras.optimizers.SGD(0.0))
    model.ema_network.set_weights([np.ones_like(weight) for weight in model.ema_network.get_weights()])
    model.network.set_weights([np.zeros_like(weight) for weight in model.network.get_weights()])
    for step in range(5):
        model.fit(np.zeros((2, 8, 8, 1), "float32"), verbose=0)
        np.testing.assert_allclose(model.ema_network.get_weights()[0], shares[step], rtol=1e-4)
    assert shares[-1] < 1e-4


def test_optimizer_touches_only_the_network():
    model = tiny_ddpm()
    assert model.trainable_variables == model.network.trainable_variables
    assert not model.ema_network.trainable_variables


def test_evaluation_and_generation_use_the_averaged_weights():
    model, images = tiny_ddpm(), np.zeros((64, 8, 8, 1), "float32")
    model.network.set_weights([np.ones_like(weight) for weight in model.network.get_weights()])
    loss = float(model.compute_losses(images, training=False)["loss"])
    assert loss == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(model.generate(1, seed=0), tiny_ddpm().generate(1, seed=0))


def test_perfect_noise_prediction_generates_the_training_image():
    model, grey = tiny_ddpm(num_timesteps=20), 0.25

    def true_noise(inputs, training):
        noisy_images, timesteps = inputs
        signal = schedules.at_timesteps(model.schedule.signal_rates, timesteps)
        noise = schedules.at_timesteps(model.schedule.noise_rates, timesteps)
        return (noisy_images - signal * (2 * grey - 1)) / noise

    model.ema_network = true_noise
    np.testing.assert_allclose(model.generate(2, seed=0), grey, atol=1e-3)


def test_passes_per_image_is_the_number_of_timesteps():
    assert tiny_ddpm(num_timesteps=7).passes_per_image == 7


@pytest.mark.parametrize("num_steps", [1, 5, 10_000])
def test_learning_rate_warms_up_and_falls_almost_to_zero(num_steps):
    learning_rate = tiny_ddpm().default_optimizers(1e-3, num_steps)["optimizer"]._learning_rate
    rates = [float(learning_rate(step)) for step in np.linspace(0, num_steps, 101)]
    assert np.all(np.isfinite(rates))
    assert max(rates) <= 1e-3 + 1e-9
    if num_steps == 10_000:
        assert (rates[0], rates[5], rates[-1]) == pytest.approx((0, 1e-3, 0), abs=1e-5)


def test_configuration_builds_the_same_model():
    model = tiny_ddpm(num_blocks=2, patch_size=1, schedule="linear")
    rebuilt = DDPM.from_config(model.get_config())
    assert [weight.shape for weight in rebuilt.weights] == [weight.shape for weight in model.weights]
    np.testing.assert_array_equal(rebuilt.schedule.betas, model.schedule.betas)


@pytest.mark.slow
def test_training_lowers_the_loss():
    model = compiled(tiny_ddpm(num_timesteps=20), keras.optimizers.Adam(1e-2))
    images = np.repeat(np.eye(8, dtype="float32")[None, :, :, None], 16, axis=0)
    before = model.evaluate(images, batch_size=16, verbose=0)
    model.fit(images, batch_size=16, epochs=40, verbose=0)
    assert model.evaluate(images, batch_size=16, verbose=0) < 0.5 * before
