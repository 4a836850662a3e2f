import itertools
import math

import keras
import numpy as np
import pytest

from trilemma.models import dcgan
from trilemma.models.mixture_vae import MixtureVAE
from trilemma.models.vae import VAE, bernoulli_nll, build_decoder, build_encoder, kl_divergence

STANDARD_NORMAL = (0.0, 0.0)


def tiny_vae(**settings):
    return VAE(**{"image_shape": (8, 8, 1), "latent_size": 3, "seed": 0, **settings})


def log_normal(x, mean, log_variance):
    return -0.5 * (np.log(2 * np.pi) + log_variance + (x - mean) ** 2 / np.exp(log_variance))


def integrated_kl(mean, log_variance):
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in one dimension, by numerical integration."""
    grid, step = np.linspace(-30, 30, 200_001, retstep=True)
    log_q, log_p = log_normal(grid, mean, log_variance), log_normal(grid, 0.0, 0.0)
    return np.sum(np.exp(log_q) * (log_q - log_p)) * step


@pytest.mark.parametrize("latent_size", [1, 2, 5, 100])
def test_kl_is_the_integral_summed_over_dimensions(latent_size, random):
    mean, log_variance = random.uniform(-2, 2, (2, 3, latent_size))
    expected = [
        sum(integrated_kl(*parameters) for parameters in zip(*row, strict=True))
        for row in zip(mean, log_variance, strict=True)
    ]
    np.testing.assert_allclose(kl_divergence(mean, log_variance), expected, rtol=1e-4)


def test_kl_agrees_with_monte_carlo(random):
    mean, log_variance = np.array([0.5, -1.0, 2.0]), np.array([-1.0, 0.3, 0.8])
    samples = mean + np.exp(log_variance / 2) * random.standard_normal((200_000, 3))
    ratios = (log_normal(samples, mean, log_variance) - log_normal(samples, 0.0, 0.0)).sum(axis=1)
    error = 4 * ratios.std() / math.sqrt(len(ratios))
    assert float(kl_divergence(mean[None], log_variance[None])[0]) == pytest.approx(ratios.mean(), abs=error)


def test_repeating_a_dimension_adds_its_kl_again():
    once, four_times = (float(kl_divergence(np.full((1, n), 0.7), np.full((1, n), -0.5))[0]) for n in (1, 4))
    assert four_times == pytest.approx(4 * once, rel=1e-5)


@pytest.mark.parametrize("mean, log_variance", list(itertools.product([-1.0, 0.0, 0.1], [-0.2, 0.0, 1.0])))
def test_kl_vanishes_at_the_prior_only(mean, log_variance):
    kl = float(kl_divergence(np.array([[mean]]), np.array([[log_variance]]))[0])
    if (mean, log_variance) == STANDARD_NORMAL:
        assert kl == 0
    else:
        assert kl > 1e-3


def test_bernoulli_nll_is_the_product_of_the_pixel_probabilities(random):
    images = random.integers(0, 2, (3, 4, 4, 2)).astype("float32")
    logits = random.normal(0, 3, images.shape).astype("float32")
    expected = []
    for image, image_logits in zip(images, logits, strict=True):
        nll = 0.0
        for pixel, logit in zip(image.ravel(), image_logits.ravel().astype(float), strict=True):
            probability = 1 / (1 + math.exp(-logit))
            nll -= math.log(probability if pixel == 1 else 1 - probability)
        expected.append(nll)
    np.testing.assert_allclose(bernoulli_nll(images, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("pixel, logit, expected", [(1, 200, 0), (0, -200, 0), (0, 200, 200), (1, -200, 200)])
def test_bernoulli_nll_of_large_logits_stays_finite(pixel, logit, expected):
    image, logits = np.full((1, 1, 1, 1), pixel, "float32"), np.full((1, 1, 1, 1), logit, "float32")
    assert float(bernoulli_nll(image, logits)[0]) == pytest.approx(expected)


def test_binarised_pixels_are_on_as_often_as_they_are_bright():
    grey = np.tile(np.linspace(0, 1, 5, dtype="float32").reshape(1, 5, 1, 1), (20_000, 1, 1, 1))
    binary = np.asarray(tiny_vae().binarise(grey))
    assert set(np.unique(binary)) == {0.0, 1.0}
    np.testing.assert_allclose(binary.mean(axis=(0, 2, 3)), grey[0, :, 0, 0], atol=0.02)
    assert (binary[:, 0].max(), binary[:, -1].min()) == (0, 1)


def test_latents_have_the_moments_of_the_posterior():
    mean, log_variance = np.full((50_000, 1), 1.5, "float32"), np.full((50_000, 1), -1.0, "float32")
    latents = np.asarray(tiny_vae().sample_latents(mean, log_variance))
    assert latents.mean() == pytest.approx(1.5, abs=0.02)
    assert latents.var() == pytest.approx(math.exp(-1), rel=0.03)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_reconstruction_plus_beta_times_kl(beta):
    images = np.full((4, 8, 8, 1), 0.5, "float32")
    losses = {name: float(value) for name, value in tiny_vae(beta=beta).compute_losses(images, None, True).items()}
    assert losses["loss"] == pytest.approx(losses["reconstruction_loss"] + beta * losses["kl_loss"], rel=1e-6)
    assert losses["kl_loss"] > 0


@pytest.mark.parametrize("latent_size", [2, 20])
def test_reported_kl_is_the_mean_over_images_of_the_sum_over_latents(latent_size, random):
    model, images = tiny_vae(latent_size=latent_size), random.integers(0, 2, (4, 8, 8, 1)).astype("float32")
    mean, log_variance = (np.asarray(value) for value in model.encoder(images))
    integrals = np.vectorize(integrated_kl)(mean, log_variance)
    kl_loss = float(model.compute_losses(images, None, training=False)["kl_loss"])
    assert kl_loss == pytest.approx(integrals.sum() / 4, rel=1e-3)


@pytest.fixture
def integrated(random):
    """A VAE with one latent, an image, log p(x) and KL(q(z | x) || p(z | x)) from integrals over a grid of latents."""
    model = tiny_vae(latent_size=1)
    model.decoder.set_weights([4 * weight for weight in model.decoder.get_weights()])
    # An untrained encoder's q is almost the prior: log p(z) - log q(z | x) would be 0, right or wrong.
    for name, bias in [("mean", 1.0), ("log_variance", -1.0)]:
        layer = model.encoder.get_layer(name)
        layer.set_weights([layer.get_weights()[0], np.array([bias], "float32")])
    image = random.integers(0, 2, (1, 8, 8, 1)).astype("float32")
    grid, step = np.linspace(-10, 10, 4001, retstep=True)
    logits = np.asarray(model.decoder(grid[:, None].astype("float32"))).astype(float)
    log_likelihood = -np.sum(np.log1p(np.exp(np.where(image == 1, -logits, logits))), axis=(1, 2, 3))
    log_joint = log_likelihood + log_normal(grid, 0.0, 0.0)
    log_evidence = np.log(np.sum(np.exp(log_joint)) * step)
    log_q = log_normal(grid, *(float(np.asarray(value)[0, 0]) for value in model.encoder(image)))
    return model, image, log_evidence, np.sum(np.exp(log_q) * (log_q - (log_joint - log_evidence))) * step


def test_loss_is_the_negative_evidence_lower_bound(integrated):
    model, image, log_evidence, gap = integrated
    images = np.repeat(image, 1000, axis=0)
    losses = [float(model.compute_losses(images, None, training=False)["loss"]) for _ in range(20)]
    assert gap > 0
    assert np.mean(losses) == pytest.approx(-(log_evidence - gap), abs=4 * np.std(losses) / math.sqrt(20))


def test_importance_weighted_bound_rises_from_the_evidence_lower_bound_to_the_evidence(integrated):
    model, image, log_evidence, gap = integrated
    bounds = {
        k: model.log_likelihood(np.repeat(image, count, axis=0), num_samples=k)
        for k, count in [(1, 4000), (5, 4000), (500, 100)]
    }
    error = 4 * float(bounds[1].std()) / math.sqrt(4000)
    assert error < 0.1 * gap
    assert bounds[1].mean() == pytest.approx(log_evidence - gap, abs=error)
    assert bounds[1].mean() + error < bounds[5].mean() < log_evidence
    assert bounds[500].mean() == pytest.approx(log_evidence, abs=0.05 * gap)


def test_importance_weighted_bound_keeps_images_apart():
    model, images = tiny_vae(), np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]).astype("float32")
    kernel, bias = model.decoder.layers[-1].get_weights()
    model.decoder.layers[-1].set_weights([kernel, bias + 1])  # White pixels are likelier.
    together = model.log_likelihood(images, num_samples=2000)
    alone = [float(model.log_likelihood(images[i : i + 1], num_samples=2000)[0]) for i in range(2)]
    np.testing.assert_allclose(together, alone, atol=0.5)
    assert alone[1] - alone[0] > 10


def test_bound_takes_100_draws_unless_told_otherwise():
    model, images = tiny_vae(), np.ones((2, 8, 8, 1), "float32")
    default, other = model.log_likelihood(images), model.log_likelihood(images, num_samples=50)
    np.testing.assert_array_equal(model.log_likelihood(images, num_samples=100), default)
    assert not np.array_equal(other, default)
    for count in (0, 1.5):
        with pytest.raises(ValueError, match=f"num_samples is {count}; expected a whole number of at least 1"):
            model.log_likelihood(images, num_samples=count)


def test_gradient_step_lowers_the_loss():
    model = tiny_vae()
    model.compile(keras.optimizers.Adam(1e-2))
    images = np.repeat(np.eye(8, dtype="float32")[None, :, :, None], 8, axis=0)
    losses = model.fit(images, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_generated_images_are_probabilities_of_decoded_prior_samples():
    model = tiny_vae()
    model.decoder.layers[-1].set_weights([0 * weight for weight in model.decoder.layers[-1].get_weights()])
    np.testing.assert_allclose(model.generate(3, seed=0), 0.5)


def test_call_decodes_the_mean(random):
    model, images = tiny_vae(), random.random((2, 8, 8, 1), "float32")
    logits = np.asarray(model.decoder(model.encoder(images)[0]))
    np.testing.assert_allclose(model(images), 1 / (1 + np.exp(-logits)), atol=1e-6)
    np.testing.assert_array_equal(model(images), model(images))


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (8, 12, 3)])
def test_networks_fit_together(image_shape):
    encoder, decoder = build_encoder(image_shape, 5), build_decoder(image_shape, 5)
    assert [output.shape for output in encoder.outputs] == [(None, 5), (None, 5)]
    assert decoder.output_shape == (None, *image_shape)


def tiny_with_decoder_of_the_dcgan():
    return tiny_vae(architecture="dcgan")


def test_decoder_of_the_dcgan_is_its_generator_without_tanh(random):
    model = tiny_with_decoder_of_the_dcgan()
    generator = dcgan.build_generator((8, 8, 1), 3)
    assert [type(layer) for layer in model.decoder.layers] == [type(layer) for layer in generator.layers]
    generator.set_weights([0.1 * random.standard_normal(weight.shape) ** 2 for weight in generator.get_weights()])
    model.decoder.set_weights(generator.get_weights())
    latents = random.standard_normal((2, 3)).astype("float32")
    expected = 1 / (1 + np.exp(-np.arctanh(np.asarray(generator(latents), "float64"))))
    np.testing.assert_allclose(model.sample(lambda draw, shape: latents), expected, atol=1e-3)


def test_encoder_beside_it_mirrors_the_discriminator_and_codes_each_image_by_itself(random):
    encoder = tiny_with_decoder_of_the_dcgan().encoder
    images = random.random((3, 8, 8, 1), "float32")
    for together, alone in zip(encoder(images, training=True), encoder(images[:1], training=True), strict=True):
        assert together.shape == (3, 3)
        np.testing.assert_allclose(together[:1], alone, atol=1e-6)
    kernels = [weight.shape for weight in dcgan.build_discriminator((8, 8, 1)).weights if len(weight.shape) == 4]
    assert [weight.shape for weight in encoder.weights if len(weight.shape) == 4] == kernels[:2]


def test_vae_with_the_decoder_of_the_dcgan_trains_is_saved_and_loaded(tmp_path, random):
    images, model = random.random((32, 8, 8, 1), "float32") ** 4, tiny_with_decoder_of_the_dcgan()
    model.compile(model.default_optimizers(3e-3, 20), run_eagerly=True)
    before = model.decoder.non_trainable_variables[0].numpy()
    losses = model.fit(images, batch_size=8, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert not np.array_equal(model.decoder.non_trainable_variables[0], before)  # moving statistics
    model.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.get_config()["architecture"] == "dcgan"
    np.testing.assert_allclose(loaded.generate(2, seed=0), model.generate(2, seed=0), atol=1e-6)


def test_unknown_architecture_is_named():
    with pytest.raises(ValueError, match='unknown architecture \'unet\'; expected "plain" or "dcgan"'):
        tiny_vae(architecture="unet")


def test_encoder_and_decoder_are_told_the_label_of_their_image(random):
    model, images = tiny_vae(num_classes=3), random.random((6, 8, 8, 1), "float32")
    for network in (model.encoder, model.decoder):
        network.set_weights([0.3 * random.standard_normal(weight.shape) for weight in network.weights])
    labels = np.array([0, 1, 2, 0, 1, 2])
    means, logits = (
        np.asarray(network([np.repeat(x[:1], 6, axis=0), labels]))
        for network, x in (
            (keras.Model(model.encoder.inputs, model.encoder.outputs[0]), images),
            (model.decoder, random.standard_normal((1, 3)).astype("float32")),
        )
    )
    for told in (means, logits):
        np.testing.assert_allclose(told[:3], told[3:], atol=1e-5)
        assert min(np.abs(told[i] - told[j]).max() for i, j in ((0, 1), (1, 2), (0, 2))) > 1e-2
    reconstructed = model([images, labels])
    mean = np.asarray(model.encoder([images, labels])[0])
    expected = 1 / (1 + np.exp(-np.asarray(model.decoder([mean, labels]))))
    np.testing.assert_allclose(reconstructed, expected, atol=1e-5)


def test_conditional_vae_learns_the_picture_of_each_class():
    labels = np.arange(90) % 3
    images = (labels / 2)[:, None, None, None] * np.ones((1, 8, 8, 1))
    model = tiny_vae(num_classes=3)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(images, labels, batch_size=90, epochs=120, verbose=0)
    drawn = model.generate(6, labels=[2, 0, 1, 1, 0, 2], seed=0).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(drawn, [1, 0, 0.5, 0.5, 0, 1], atol=0.1)
    right, wrong = (model.evaluate(images, each, verbose=0)[0] for each in (labels, (labels + 1) % 3))
    assert right < wrong - 5


def test_labels_are_for_the_plain_networks_and_the_standard_prior():
    with pytest.raises(ValueError, match='num_classes is 3; the architecture "dcgan" takes no labels'):
        tiny_vae(num_classes=3, architecture="dcgan")
    with pytest.raises(ValueError, match="num_classes is 3; a fitted prior has no classes"):
        MixtureVAE((8, 8, 1), num_classes=3)
    with pytest.raises(ValueError, match="the teacher is a VAE with.*'num_classes': 3"):
        MixtureVAE((8, 8, 1), latent_size=3).learn_from(tiny_vae(num_classes=3))
    with pytest.raises(ValueError, match="has no likelihood"):
        tiny_vae(num_classes=3).log_likelihood(np.zeros((1, 8, 8, 1)))
