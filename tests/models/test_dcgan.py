import math

import keras
import numpy as np
import pytest
from keras import layers

from trilemma.models.dcgan import DCGAN, build_discriminator, build_generator


def tiny_dcgan(**settings):
    defaults = {"image_shape": (8, 8, 1), "latent_size": 4, "generator_width": 8, "discriminator_width": 8, "seed": 0}
    return DCGAN(**{**defaults, **settings})


def with_learning_rates(model, generator_rate, discriminator_rate):
    model.compile(
        {
            "generator_loss": keras.optimizers.SGD(generator_rate),
            "discriminator_loss": keras.optimizers.SGD(discriminator_rate),
        }
    )
    return model


CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose)


def layers_of(network, kind):
    return [layer for layer in network.layers if isinstance(layer, kind)]


def moved(weights_before, variables):
    return [not np.array_equal(old, new.numpy()) for old, new in zip(weights_before, variables, strict=True)]


@pytest.mark.parametrize("network", [build_generator((28, 28, 1), 100), build_discriminator((28, 28, 1))])
def test_architecture_follows_radford_et_al(network):
    assert not layers_of(network, layers.Dense)
    assert not layers_of(network, layers.MaxPooling2D)
    assert layers_of(network, layers.BatchNormalization)
    assert len(layers_of(network, CONVOLUTIONS)) == 3
    for convolution in layers_of(network, CONVOLUTIONS):
        assert convolution.kernel_initializer.stddev == 0.02


def test_without_batch_normalisation_convolutions_have_biases(random):
    model = tiny_dcgan(batch_normalization=False)
    for network in (model.generator, model.discriminator):
        assert not layers_of(network, layers.BatchNormalization)
        assert all(convolution.use_bias for convolution in layers_of(network, CONVOLUTIONS))
    # No statistics of a batch: what the networks make of an image does not depend on the others.
    latents = random.standard_normal((3, 4)).astype("float32")
    alone = model.generator(latents[:1], training=True)
    np.testing.assert_allclose(model.generator(latents, training=True)[:1], alone, atol=1e-6)


def test_generator_rectifies_without_a_cap():
    rectifiers = layers_of(build_generator((28, 28, 1), 100), layers.ReLU)
    assert len(rectifiers) == 2
    assert all(layer.max_value is None and layer.negative_slope == 0 for layer in rectifiers)


def test_hidden_activations_of_the_generator_exceed_the_cap_of_the_article(random):
    generator = build_generator((8, 8, 1), 4, width=8)
    rectified = [layer.output for layer in layers_of(generator, layers.ReLU)]
    activations = keras.Model(generator.input, rectified)(random.standard_normal((32, 4)), training=True)
    for values in activations:
        assert np.max(values) > 1
        assert np.mean(np.asarray(values) > 0.2) > 0.2


def test_discriminator_leaks_a_fifth_of_negative_values():
    rectifiers = layers_of(build_discriminator((28, 28, 1)), layers.LeakyReLU)
    assert len(rectifiers) == 2
    for layer in rectifiers:
        np.testing.assert_allclose(layer(np.array([-1.0, -10.0, 3.0])), [-0.2, -2, 3], rtol=1e-6)


def test_discriminator_does_not_normalise_its_first_convolution():
    kinds = [type(layer) for layer in build_discriminator((28, 28, 1)).layers]
    assert kinds[:3] == [layers.InputLayer, layers.Conv2D, layers.LeakyReLU]


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (8, 12, 3)])
def test_networks_fit_together(image_shape, random):
    generator, discriminator = build_generator(image_shape, 5, 8), build_discriminator(image_shape, 8)
    images = generator(random.standard_normal((2, 5)))
    assert images.shape == (2, *image_shape)
    assert np.max(np.abs(images)) <= 1
    assert discriminator(images).shape == (2, 1)


def test_generator_of_logits_is_the_one_of_images_before_its_tanh(random):
    of_images, of_logits = (build_generator((8, 12, 3), 5, 8, activation=activation) for activation in ("tanh", None))
    of_logits.set_weights([0.5 * random.standard_normal(weight.shape) ** 2 for weight in of_images.get_weights()])
    of_images.set_weights(of_logits.get_weights())
    latents = random.standard_normal((4, 5)).astype("float32")
    logits = np.asarray(of_logits(latents))
    assert np.abs(logits).max() > 1
    np.testing.assert_allclose(of_images(latents), np.tanh(logits), atol=1e-5)


@pytest.mark.parametrize("generator_rate, discriminator_rate", [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
def test_each_optimizer_moves_its_own_network_only(generator_rate, discriminator_rate, random):
    model = with_learning_rates(tiny_dcgan(), generator_rate, discriminator_rate)
    generator_before = [variable.numpy() for variable in model.generator.trainable_variables]
    discriminator_before = [variable.numpy() for variable in model.discriminator.trainable_variables]
    model.fit(random.random((8, 8, 8, 1), "float32"), batch_size=4, epochs=1, verbose=0)
    generator_moved = moved(generator_before, model.generator.trainable_variables)
    discriminator_moved = moved(discriminator_before, model.discriminator.trainable_variables)
    # A weight that could not move would show in `all`, one that should rest in `any`.
    assert (all if generator_rate else any)(generator_moved) == bool(generator_rate)
    assert (all if discriminator_rate else any)(discriminator_moved) == bool(discriminator_rate)


def test_both_batch_normalisations_learn_their_statistics(random):
    model = with_learning_rates(tiny_dcgan(), 0.1, 0.1)
    before = [variable.numpy() for variable in model.generator.non_trainable_variables]
    before += [variable.numpy() for variable in model.discriminator.non_trainable_variables]
    model.fit(random.random((4, 8, 8, 1), "float32"), verbose=0)
    assert all(moved(before, model.generator.non_trainable_variables + model.discriminator.non_trainable_variables))


def test_gradient_descends_each_networks_own_loss(random):
    images = random.random((32, 8, 8, 1), "float32")
    for rates, name in [((0.05, 0.0), "generator_loss"), ((0.0, 0.05), "discriminator_loss")]:
        model = with_learning_rates(tiny_dcgan(), *rates)
        losses = model.fit(images, epochs=15, verbose=0).history[name]
        assert losses[-1] < losses[0]


def test_losses_are_binary_cross_entropies(random):
    model, images = tiny_dcgan(), random.random((6, 8, 8, 1), "float32")
    real_logits = random.normal(0, 2, (6, 1)).astype("float32")
    generated_logits = random.normal(0, 2, (6, 1)).astype("float32")

    def discriminate(images, training):
        # Real images come rescaled to [-1, 1]; no generated image has the value of the first real pixel.
        return real_logits if np.isclose(images[0, 0, 0, 0], 2 * first_pixel - 1, atol=1e-6) else generated_logits

    first_pixel, model.discriminator = images[0, 0, 0, 0], discriminate
    losses = {name: float(value) for name, value in model.compute_losses(images, None, training=True).items()}

    def cross_entropy(logits, is_real):
        probabilities = [1 / (1 + math.exp(-float(logit))) for logit in logits.ravel()]
        return -sum(math.log(p if is_real else 1 - p) for p in probabilities) / len(probabilities)

    expected = {
        "real_loss": cross_entropy(real_logits, True),
        "generated_loss": cross_entropy(generated_logits, False),
        "generator_loss": cross_entropy(generated_logits, True),
        "discriminator_loss": cross_entropy(real_logits, True) + cross_entropy(generated_logits, False),
        "real_called_real": sum(logit > 0 for logit in real_logits.ravel()) / 6,
        "generated_called_real": sum(logit > 0 for logit in generated_logits.ravel()) / 6,
    }
    assert losses == pytest.approx(expected, rel=1e-5)


def test_undecided_discriminator_has_the_losses_of_a_coin(random):
    model = with_learning_rates(tiny_dcgan(), 0.1, 0.1)
    last = layers_of(model.discriminator, layers.Conv2D)[-1]
    last.set_weights([0 * weight for weight in last.get_weights()])
    reported = model.evaluate(random.random((8, 8, 8, 1), "float32"), batch_size=4, verbose=0, return_dict=True)
    assert reported["generator_loss"] == pytest.approx(math.log(2), rel=1e-5)
    assert reported["discriminator_loss"] == pytest.approx(2 * math.log(2), rel=1e-5)


def test_reported_losses_add_up_and_are_means_over_batches(random):
    model = with_learning_rates(tiny_dcgan(), 0.1, 0.1)
    history = model.fit(random.random((16, 8, 8, 1), "float32"), batch_size=4, epochs=2, verbose=0).history
    np.testing.assert_allclose(
        history["discriminator_loss"], np.add(history["real_loss"], history["generated_loss"]), rtol=1e-5
    )


def test_call_rescales_to_the_public_range(random):
    model, latents = tiny_dcgan(), random.standard_normal((3, 4)).astype("float32")
    np.testing.assert_allclose(model(latents), (np.asarray(model.generator(latents)) + 1) / 2, atol=1e-6)


def test_saved_model_goes_on_with_both_optimizers(tmp_path, random):
    images = random.random((8, 8, 8, 1), "float32")
    model = tiny_dcgan()
    model.compile(model.default_optimizers(1e-3, 10))
    model.fit(images, batch_size=4, verbose=0)
    model.save(tmp_path / "dcgan.keras")
    loaded = keras.saving.load_model(tmp_path / "dcgan.keras")
    assert list(loaded.optimizers) == ["generator_loss", "discriminator_loss"]
    for name, optimizer in model.optimizers.items():
        restored = loaded.optimizers[name]
        assert int(restored.iterations) == 2
        for variable, value in zip(optimizer.variables, restored.variables, strict=True):
            np.testing.assert_allclose(value, variable, atol=1e-7)


def test_half_precision_scales_both_losses_also_after_a_reload(tmp_path, random):
    keras.mixed_precision.set_global_policy("mixed_float16")
    images = random.random((4, 8, 8, 1), "float32")
    model = tiny_dcgan()
    model.compile(model.default_optimizers(1e-3, 10))
    model.fit(images, verbose=0)
    model.save(tmp_path / "dcgan.keras")
    loaded = keras.saving.load_model(tmp_path / "dcgan.keras")
    loaded.fit(images, verbose=0)
    for optimizer in loaded.optimizers.values():
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        assert not isinstance(optimizer.inner_optimizer, keras.optimizers.LossScaleOptimizer)


def test_average_follows_the_generator_and_draws_when_asked(random):
    model = tiny_dcgan(ema_decay=0.5, averaged=True)
    assert model.networks["generator"] == (model.ema_generator, model.generator)
    assert tiny_dcgan(ema_decay=0.5).networks["generator"][0].name == "generator"
    assert ((model.ema_generator, model.generator),) == model.averages()
    raw, average = ([weight + shift for weight in model.generator.get_weights()] for shift in (0.3, 0.1))
    model.generator.set_weights(raw)
    model.ema_generator.set_weights(average)
    latents = random.standard_normal((3, 4)).astype("float32")
    of_average, of_raw = (np.asarray(network(latents) + 1) / 2 for network in (model.ema_generator, model.generator))
    drawn = np.asarray(model.sample(lambda draw, shape: latents))
    np.testing.assert_allclose(drawn, of_average, atol=1e-6)
    assert np.abs(of_average - of_raw).max() > 1e-3
    plain = tiny_dcgan(ema_decay=0.5)
    plain.generator.set_weights(raw)
    np.testing.assert_allclose(plain.sample(lambda draw, shape: latents), of_raw, atol=1e-6)


def test_training_moves_the_average_too_with_its_moving_statistics(random):
    model = with_learning_rates(tiny_dcgan(ema_decay=0.9), 0.1, 0.1)
    before = model.ema_generator.get_weights()
    model.fit(random.random((8, 8, 8, 1), "float32"), batch_size=4, verbose=0)
    for old, new in zip(before, model.ema_generator.get_weights(), strict=True):
        assert not np.array_equal(old, new)
    assert not model.ema_generator.trainable_variables


def test_without_a_decay_there_is_no_average():
    model = tiny_dcgan()
    assert model.averages() == () and set(model.networks) == {"generator", "discriminator"}
    with pytest.raises(ValueError, match="averaged is True, but ema_decay is None; give a decay"):
        tiny_dcgan(averaged=True)
