import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from trilemma.models.adversarial import RELATIVISTIC_LOSS_NAMES, gradient_penalty, relativistic_losses
from trilemma.models.gan import GAN, build_discriminator, build_generator, residual_block

SMALL = dict(generator_widths=(4, 8), discriminator_widths=(8, 4), num_blocks=1, latent_size=3, seed=0)


def tiny_gan(**settings):
    model = GAN(**{"image_shape": (8, 8, 1), **SMALL, **settings})
    model.compile(model.default_optimizers(1e-3, 100))
    return model


def nats(probability):
    return -np.log(probability)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, "float64")))


def test_losses_of_pairs_are_those_of_the_paper():
    real, generated = np.array([[2.0], [-1.0], [0.5]]), np.array([[1.0], [3.0], [0.5]])
    losses = relativistic_losses(ops.convert_to_tensor(real), ops.convert_to_tensor(generated), penalty=0.25)
    lead = np.array([1.0, -4.0, 0.0])  # pair by pair, in the order of the batch
    expected = {
        "generator_loss": nats(sigmoid(-lead)).mean(),
        "pairing_loss": nats(sigmoid(lead)).mean(),
        "discriminator_loss": nats(sigmoid(lead)).mean() + 0.25,
        "penalty": 0.25,
        "real_ahead": 1 / 3,
    }
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected, rel=1e-5)
    assert tuple(losses) == RELATIVISTIC_LOSS_NAMES


def test_a_constant_added_to_all_logits_changes_nothing(random):
    real, generated = random.standard_normal((2, 5, 1)).astype("float32")
    plain, shifted = (relativistic_losses(real + shift, generated + shift) for shift in (0.0, 7.0))
    assert {k: float(v) for k, v in plain.items()} == pytest.approx({k: float(v) for k, v in shifted.items()}, abs=1e-5)


def test_gradient_penalty_of_a_quadratic_is_in_closed_form(random):
    slope = random.standard_normal((1, 4, 4, 2)).astype("float32")
    images = random.standard_normal((3, 4, 4, 2)).astype("float32")
    # The gradient of sum(a x^2) is 2 a x.
    penalty = gradient_penalty(lambda x: ops.sum(slope * x * x, axis=(1, 2, 3))[:, None], ops.convert_to_tensor(images))
    assert float(penalty) == pytest.approx(np.mean(np.sum((2 * slope * images) ** 2, axis=(1, 2, 3))), rel=1e-5)


def test_penalty_is_half_gamma_times_r1_and_r2(random):
    images = random.random((6, 8, 8, 1), "float32")
    for weight in (0.5, 3.0):
        model = tiny_gan(penalty_weight=weight)
        # D(x) = sum(a x^2) has larger gradients on real images, 1, than on generated ones, 0.5.
        model.discriminator = lambda x, training: ops.sum(x * x, axis=(1, 2, 3))[:, None]
        model.generator = lambda latents, training: ops.full((6, 8, 8, 1), 0.5)
        losses = model.compute_losses(ops.ones_like(images), None, training=True)
        r1, r2 = 64 * (2 * 1.0) ** 2, 64 * (2 * 0.5) ** 2
        assert float(losses["penalty"]) == pytest.approx(weight / 2 * (r1 + r2), rel=1e-5)
        assert float(model.compute_losses(ops.ones_like(images), None, training=False)["penalty"]) == 0


def test_penalty_moves_the_discriminator_alone(random):
    images, gradients = random.random((4, 8, 8, 1), "float32"), {}
    for weight in (0.0, 100.0):
        keras.utils.set_random_seed(0)
        model = tiny_gan(penalty_weight=weight)
        with tf.GradientTape(persistent=True) as tape:
            losses = model.compute_losses(images, None, training=True)
        gradients[weight] = [
            np.abs(tape.gradient(losses[name], variables)[0]).sum()
            for name, variables in model.trained_variables().items()
        ]
    assert gradients[0.0][0] == pytest.approx(gradients[100.0][0], rel=1e-5)
    assert abs(gradients[0.0][1] - gradients[100.0][1]) > 1e-3


def test_generated_images_stand_beside_real_ones_on_one_scale():
    model, seen = tiny_gan(), []

    def discriminate(images, training):
        seen.append(np.asarray(images))
        return ops.zeros((len(images), 1))

    model.discriminator = discriminate
    model.ema_generator = lambda latents, training: ops.full((2, 8, 8, 1), 0.6)
    model.compute_losses(np.full((2, 8, 8, 1), 0.25, "float32"), None, training=False)
    assert [images.mean() for images in seen] == pytest.approx([-0.5, 0.6])


def test_training_draws_with_the_generator_evaluation_and_sampling_with_its_average(random):
    model, images = tiny_gan(), random.random((2, 8, 8, 1), "float32")
    calls = []
    for name in ("generator", "ema_generator"):
        network = getattr(model, name)
        setattr(model, name, lambda z, training, name=name, network=network: calls.append(name) or network(z))
    for training in (True, False):
        model.compute_losses(images, None, training=training)
    model.sample(lambda draw, shape: np.zeros((2, *shape), "float32"))
    assert calls == ["generator", "ema_generator", "ema_generator"]


def test_new_residual_block_is_the_identity_of_its_shortcut(random):
    inputs = keras.Input((4, 4, 8))
    block = keras.Model(inputs, residual_block(inputs, 8))
    x = random.standard_normal((2, 4, 4, 8)).astype("float32")
    np.testing.assert_array_equal(block(x), x)
    # The first kernel trains only once the second has left zero; both are there.
    assert [weight.shape for weight in block.trainable_weights] == [(3, 3, 8, 8), (8,)] * 2


def test_networks_have_the_layers_of_the_paper():
    generator = build_generator((28, 28, 1), 64, (64, 128, 128), 2)
    discriminator = build_discriminator((28, 28, 1), (64, 128, 128), 2)
    for network in (generator, discriminator):
        names = {type(layer).__name__ for layer in network.layers}
        assert not any("Norm" in name or "Dropout" in name for name in names)
        slopes = [layer.negative_slope for layer in network.layers if isinstance(layer, keras.layers.LeakyReLU)]
        assert slopes == [pytest.approx(0.2)] * 13
        sides = [layer.output.shape[1] for layer in network.layers if isinstance(layer, keras.layers.Add)]
        widths = [layer.output.shape[-1] for layer in network.layers if isinstance(layer, keras.layers.Add)]
        assert dict(zip(sides, widths, strict=True)) == {28: 64, 14: 128, 7: 128}
        assert len(sides) == 6
    # 3.0 M together, the size at which the loss was tried.
    assert generator.count_params() + discriminator.count_params() == pytest.approx(3.1e6, rel=0.05)


def test_pixels_are_repeated_on_the_way_up_and_averaged_on_the_way_down():
    generator, discriminator = build_generator((8, 8, 1), 3, (4, 8), 1), build_discriminator((8, 8, 1), (4, 8), 1)
    (up,) = [layer for layer in generator.layers if isinstance(layer, keras.layers.UpSampling2D)]
    assert (up.interpolation, up.size) == ("nearest", (2, 2))
    assert [type(layer).__name__ for layer in discriminator.layers if "Pooling" in type(layer).__name__] == [
        "AveragePooling2D"
    ]


def test_networks_of_the_dcgan_are_without_batch_normalisation():
    model = GAN((8, 8, 3), architecture="dcgan", latent_size=5, seed=0)
    names = [type(layer).__name__ for layer in model.generator.layers + model.discriminator.layers]
    assert "BatchNormalization" not in names
    assert "Conv2DTranspose" in names
    assert model.generator.input_shape == (None, 5)


def test_optimizers_are_those_of_the_paper():
    optimizers = tiny_gan().default_optimizers(2e-4, 50)
    assert optimizers.keys() == {"generator_loss", "discriminator_loss"}
    for optimizer in optimizers.values():
        assert (optimizer.beta_1, optimizer.beta_2) == (0.0, 0.99)
        rates = [float(optimizer._learning_rate(step)) for step in (0, 25, 50)]
        assert rates == pytest.approx([2e-4, 1e-4, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "stylegan"}, '\'stylegan\'; expected "residual" or "dcgan"'),
        ({"image_shape": (6, 8, 1), "generator_widths": (4, 8, 8)}, "6x8 pixels do not fit.*divisible by 4"),
        ({"image_shape": (6, 6, 1), "discriminator_widths": (4, 8, 8)}, "6x6 pixels do not fit.*divisible by 4"),
        ({"image_shape": (6, 8, 1), "architecture": "dcgan"}, "6x8 pixels do not fit"),
        ({"latent_size": 0}, "latent_size is 0"),
        ({"num_classes": 3, "architecture": "dcgan"}, 'num_classes is 3; the architecture "dcgan" takes no labels'),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        GAN(**{"image_shape": (8, 8, 1), **SMALL, **settings})


@pytest.mark.slow
def test_learns_a_distribution_of_two_pictures():
    """The toy that a generator which collapses fails: half of the images are dark, half are bright."""
    images = np.repeat(np.array([0.1, 0.9], "float32"), 128)[:, None, None, None] * np.ones((1, 8, 8, 1), "float32")
    model = GAN((8, 8, 1), **{**SMALL, "ema_decay": 0.9})
    model.compile(model.default_optimizers(2e-3, 480))
    model.fit(images, batch_size=32, epochs=60, verbose=0)
    levels = model.generate(200, seed=0).mean(axis=(1, 2, 3))
    bright = levels > 0.5
    assert 0.3 < bright.mean() < 0.7
    assert levels[bright].mean() == pytest.approx(0.9, abs=0.1)
    assert levels[~bright].mean() == pytest.approx(0.1, abs=0.1)


def test_logit_is_that_of_the_image_and_a_projection_on_its_class(random):
    """Miyato & Koyama 2018: what the class adds is linear in the features of the image."""
    network = build_discriminator((8, 8, 1), (4, 8), 1, num_classes=3)
    images = random.random((2, 8, 8, 1), "float32")
    zeros = [np.asarray(network([images, np.full(2, label)])) for label in range(3)]
    np.testing.assert_array_equal(zeros[0], zeros[2])  # at the start no class is known
    (table,) = [weight for weight in network.weights if weight.shape == (3, 4 * 4 * 8)]
    table.assign(random.standard_normal(table.shape))
    (flat,) = [layer.output for layer in network.layers if isinstance(layer, keras.layers.Flatten)]
    features = np.asarray(keras.Model(network.inputs[0], flat)(images))
    for label in range(3):
        expected = zeros[0][:, 0] + features @ np.asarray(table)[label]
        np.testing.assert_allclose(network([images, np.full(2, label)])[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_both_networks_and_the_penalty_are_told_the_labels_of_their_images(random):
    model, images = tiny_gan(num_classes=3), random.random((3, 8, 8, 1), "float32")
    labels, told = np.array([2, 0, 1]), []

    def generator(inputs, training):
        told.append(("generator", np.asarray(inputs[1]).tolist()))
        return ops.zeros((3, 8, 8, 1))

    def discriminator(inputs, training):
        told.append(("discriminator", np.asarray(inputs[1]).tolist()))
        return ops.sum(inputs[0], axis=(1, 2, 3))[:, None]

    model.generator = model.ema_generator = generator
    model.discriminator = discriminator
    model.compute_losses(images, labels, training=True)
    expected = [("generator", [2, 0, 1]), ("discriminator", [2, 0, 1] * 2), *[("discriminator", [2, 0, 1])] * 2]
    assert told == expected
    told.clear()
    model.sample(lambda draw, shape: np.zeros((3, *shape), "float32"), ops.convert_to_tensor(labels))
    assert told == [("generator", [2, 0, 1])]


@pytest.mark.slow
def test_learns_which_picture_belongs_to_which_label():
    labels = np.arange(256) % 2
    images = np.where(labels == 1, 0.9, 0.1)[:, None, None, None] * np.ones((1, 8, 8, 1))
    model = GAN((8, 8, 1), **{**SMALL, "ema_decay": 0.9, "num_classes": 2})
    model.compile(model.default_optimizers(2e-3, 480))
    model.fit(images.astype("float32"), labels, batch_size=32, epochs=60, verbose=0)
    levels = model.generate(40, labels=np.arange(40) % 2, seed=0).mean(axis=(1, 2, 3))
    assert levels[::2] == pytest.approx(0.1, abs=0.15)
    assert levels[1::2] == pytest.approx(0.9, abs=0.15)
