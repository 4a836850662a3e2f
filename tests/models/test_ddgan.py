import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trilemma.models.ddgan import DDGAN, MinibatchDeviation, build_discriminator

SETTINGS = {"image_shape": (8, 8, 1), "latent_size": 4, "widths": (8,), "discriminator_width": 8, "seed": 0}


def noise_of(num_images):
    """What `sample` calls `draw_noise`."""
    return lambda draw, shape: np.random.default_rng(int(draw)).standard_normal((num_images, *shape)).astype("float32")


def tiny_ddgan(run_eagerly=False, **settings):
    model = DDGAN(**{**SETTINGS, **settings})
    model.compile(model.default_optimizers(1e-3, 100), run_eagerly=run_eagerly)
    return model


def recording(model, judge=lambda images: keras.ops.zeros((len(images), 1))):
    """Replaces the discriminator by a judge of x_{t-1} alone; returns the list of its inputs."""
    seen = []

    def discriminate(inputs, training):
        seen.append(inputs)
        return judge(inputs[0])

    model.discriminator = discriminate
    return seen


def constant_generator(value, seen):
    """Draws x_0 = value everywhere, whatever it is given, and adds that to `seen`."""

    def generate(inputs, training):
        seen.append([np.asarray(values) for values in inputs])
        return keras.ops.full_like(inputs[0], value)

    return generate


@pytest.mark.parametrize("num_timesteps", [1, 4])
def test_real_and_generated_pairs_have_the_moments_of_the_process(num_timesteps):
    model = tiny_ddgan(image_shape=(40, 40, 1), num_timesteps=num_timesteps)
    seen, given = recording(model), []
    model.ema_generator = constant_generator(0.6, given)
    # Public images of 0.8 are 0.6 on the scale from -1 to 1, and so is what the generator draws.
    model.compute_losses(np.full((64, 40, 40, 1), 0.8, "float32"), None, training=False)
    betas = model.schedule.betas
    ((noisy_images, timesteps, latents),) = given
    np.testing.assert_array_equal(noisy_images, seen[1][1])
    np.testing.assert_array_equal(timesteps, seen[1][2])
    assert (latents.mean(), latents.std()) == pytest.approx((0, 1), abs=0.2)
    assert len(np.unique(latents)) == latents.size
    for images, noisy_images, timesteps in seen:
        images, noisy_images, timesteps = (np.asarray(values) for values in (images, noisy_images, timesteps))
        assert set(timesteps) == set(range(1, num_timesteps + 1))
        for t in range(1, num_timesteps + 1):
            before, after = (values[timesteps == t].astype("float64") for values in (images, noisy_images))
            alpha_bar = np.prod(1 - betas[:t])
            assert before.mean() == pytest.approx(0.6 * np.sqrt(alpha_bar), abs=0.03)
            assert after.mean() == pytest.approx(0.6 * np.sqrt(alpha_bar * (1 - betas[t])), abs=0.03)
            assert before.var() == pytest.approx(1 - alpha_bar, abs=0.03)
            assert after.var() == pytest.approx(1 - alpha_bar * (1 - betas[t]), abs=0.03)
            covariance = np.mean((before - before.mean()) * (after - after.mean()))
            assert covariance == pytest.approx(np.sqrt(1 - betas[t]) * (1 - alpha_bar), abs=0.03)


def test_penalty_of_a_linear_discriminator_is_its_squared_slope(random):
    model = tiny_ddgan(r1_weight=0.5, r1_interval=4)
    slope = random.standard_normal((1, 8, 8, 1)).astype("float32")
    images = random.random((4, 8, 8, 1), "float32")
    seen = recording(model, lambda images: keras.ops.sum(slope * images, axis=(1, 2))[:, 0, None])
    penalties = []
    for step in range(9):
        seen.clear()
        model.optimizers["discriminator_loss"].iterations.assign(step)
        losses = model.compute_losses(images, None, training=True)
        if step % 4 == 0:  # the third call is the penalty's, on real pairs
            for once, again in zip(seen[0], seen[2], strict=True):
                np.testing.assert_array_equal(once, again)
        penalties.append(float(losses["discriminator_loss"] - losses["real_loss"] - losses["generated_loss"]))
    due = 4 * 0.5 / 2 * np.sum(slope**2)
    assert penalties == pytest.approx([due, 0, 0, 0, due, 0, 0, 0, due], rel=1e-4, abs=1e-4)


def test_penalty_changes_the_gradient_of_the_discriminator(random):
    images = random.random((4, 8, 8, 1), "float32")
    gradients = []
    for weight in (0.0, 100.0):
        model = tiny_ddgan(r1_weight=weight)
        with tf.GradientTape() as tape:
            loss = model.compute_losses(images, None, training=True)["discriminator_loss"]
        gradients.append(tape.gradient(loss, model.discriminator.trainable_variables)[0])
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 1])
def test_compiled_gradient_is_that_of_single_operations(step, random):
    model, images = tiny_ddgan(), random.random((4, 8, 8, 1), "float32")

    def gradients():
        with tf.GradientTape() as tape:
            loss = model.compute_losses(images, None, training=True)["discriminator_loss"]
        return tape.gradient(loss, model.discriminator.trainable_variables)

    results = []
    for compute in (gradients, tf.function(gradients)):
        model.optimizers["discriminator_loss"].iterations.assign(step)
        model.seed_generator.state.assign([1, 0])
        results.append(compute())
    for gradient, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, gradient, atol=1e-5)


def test_evaluation_is_without_penalty(random):
    model = tiny_ddgan(r1_weight=1e6)
    losses = model.compute_losses(random.random((4, 8, 8, 1), "float32"), None, training=False)
    assert float(losses["discriminator_loss"]) == pytest.approx(float(losses["real_loss"] + losses["generated_loss"]))


def test_discriminator_sees_both_images_and_the_timestep(random):
    network = build_discriminator((8, 8, 1), 8)
    images, noisy = (random.standard_normal((2, 8, 8, 1)).astype("float32") for _ in range(2))
    logits = np.asarray(network([images, noisy, np.array([1, 2])]))
    assert logits.shape == (2, 1)
    changed = [
        network([images + np.array([1, 0]).reshape(2, 1, 1, 1), noisy, np.array([1, 2])]),
        network([images, noisy + np.array([1, 0]).reshape(2, 1, 1, 1), np.array([1, 2])]),
        network([images, noisy, np.array([4, 2])]),
    ]
    for others in changed:
        assert abs(np.asarray(others)[0, 0] - logits[0, 0]) > 1e-5
        assert np.asarray(others)[1, 0] == pytest.approx(logits[1, 0], abs=1e-6)


def test_discriminator_leaks_a_fifth_of_negative_values():
    rectifiers = [layer for layer in build_discriminator((8, 8, 1), 8).layers if isinstance(layer, layers.LeakyReLU)]
    assert len(rectifiers) == 4
    for layer in rectifiers:
        np.testing.assert_allclose(layer(np.array([-1.0, -10.0, 3.0])), [-0.2, -2, 3], rtol=1e-6)


@pytest.mark.parametrize("place", range(4))
def test_every_convolution_of_the_discriminator_sees_the_timestep(place, random):
    network = build_discriminator((8, 8, 1), 8)
    projections = [each for each in network.layers if isinstance(each, layers.Dense) and each.kernel.shape[0] == 16]
    assert len(projections) == 4
    for other in projections[:place] + projections[place + 1 :]:
        other.set_weights([0 * weight for weight in other.get_weights()])
    images, noisy = random.standard_normal((2, 1, 8, 8, 1)).astype("float32")
    first, second = (float(network([images, noisy, np.array([t])])[0, 0]) for t in (1, 4))
    assert abs(first - second) > 1e-5


def test_discriminator_that_sees_batches_tells_repeated_images_from_different_ones(random):
    network = build_discriminator((8, 8, 1), 8, minibatch_deviation=True)
    images = random.standard_normal((4, 8, 8, 1)).astype("float32")
    noisy, timesteps = np.repeat(images[:1], 4, axis=0), np.full(4, 2)
    different, repeated = (np.asarray(network([x, noisy, timesteps])) for x in (images, noisy))
    assert abs(different[0] - repeated[0]) > 1e-4


def test_minibatch_deviation_is_that_of_numpy(random):
    feature_maps = random.standard_normal((5, 3, 4, 2)).astype("float32")
    output = np.asarray(MinibatchDeviation()(feature_maps))
    np.testing.assert_array_equal(output[..., :2], feature_maps)
    deviations = [np.std([image[:, :, channel].mean() for image in feature_maps]) for channel in range(2)]
    np.testing.assert_allclose(output[..., 2:], np.broadcast_to(deviations, (5, 3, 4, 2)), rtol=1e-5)


def test_timesteps_of_training_come_as_often_as_they_are_listed():
    model = tiny_ddgan(training_timesteps=(1, 3, 3, 3))
    seen = recording(model)
    model.compute_losses(np.zeros((1000, 8, 8, 1), "float32"), None, training=False)
    counts = np.bincount(np.asarray(seen[0][2]), minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert counts[1] == pytest.approx(250, abs=5 * np.sqrt(1000 * 0.25 * 0.75))


def test_unknown_timesteps_of_training_are_refused():
    with pytest.raises(ValueError, match=r"training_timesteps are \(0, 1\); expected some of 1 \.\.\. 4"):
        tiny_ddgan(training_timesteps=(0, 1))


def test_latents_decide_what_is_drawn(random):
    model = tiny_ddgan()
    network = model.ema_generator
    network.set_weights([0.2 * random.standard_normal(weight.shape) for weight in network.get_weights()])
    noisy = np.repeat(random.standard_normal((1, 8, 8, 1)).astype("float32"), 2, axis=0)
    latents = random.standard_normal((2, 4)).astype("float32")
    first, second = np.asarray(model([noisy, np.array([3, 3]), latents]))
    assert np.abs(first - second).max() > 1e-3


def test_without_latents_the_noise_of_the_process_still_varies_the_images(random):
    model = tiny_ddgan(latent_size=0)
    network = model.ema_generator
    network.set_weights([0.2 * random.standard_normal(weight.shape) for weight in network.get_weights()])
    first, second = model.generate(2, seed=0)
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("num_timesteps", [1, 3])
def test_sampling_follows_the_process_down_to_what_the_generator_draws(num_timesteps):
    model, given = tiny_ddgan(image_shape=(40, 40, 1), num_timesteps=num_timesteps), []
    model.ema_generator = constant_generator(0.6, given)
    np.testing.assert_allclose(model.sample(noise_of(8)), 0.8, atol=1e-6)
    assert [timesteps.tolist() for _, timesteps, _ in given] == [[t] * 8 for t in range(num_timesteps, 0, -1)]
    for t, (noisy_images, _, _) in zip(range(num_timesteps, 0, -1), given, strict=True):
        alpha_bar = np.prod(1 - model.schedule.betas[: t + 1])
        assert noisy_images.mean() == pytest.approx(0.6 * np.sqrt(alpha_bar), abs=0.03)
        assert noisy_images.var() == pytest.approx(1 - alpha_bar, abs=0.03)
    assert len({latents[0, 0] for _, _, latents in given}) == num_timesteps


def test_noise_and_latents_of_all_steps_are_draws_of_their_own():
    model, drawn = tiny_ddgan(num_timesteps=3), []
    model.ema_generator = constant_generator(0.6, [])

    def draw_noise(draw, shape):
        drawn.append(int(draw))
        return noise_of(2)(draw, shape)

    model.sample(draw_noise)
    assert len(set(drawn)) == len(drawn) == 1 + 2 * 3


def test_average_follows_the_generator(random):
    model = tiny_ddgan(run_eagerly=True)
    before = model.ema_generator.get_weights()
    model.fit(random.random((8, 8, 8, 1), "float32"), batch_size=4, verbose=0)
    moved = [np.abs(new - old).max() for old, new in zip(before, model.ema_generator.get_weights(), strict=True)]
    assert max(moved) > 0
    assert any(
        np.abs(slow - fast).max() > 0
        for slow, fast in zip(model.ema_generator.get_weights(), model.generator.get_weights(), strict=True)
    )
