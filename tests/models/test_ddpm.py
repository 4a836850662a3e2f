import keras
import numpy as np
import pytest
from keras import ops

from trilemma import noise
from trilemma.diffusion import samplers, schedules
from trilemma.models.ddpm import DDPM


def tiny_ddpm(**settings):
    return DDPM(**{"image_shape": (8, 8, 1), "num_timesteps": 10, "widths": (8,), "seed": 0, **settings})


def compiled(model, optimizer="sgd"):
    model.compile(optimizer)
    return model


def true_output(model, grey):
    """A network that knows that every image is `grey`: its noise, or cos * noise - sin * image."""
    alpha_bars = np.cumprod(1 - model.schedule.betas)

    def network(inputs, training):
        noisy_images, timesteps = inputs
        alpha_bar = ops.reshape(ops.take(ops.convert_to_tensor(alpha_bars, "float32"), timesteps), (-1, 1, 1, 1))
        signal, noise_rate = ops.sqrt(alpha_bar), ops.sqrt(1 - alpha_bar)
        noise = (noisy_images - signal * (2 * grey - 1)) / noise_rate
        return noise if model.prediction == "noise" else signal * noise - noise_rate * (2 * grey - 1)

    return network


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_target_of_the_loss(schedule, prediction):
    model, grey = tiny_ddpm(schedule=schedule, prediction=prediction), 0.75
    network, seen_timesteps = true_output(model, grey), []

    def recording(inputs, training):
        seen_timesteps.extend(np.asarray(inputs[1]).tolist())
        return network(inputs, training)

    model.network = model.ema_network = recording
    losses = model.compute_losses(np.full((256, 8, 8, 1), grey, "float32"), None, training=True)
    assert float(losses["loss"]) == pytest.approx(0, abs=1e-6)
    assert set(seen_timesteps) == set(range(1, 11))


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_loss_of_an_untrained_network_is_the_weighted_mean_square_of_the_target(prediction):
    # The last layer starts at zero. At x_0 = 0 noise has the mean square 1, the velocity alpha_bar; its weight
    # is sqrt(alpha_bar).
    model = tiny_ddpm(prediction=prediction)
    expected = {"noise": 1.0, "velocity": np.mean(np.cumprod(1 - model.schedule.betas)[1:] ** 1.5)}[prediction]
    loss = model.compute_losses(np.full((4096, 8, 8, 1), 0.5, "float32"), None, training=True)["loss"]
    assert float(loss) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_call_predicts_the_noise(prediction):
    model, random = tiny_ddpm(prediction=prediction), np.random.default_rng(0)
    model.ema_network = true_output(model, 0.75)
    added = random.standard_normal((10, 8, 8, 1)).astype("float32")
    timesteps = np.arange(1, 11)
    noisy_images = schedules.q_sample(model.schedule, np.full_like(added, 0.5), timesteps, added)
    np.testing.assert_allclose(model.call([noisy_images, timesteps]), added, atol=1e-4)


def test_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="'image'.*velocity"):
        tiny_ddpm(prediction="image")


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
    # Untrained averages predict zero; at x_0 = -1 the mean square of the velocity is 1, its weight sqrt(alpha_bar).
    expected = np.mean(np.sqrt(np.cumprod(1 - model.schedule.betas)[1:]))
    loss = float(model.compute_losses(images, None, training=False)["loss"])
    assert loss == pytest.approx(expected, abs=0.1)
    np.testing.assert_array_equal(model.generate(1, seed=0), tiny_ddpm().generate(1, seed=0))


@pytest.mark.parametrize("prediction", ["velocity", "noise"])
def test_perfect_prediction_generates_the_training_image(prediction):
    model, grey = tiny_ddpm(num_timesteps=20, prediction=prediction), 0.25
    model.ema_network = true_output(model, grey)
    np.testing.assert_allclose(model.generate(2, seed=0), grey, atol=1e-3)


def test_velocity_keeps_a_small_error_small_where_all_is_noise():
    # The reason for the velocity: near t = T the same error of the output moves x_0 by itself, not a hundredfold.
    errors = {}
    for prediction in ("velocity", "noise"):
        model = tiny_ddpm(num_timesteps=200, prediction=prediction)
        exact = true_output(model, 0.25)
        model.ema_network = lambda inputs, training, exact=exact: exact(inputs, training) + 0.01
        timesteps = np.array([199])
        noisy_images = schedules.q_sample(
            model.schedule, np.full((1, 8, 8, 1), -0.5, "float32"), timesteps, np.ones((1, 8, 8, 1), "float32")
        )
        noise = model.call([noisy_images, timesteps])
        images = np.asarray(schedules.predict_images(model.schedule, noisy_images, timesteps, noise))
        errors[prediction] = np.abs(images + 0.5).max()
    assert errors["velocity"] == pytest.approx(0.01, rel=0.1)
    assert errors["noise"] > 1


def test_passes_per_image_is_the_number_of_timesteps():
    assert tiny_ddpm(num_timesteps=7).passes_per_image == 7


@pytest.mark.parametrize("num_steps", [1, 5, 10_000])
def test_learning_rate_warms_up_and_falls_to_zero(num_steps):
    learning_rate = tiny_ddpm().default_optimizers(1e-3, num_steps)._learning_rate
    rates = [float(learning_rate(step)) for step in np.linspace(0, num_steps, 101)]
    assert np.all(np.isfinite(rates))
    assert max(rates) <= 1e-3 + 1e-9
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    if num_steps == 10_000:
        assert (rates[0], rates[5]) == pytest.approx((0, 1e-3), abs=1e-9)


def test_configuration_builds_the_same_model():
    model = tiny_ddpm(patch_size=1, schedule="linear", prediction="noise")
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


@pytest.mark.parametrize(
    ("settings", "sample", "num_passes"),
    [
        (dict(name="ddpm"), samplers.ddpm_sample, 10),
        (dict(name="ddim", num_steps=4), samplers.ddim_sample, 4),
        (dict(name="ddim", num_steps=5, power=2.0, eta=0.5), samplers.ddim_sample, 5),
        (dict(name="dpm_solver", num_steps=3), samplers.dpm_solver_sample, 3),
        (dict(name="dpm_solver", num_steps=4, power=0.6, eta=1.0), samplers.dpm_solver_sample, 4),
    ],
)
def test_sampler_can_be_chosen(settings, sample, num_passes, random):
    model = tiny_ddpm()
    model.ema_network.set_weights([0.1 * random.standard_normal(w.shape) for w in model.ema_network.get_weights()])
    assert model.use_sampler(**settings) is model
    assert model.passes_per_image == num_passes
    images = model.generate(3, seed=4)

    # The first draw is x_T; the ones after it go to the steps.
    x_t, *steps = (noise.standard_normal(4, np.arange(3), draw, (8, 8, 1)) for draw in range(11))
    arguments = dict(draw_noise=lambda step: steps[int(step)])
    if settings["name"] != "ddpm":
        timesteps = samplers.spaced_timesteps(10, settings["num_steps"], settings.get("power", 1.0))
        arguments |= dict(timesteps=timesteps, eta=settings.get("eta", 0.0))
    expected = sample(lambda images, t: model([images, t]), model.schedule, x_t, **arguments)
    np.testing.assert_allclose(images, np.clip((np.asarray(expected) + 1) / 2, 0, 1), atol=1e-5)


def test_another_sampler_replaces_the_compiled_one():
    model = tiny_ddpm()
    first = model.generate(2, seed=0)
    short = model.use_sampler("ddim", num_steps=2).generate(2, seed=0)
    assert np.abs(short - first).max() > 1e-3
    np.testing.assert_array_equal(model.use_sampler("ddpm").generate(2, seed=0), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("euler",), "unknown sampler 'euler'"),
        (("ddpm", 5), "walks all 10 timesteps, not num_steps=5"),
        (("ddpm", None, 2.0), "walks all 10 timesteps, not num_steps=None, power=2.0"),
        (("ddpm", None, 1.0, 1.0), "walks all 10 timesteps, not .*eta=1.0"),
        (("ddim", 11), "num_steps is 11"),
    ],
)
def test_impossible_samplers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny_ddpm().use_sampler(*arguments)


def conditional_ddpm(**settings):
    # Groups of one channel, as of 8 in all, would take the added label out again.
    return tiny_ddpm(**{"num_classes": 3, "widths": (16,), **settings})


def randomised(model):
    random = np.random.default_rng(0)
    for weight in model.ema_network.weights:
        weight.assign(0.2 * random.standard_normal(weight.shape))
    return model


def grey_images(labels):
    """Images of one grey per class: 0, 0.5, 1."""
    return np.ones((1, 8, 8, 1), "float32") * (labels / 2).astype("float32")[:, None, None, None]


def network_of_classes(model, unconditional):
    """A network that knows the grey of every class, and without a label assumes the grey `unconditional`."""

    def network(inputs, training):
        noisy_images, timesteps, labels = (np.asarray(each) for each in inputs)
        greys = np.where(labels == 3, unconditional, labels / 2)[:, None, None, None]
        alpha_bars = np.cumprod(1 - model.schedule.betas)[timesteps][:, None, None, None]
        noise = (noisy_images - np.sqrt(alpha_bars) * (2 * greys - 1)) / np.sqrt(1 - alpha_bars)
        return ops.convert_to_tensor(noise.astype("float32"))

    return network


def test_labels_enter_the_loss():
    model, labels = conditional_ddpm(prediction="noise", label_dropout=0.0), np.arange(60) % 3
    model.network = model.ema_network = network_of_classes(model, unconditional=0.0)
    for training in (True, False):
        right = model.compute_losses(grey_images(labels), labels, training)["loss"]
        assert float(right) == pytest.approx(0, abs=1e-6)
        assert float(model.compute_losses(grey_images(labels), (labels + 1) % 3, training)["loss"]) > 0.1


def test_one_label_in_ten_is_withheld_in_training_alone():
    model, labels = conditional_ddpm(), np.arange(30_000, dtype="int32") % 3
    told = np.asarray(model._told(ops.convert_to_tensor(labels), training=True))
    withheld = told == 3
    assert withheld.mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(told[~withheld], labels[~withheld])
    for label in range(3):  # no class is favoured
        assert withheld[labels == label].mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(model._told(labels, training=False), labels)


@pytest.mark.parametrize("sampler", [{}, dict(name="ddim", num_steps=5), dict(name="dpm_solver", num_steps=5)])
def test_every_sampler_follows_labels_and_guidance(sampler):
    model, labels = conditional_ddpm(prediction="noise").use_sampler(**sampler), np.array([0, 1, 2, 1])
    model.ema_network = network_of_classes(model, unconditional=0.5)
    draw = noise.standard_normal

    def sample(guidance):
        return np.asarray(
            model.sample(
                lambda step, shape: draw(0, np.arange(4), step, shape), ops.convert_to_tensor(labels), guidance
            )
        )

    np.testing.assert_allclose(sample(None), grey_images(labels), atol=1e-2)
    # Away from the grey of all images: what is darker gets darker; 0.5 stays.
    model.ema_network = network_of_classes(model, unconditional=0.75)
    np.testing.assert_allclose(sample(0.6)[1].mean(), 0.5 + 0.6 * (0.5 - 0.75), atol=1e-2)


def test_conditional_model_learns_its_classes():
    labels = np.arange(48) % 3
    model = conditional_ddpm(ema_decay=0.9)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(grey_images(labels), labels, batch_size=48, epochs=80, verbose=0)
    drawn = model.generate(6, labels=[0, 1, 2, 0, 1, 2], seed=0).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(drawn, [0, 0.5, 1, 0, 0.5, 1], atol=0.15)
    # Without a label all classes are mixed: guidance then has something to lead away from.
    assert np.abs(model.generate(3, labels=[0, 1, 2], guidance=2.0, seed=0) - drawn[:3, None, None, None]).max() > 1e-3


def test_guidance_of_zero_is_the_conditional_prediction_in_one_pass():
    model = randomised(conditional_ddpm())
    arguments = dict(labels=[0, 1, 2], seed=0)
    np.testing.assert_array_equal(model.generate(3, guidance=0, **arguments), model.generate(3, **arguments))
    assert np.abs(model.generate(3, guidance=1e-6, **arguments) - model.generate(3, **arguments)).max() < 1e-3
    assert np.abs(model.generate(3, guidance=2, **arguments) - model.generate(3, **arguments)).max() > 1e-2


def test_guidance_of_the_sampler_is_the_default_and_counts_twice():
    model = randomised(conditional_ddpm())
    expected = model.generate(3, labels=[0, 1, 2], guidance=2, seed=0)
    assert model.passes_per_image == 10
    model.use_sampler(guidance=2)
    assert model.passes_per_image == 20
    np.testing.assert_array_equal(model.generate(3, labels=[0, 1, 2], seed=0), expected)
    restored = DDPM.from_config(model.get_config())
    assert (restored.guidance, restored.passes_per_image, restored.num_classes) == (2, 20, 3)


@pytest.mark.parametrize("guidance", [-0.5, float("nan"), float("inf"), "strong", True])
def test_impossible_guidance_is_refused(guidance):
    with pytest.raises(ValueError, match=f"guidance is {guidance!r}; expected a number of at least 0"):
        conditional_ddpm().generate(1, labels=0, guidance=guidance)


@pytest.mark.parametrize("label_dropout", [-0.1, 1.0, float("nan")])
def test_impossible_share_of_withheld_labels_is_refused(label_dropout):
    with pytest.raises(ValueError, match=f"label_dropout is {label_dropout}; expected a share"):
        conditional_ddpm(label_dropout=label_dropout)


def test_guidance_without_classes_is_refused():
    with pytest.raises(ValueError, match="takes no guidance"):
        tiny_ddpm().use_sampler(guidance=1.0)
