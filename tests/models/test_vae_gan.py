import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from trilemma.models import dcgan
from trilemma.models.vae import VAE
from trilemma.models.vae_gan import VAEGAN, feature_nll, with_features

NETWORKS = ("encoder", "decoder", "discriminator")
VARIANCE = 2.5  # of the features


def tiny(**settings):
    """A small model whose discriminator learns from every batch."""
    settings = {"image_shape": (8, 8, 1), "latent_size": 3, "width": 4, "most_ahead": 1.1, "seed": 0, **settings}
    return VAEGAN(**settings)


def awake(model):
    """Weights under which every output depends on everything; untrained logits are nearly constant."""
    random = np.random.default_rng(2)
    for name in NETWORKS:
        for weight in getattr(model, name).weights:
            value = 0.3 * random.standard_normal(weight.shape)
            weight.assign(1 + np.abs(value) if weight.path.endswith(("gamma", "moving_variance")) else value)
    return model


def with_learning_rates(model, **rates):
    model.compile({f"{name}_loss": keras.optimizers.SGD(rates.get(name, 0.0)) for name in NETWORKS}, run_eagerly=True)
    return model


def some_images(count=6, seed=0):
    return np.random.default_rng(seed).random((count, 8, 8, 1), "float32")


def softplus(x):
    return np.log1p(np.exp(np.asarray(x, "float64")))


def copies(model):
    return {name: getattr(model, name).get_weights() for name in NETWORKS}


def steps(model, images):
    """What one step of gradient descent at the rate 1 subtracts from each network's trained weights."""
    before = {name: [w.numpy() for w in getattr(model, name).trainable_variables] for name in NETWORKS}
    with_learning_rates(model, encoder=1.0, decoder=1.0, discriminator=1.0)
    model.fit(images, batch_size=len(images), shuffle=False, verbose=0)
    return {
        name: [old - new.numpy() for old, new in zip(each, getattr(model, name).trainable_variables, strict=True)]
        for name, each in before.items()
    }


def terms_of_the_paper(model, images):
    """KL, reconstruction and the discriminator's logits, written down anew, from the same random numbers."""
    state = model.seed_generator.state.numpy()
    first, second = (keras.random.normal((len(images), model.latent_size), seed=model.seed_generator) for _ in range(2))
    model.seed_generator.state.assign(state)
    mean, log_variance = model.encoder(images, training=True)
    deviation = tf.exp(log_variance / 2)
    kl = tf.reduce_sum((mean**2 + deviation**2 - 1) / 2 - tf.math.log(deviation), axis=1)
    decoded = model.decoder(tf.concat([mean + deviation * first, second], 0), training=True)
    real, features = model.discriminator(2 * images - 1, training=True)
    generated, decoded_features = model.discriminator(decoded, training=True)
    distance = tf.reduce_sum((features - decoded_features[: len(images)]) ** 2, axis=(1, 2, 3)) / (2 * VARIANCE)
    lead = tf.concat([real, real], 0) - generated
    return tf.reduce_mean(kl), tf.reduce_mean(distance), tf.reduce_mean(tf.math.softplus(lead)), lead


def test_every_network_steps_along_its_line_of_algorithm_1():
    images, gamma = some_images(), 0.7
    model, expected = awake(tiny(gamma=gamma, feature_variance=VARIANCE)), {}
    with tf.GradientTape(persistent=True) as tape:
        kl, distance, adversarial, lead = terms_of_the_paper(model, tf.constant(images))
        lines = {
            "encoder": kl + distance,
            "decoder": gamma * distance + adversarial,
            "discriminator": tf.reduce_mean(tf.math.softplus(-lead)),
        }
    expected = {name: tape.gradient(loss, getattr(model, name).trainable_variables) for name, loss in lines.items()}
    for name, found in steps(awake(tiny(gamma=gamma, feature_variance=VARIANCE)), images).items():
        largest = max(float(np.abs(step).max()) for step in expected[name])
        assert largest > 1e-3
        for one, other in zip(found, expected[name], strict=True):
            np.testing.assert_allclose(one, other, atol=2e-4 * largest)


def gradients(model, images, loss, network):
    model.seed_generator.state.assign([5, 0])
    with tf.GradientTape() as tape:
        losses = model.compute_losses(tf.constant(images), None, training=True)
    return np.concatenate([np.ravel(each) for each in tape.gradient(losses[loss], network.trainable_variables)])


def as_players(model, images):
    """Each network's gradient of the loss that moves it."""
    return {networks[0].name: gradients(model, images, loss, networks[0]) for loss, networks in model.players().items()}


def test_reconstruction_moves_encoder_and_decoder_but_never_the_discriminator(monkeypatch):
    images, found = some_images(), []
    for scale in (1.0, 3.0):
        monkeypatch.setattr("trilemma.models.vae_gan.feature_nll", lambda *f, scale=scale: scale * feature_nll(*f))
        found.append(as_players(awake(tiny()), images))
    one, three = found
    np.testing.assert_array_equal(three["discriminator"], one["discriminator"])
    for name in ("encoder", "generator"):
        assert np.abs(three[name] - one[name]).max() > 1e-2 * np.abs(one[name]).max()


def test_judgement_moves_decoder_and_discriminator_but_never_the_encoder():
    images, found = some_images(), []
    for slope in (0.3, -2.0):
        model = awake(tiny())
        kernel = model.discriminator.layers[-2].kernel  # From features to the logit: no feature depends on it.
        kernel.assign(slope * np.random.default_rng(3).standard_normal(kernel.shape))
        found.append(as_players(model, images))
    one, other = found
    np.testing.assert_array_equal(other["encoder"], one["encoder"])
    for name in ("generator", "discriminator"):
        assert np.abs(other[name] - one[name]).max() > 1e-2 * np.abs(one[name]).max()


def test_draws_from_the_prior_count_for_decoder_and_discriminator_alone(monkeypatch):
    """Without batch normalisation, that is, through which all that is decoded in one batch meets."""
    images, found, normal = some_images(), [], keras.random.normal
    for spread in (1.0, 4.0):
        model, scales = tiny(), itertools.cycle([1.0, spread])  # of codes, of draws
        model.decoder = dcgan.build_generator((8, 8, 1), 3, 4, batch_normalization=False)
        model.discriminator = with_features(dcgan.build_discriminator((8, 8, 1), 4, batch_normalization=False))
        monkeypatch.setattr(
            keras.random, "normal", lambda shape, seed, scales=scales: normal(shape, seed=seed) * next(scales)
        )
        found.append(as_players(awake(model), images))
    one, other = found
    np.testing.assert_allclose(other["encoder"], one["encoder"], atol=1e-5 * np.abs(one["encoder"]).max())
    for name in ("generator", "discriminator"):
        assert np.abs(other[name] - one[name]).max() > 1e-2 * np.abs(one[name]).max()


def test_losses_of_hand_made_networks_are_in_closed_form(monkeypatch):
    """Codes, logits and features are single numbers here, so every loss can be written down."""
    model = tiny(latent_size=1, gamma=0.25, feature_variance=VARIANCE)
    levels = np.array([0.25, 1.0], "float32")
    images = levels[:, None, None, None] * np.ones((1, 8, 8, 1), "float32")
    noise = iter([np.array([[0.5], [-1.0]], "float32"), np.array([[2.0], [3.0]], "float32")])
    monkeypatch.setattr(keras.random, "normal", lambda shape, seed=None: next(noise))
    mean, log_variance = np.array([[1.0], [-2.0]]), np.log(np.array([[4.0], [0.25]]))
    model.encoder = lambda x, training: [ops.cast(mean, "float32"), ops.cast(log_variance, "float32")]
    model.decoder = lambda z, training: z[:, :, None, None] * ops.ones((1, 8, 8, 1)) / 8

    def discriminate(x, training):
        pixel = x[:, :1, :1, :]
        return 3 * pixel[:, 0, 0, :], ops.concatenate([pixel, 2 * pixel], axis=-1)

    model.discriminator = discriminate
    losses = model.compute_losses(images, None, training=True)
    real = np.array([-0.5, 1.0])  # in [-1, 1], as the discriminator takes them
    rebuilt = np.array([1.0 + 2.0 * 0.5, -2.0 + 0.5 * -1.0]) / 8
    drawn = np.array([2.0, 3.0]) / 8
    kl = np.mean([(1 + 4 - 1 - np.log(4)) / 2, (4 + 0.25 - 1 - np.log(0.25)) / 2])
    distance = np.mean((1 + 2**2) * (real - rebuilt) ** 2 / (2 * VARIANCE))
    lead = 3 * np.concatenate([real - rebuilt, real - drawn])
    expected = {
        "encoder_loss": kl + distance,
        "decoder_loss": 0.25 * distance + softplus(lead).mean(),
        "discriminator_loss": softplus(-lead).mean(),
        "kl_loss": kl,
        "reconstruction_loss": distance,
        "adversarial_loss": softplus(lead).mean(),
        "real_ahead": np.mean(lead > 0),
    }
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected, rel=1e-5)
    assert tuple(losses) == VAEGAN.loss_names


def test_feature_nll_is_that_of_a_normal_density_but_for_its_constant(random):
    features, decoded = random.standard_normal((2, 5, 2, 3, 4))
    density = np.exp(-((features - decoded) ** 2) / (2 * VARIANCE)) / np.sqrt(2 * np.pi * VARIANCE)
    expected = -np.log(density).sum(axis=(1, 2, 3)) - 24 * np.log(2 * np.pi * VARIANCE) / 2
    np.testing.assert_allclose(feature_nll(features, decoded, VARIANCE), expected, rtol=1e-5)


def test_feature_nll_of_half_precision_is_summed_in_float32(random):
    features = ops.cast(random.standard_normal((1, 7, 7, 128)) * 30, "float16")
    found = float(feature_nll(features, -features, 1.0)[0])
    assert found == pytest.approx(2 * np.square(np.asarray(features, "float64")).sum(), rel=1e-4)
    assert found > 65504  # the largest number in float16


def test_features_are_what_the_logit_is_linear_in(random):
    plain = dcgan.build_discriminator((8, 12, 3), 4)
    both = with_features(plain)
    images = random.random((5, 8, 12, 3), "float32")
    logits, features = (np.asarray(each) for each in both(images, training=False))
    assert features.shape == (5, 2, 3, 4)
    np.testing.assert_array_equal(logits, plain(images, training=False))
    kernel, bias = plain.layers[-2].get_weights()
    np.testing.assert_allclose(logits[:, 0], np.einsum("bhwc,hwc->b", features, kernel[..., 0]) + bias, rtol=1e-4)
    assert [id(w) for w in both.weights] == [id(w) for w in plain.weights]


def test_networks_are_those_of_the_dcgan_and_the_encoder_mirrors_its_discriminator():
    model, other = VAEGAN(), dcgan.DCGAN(latent_size=32)
    for own, theirs in ((model.decoder, other.generator), (model.discriminator, other.discriminator)):
        assert [type(layer) for layer in own.layers] == [type(layer) for layer in theirs.layers]
        assert [w.shape for w in own.weights] == [w.shape for w in theirs.weights]

    def convolutions(network):
        found = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)][:2]
        return [(layer.filters, layer.kernel_size, layer.strides, layer.padding) for layer in found]

    assert convolutions(model.encoder) == convolutions(model.discriminator)
    assert model.encoder.output_shape == [(None, 32), (None, 32)]
    assert not [layer for layer in model.encoder.layers if isinstance(layer, layers.BatchNormalization)]


@pytest.mark.parametrize("moving", NETWORKS)
def test_each_optimizer_moves_its_own_network_only(moving):
    model = with_learning_rates(awake(tiny()), **{moving: 0.1})
    before = {name: [w.numpy() for w in getattr(model, name).trainable_variables] for name in NETWORKS}
    model.fit(some_images(), verbose=0)
    for name, weights in before.items():
        now = getattr(model, name).trainable_variables
        changed = [not np.array_equal(old, new) for old, new in zip(weights, now, strict=True)]
        if name == "discriminator":
            changed.pop()  # The last bias cancels in every pair.
        assert (all if name == moving else any)(changed) == (name == moving)


def test_codes_and_draws_share_a_batch_and_images_have_their_own():
    model, seen = awake(tiny()), []
    for name in NETWORKS:
        network = getattr(model, name)
        setattr(
            model,
            name,
            lambda x, training, name=name, network=network: (
                seen.append((name, len(x), float(np.min(x)) < 0)) or network(x, training=training)
            ),
        )
    model.compute_losses(some_images(5), None, training=True)
    assert [(name, count) for name, count, _ in seen] == [
        ("encoder", 5), ("decoder", 10), ("discriminator", 5), ("discriminator", 10),
    ]  # fmt: skip
    # The encoder takes public images, the discriminator those in [-1, 1].
    assert [negative for name, _, negative in seen if name != "decoder"] == [False, True, True]


def test_reconstructions_and_draws_come_from_the_averaged_decoder(random):
    model, images = awake(tiny()), some_images(3)
    model.ema_decoder.set_weights([weight + 0.1 for weight in model.decoder.get_weights()])
    codes, _ = model.encoder(images, training=False)
    np.testing.assert_array_equal(model.encode(images), codes)
    expected = (np.asarray(model.ema_decoder(codes, training=False)) + 1) / 2
    for found in (model(images), model(images, training=True), model.decode(codes)):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    latents = random.standard_normal((3, 3)).astype("float32")
    drawn = (np.asarray(model.ema_decoder(latents, training=False)) + 1) / 2
    np.testing.assert_allclose(model.sample(lambda draw, shape: latents), drawn, atol=1e-6)


def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    models, images = [], some_images(8)
    for interrupted in (False, True):
        keras.utils.set_random_seed(0)
        model = tiny()
        model.compile(model.default_optimizers(1e-3, 8), run_eagerly=True)
        for _ in range(2):
            model.fit(images, batch_size=4, shuffle=False, verbose=0)
            if interrupted:
                model.save(tmp_path / "model.keras")
                model = keras.saving.load_model(tmp_path / "model.keras")
        models.append(model)
    assert [int(optimizer.iterations) for optimizer in models[1].optimizers.values()] == [4, 4, 4]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_what_ships_draws_and_reconstructs_without_the_discriminator():
    model, other = awake(tiny()), tiny(seed=5)
    model.ema_decoder.set_weights(model.decoder.get_weights())
    assert set(model.networks) == {"encoder", "decoder"}
    for name, networks in model.networks.items():
        for network in other.networks[name]:
            network.set_weights(networks[0].get_weights())
    np.testing.assert_allclose(other(some_images()), model(some_images()), atol=1e-6)
    np.testing.assert_array_equal(other.generate(2, seed=1), model.generate(2, seed=1))


def test_half_precision_keeps_a_scale_for_each_of_three_losses():
    model = tiny(dtype="mixed_float16")
    model.compile(model.default_optimizers(1e-3, 10), run_eagerly=True)
    before = copies(model)
    history = model.fit(some_images(32), batch_size=16, verbose=0).history
    assert np.all(np.isfinite(list(history.values())))
    assert [type(each) for each in model.optimizers.values()] == [keras.optimizers.LossScaleOptimizer] * 3
    # A step whose gradients overflow is skipped and halves the scale: here none was.
    assert [float(each.dynamic_scale) for each in model.optimizers.values()] == [2.0**15] * 3
    for name, weights in before.items():
        now = getattr(model, name).get_weights()
        assert np.all([np.all(np.isfinite(weight)) for weight in now])
        assert any(not np.array_equal(old, new) for old, new in zip(weights, now, strict=True))


def test_vae_of_the_same_decoder_is_the_baseline():
    baseline, hybrid = VAE(latent_size=32, architecture="dcgan"), VAEGAN()
    assert [w.shape for w in baseline.decoder.weights] == [w.shape for w in hybrid.decoder.weights]
    assert [w.shape for w in baseline.encoder.weights] == [w.shape for w in hybrid.encoder.weights]


@pytest.mark.slow
def test_learns_four_pictures():
    """Bars at four places: each rebuilt from its code, and all of them drawn from the prior.

    The discriminator learns slowly, since it could soon tell four pictures by heart.
    """
    pictures = np.zeros((4, 8, 8, 1), "float32")
    for place in range(4):
        pictures[place, :, 2 * place : 2 * place + 2] = 1.0
    model = tiny(width=8, gamma=1.0, feature_variance=1.0, ema_decay=0.9)
    rates = {"encoder_loss": 2e-3, "decoder_loss": 2e-3, "discriminator_loss": 1e-4}
    model.compile({name: keras.optimizers.Adam(rate, beta_1=0.5) for name, rate in rates.items()})
    model.fit(np.tile(pictures, (64, 1, 1, 1)), batch_size=32, epochs=60, verbose=0)

    def nearest(images):
        distances = np.abs(images[:, None] - pictures).mean(axis=(2, 3, 4))
        return distances.argmin(axis=1), distances.min(axis=1)

    which, distances = nearest(np.asarray(model(pictures)))
    assert which.tolist() == [0, 1, 2, 3]
    assert distances.max() < 0.15
    which, distances = nearest(model.generate(200, seed=0))
    assert np.bincount(which, minlength=4).min() > 20
    assert np.median(distances) < 0.2


@pytest.mark.parametrize(("most_ahead", "waits"), [(0.74, True), (0.75, True), (0.76, False)])
def test_a_batch_in_which_it_is_too_far_ahead_does_not_train_the_discriminator(most_ahead, waits):
    """Three of four pairs have the higher logit on their real image."""
    model = tiny(latent_size=1, most_ahead=most_ahead)
    model.encoder = lambda x, training: [ops.zeros((2, 1)), ops.zeros((2, 1))]
    model.decoder = lambda z, training: ops.concatenate([ops.zeros((3, 8, 8, 1)), ops.ones((1, 8, 8, 1))])
    model.discriminator = lambda x, training: (x[:, 0, 0, :], x)
    model.ema_decoder = model.decoder
    for training in (True, False):
        found = model.compute_losses(np.full((2, 8, 8, 1), 0.75, "float32"), None, training)
        assert float(found["real_ahead"]) == 0.75
        expected = 0.0 if training and waits else (3 * softplus(-0.5) + softplus(0.5)) / 4
        assert float(found["discriminator_loss"]) == pytest.approx(expected, rel=1e-5)
        assert float(found["adversarial_loss"]) == pytest.approx((3 * softplus(0.5) + softplus(-0.5)) / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("gamma", -0.1, "a number of at least 0"),
        ("feature_variance", 0, "a number above 0"),
        ("feature_variance", float("nan"), "a number above 0"),
        ("most_ahead", 0.0, "a share above 0; above 1 it always trains"),
        ("width", 2.5, "a whole number of at least 1"),
        ("latent_size", 0, "a whole number of at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(argument, value, expected):
    with pytest.raises(ValueError, match=f"{argument} is {value}; expected {expected}"):
        VAEGAN((8, 8, 1), **{argument: value})
