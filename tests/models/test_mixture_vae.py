import keras
import numpy as np
import pytest
from keras import ops

from trilemma.models.dcgan import DCGAN
from trilemma.models.mixture_vae import GaussianMixture, MixtureVAE, MixtureVAEGAN
from trilemma.models.vae import VAE
from trilemma.models.vae_gan import VAEGAN

SETTINGS = dict(image_shape=(8, 8, 1), latent_size=3, num_components=2, seed=0)


@pytest.fixture
def mixture(random):
    """Three Gaussians in the plane, with the shares, means and covariances that they were made from."""
    layer = GaussianMixture(3)
    layer.build((None, 2))
    shares, means = np.array([0.5, 0.2, 0.3]), random.standard_normal((3, 2))
    factors = random.standard_normal((3, 2, 2))
    layer.set_weights([np.log(shares) + 4.0, means, factors])  # A constant added to all logits changes no share.
    matrices = [np.array([[np.exp(each[0, 0]), 0], [each[1, 0], np.exp(each[1, 1])]]) for each in factors]
    return layer, shares, means, [np.linalg.inv(each @ each.T) for each in matrices]


def test_density_is_that_of_the_textbook(mixture, random):
    layer, shares, means, covariances = mixture
    points = random.standard_normal((7, 2))
    density = np.zeros(7)
    for share, mean, covariance in zip(shares, means, covariances, strict=True):
        for i, point in enumerate(points):
            exponent = -0.5 * (point - mean) @ np.linalg.solve(covariance, point - mean)
            density[i] += share * np.exp(exponent) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    np.testing.assert_allclose(layer(points.astype("float32")), np.log(density), rtol=1e-4, atol=1e-4)


def test_density_integrates_to_one(mixture):
    layer, _, _, _ = mixture
    side = np.linspace(-15, 15, 401)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
    assert np.exp(np.asarray(layer(grid), "float64")).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=0.02)


def test_draws_have_the_shares_means_and_covariances_of_the_mixture(mixture, random):
    layer, shares, means, covariances = mixture
    means = means + np.array([[0.0], [100.0], [200.0]])  # far apart, so that a draw tells its component
    layer.set_weights([layer.get_weights()[0], means, layer.get_weights()[2]])
    chance, noise = random.standard_normal((20_000, 1)), random.standard_normal((20_000, 2))
    drawn = np.asarray(layer.draw(chance.astype("float32"), noise.astype("float32")))
    component = np.clip(np.round(drawn.mean(axis=1) / 100), 0, 2).astype(int)
    np.testing.assert_allclose(np.bincount(component) / len(drawn), shares, atol=0.015)
    for k in range(3):
        of_k = drawn[component == k]
        deviations = np.sqrt(np.diag(covariances[k]))
        np.testing.assert_allclose((of_k.mean(axis=0) - means[k]) / deviations, 0, atol=0.08)
        np.testing.assert_allclose(
            np.cov(of_k, rowvar=False) / np.outer(deviations, deviations),
            covariances[k] / np.outer(deviations, deviations), atol=0.08,
        )  # fmt: skip


def test_extreme_chances_choose_the_first_and_the_last_component(mixture):
    layer, _, means, _ = mixture
    drawn = layer.draw(np.array([[-9.0], [9.0]], "float32"), np.zeros((2, 2), "float32"))
    np.testing.assert_allclose(drawn, means[[0, 2]], rtol=1e-5)


def test_a_mixture_of_one_standard_normal_gives_the_bound_of_the_vae(random):
    images = random.random((5, 8, 8, 1), "float32")
    vae = VAE((8, 8, 1), latent_size=3, seed=0)
    model = MixtureVAE(**{**SETTINGS, "num_components": 1}).learn_from(vae)
    model.mixture.set_weights([np.zeros(1), np.zeros((1, 3)), np.zeros((1, 3, 3))])
    latents = random.standard_normal((5, 3)).astype("float32")
    np.testing.assert_allclose(model.log_prior(latents), vae.log_prior(latents), rtol=1e-5)
    bounds = [each.log_likelihood(images, seed=1, num_samples=4) for each in (vae, model)]
    np.testing.assert_allclose(*bounds, rtol=1e-5)


def test_losses_are_the_bound_with_the_mixture_as_the_prior(random):
    model, images = MixtureVAE(**SETTINGS), np.ones((4, 8, 8, 1), "float32")
    mean, log_variance = random.standard_normal((2, 4, 3)).astype("float32")
    model.encoder = lambda images, training: (mean, log_variance)
    noise = random.standard_normal((4, 3)).astype("float32")
    model.sample_latents = lambda mean, log_variance: mean + ops.exp(0.5 * log_variance) * noise
    losses = {name: float(value) for name, value in model.compute_losses(images, None, training=True).items()}
    latents = mean + np.exp(0.5 * log_variance) * noise
    log_posterior = -0.5 * np.sum(log_variance + noise**2 + np.log(2 * np.pi), axis=1)
    logits = np.asarray(model.decoder(latents))
    assert losses["kl_loss"] == pytest.approx(np.mean(log_posterior - np.asarray(model.prior(latents))), rel=1e-4)
    # All pixels are on, so each costs -log sigmoid(logit).
    assert losses["reconstruction_loss"] == pytest.approx(np.log1p(np.exp(-logits)).sum() / 4, rel=1e-4)
    assert losses["loss"] == pytest.approx(losses["kl_loss"] + losses["reconstruction_loss"], rel=1e-5)


def test_training_moves_the_prior_alone_and_towards_the_codes(random):
    vae, images = VAE((8, 8, 1), latent_size=3, seed=0), random.random((32, 8, 8, 1), "float32")
    model = MixtureVAE(**SETTINGS).learn_from(vae)
    model.compile(keras.optimizers.Adam(0.05))
    before = [network.get_weights() for network in (model.encoder, model.decoder, model.prior)]
    losses = model.fit(images, batch_size=32, epochs=20, verbose=0).history["kl_loss"]
    for network, old in zip((model.encoder, model.decoder), before, strict=False):
        for weight, known in zip(network.get_weights(), old, strict=True):
            np.testing.assert_array_equal(weight, known)
    assert all(not np.array_equal(*pair) for pair in zip(model.prior.get_weights(), before[2], strict=True))
    assert losses[-1] < losses[0] - 1


def test_images_are_decoded_from_draws_of_the_mixture(random):
    model = MixtureVAE(**SETTINGS)
    model.mixture.set_weights([weight + 0.3 for weight in model.mixture.get_weights()])
    noise = {0: random.standard_normal((6, 3)).astype("float32"), 1: random.standard_normal((6, 1)).astype("float32")}
    drawn = model.sample(lambda draw, shape: noise[draw])
    decoded = 1 / (1 + np.exp(-np.asarray(model.decoder(model.mixture.draw(noise[1], noise[0])))))
    np.testing.assert_allclose(drawn, decoded, atol=1e-6)


def test_loss_of_the_vae_gan_is_the_divergence_of_its_codes_from_the_mixture(random):
    model = MixtureVAEGAN(**{**SETTINGS, "num_components": 1}, width=8)
    model.encoder.set_weights([weight * 5 for weight in model.encoder.get_weights()])
    centre = np.array([0.5, -1.0, 0.0])
    model.mixture.set_weights([np.zeros(1), centre[None], np.zeros((1, 3, 3))])  # N(centre, I): a closed form.
    images = np.repeat(random.random((2, 8, 8, 1), "float32"), 5000, axis=0)
    (loss,) = model.compute_losses(images, None, training=True).values()
    mean, log_variance = (np.asarray(each[::5000], "float64") for each in model.encoder(images))
    divergence = 0.5 * np.sum((mean - centre) ** 2 + np.exp(log_variance) - 1 - log_variance, axis=1)
    assert np.ptp(log_variance) > 0.1 and float(loss) == pytest.approx(divergence.mean(), abs=0.05)


def test_the_vae_gan_gets_a_prior_nearer_to_its_codes_and_nothing_else_moves(random):
    teacher, images = VAEGAN((8, 8, 1), latent_size=3, width=8, seed=0), random.random((64, 8, 8, 1), "float32")
    teacher.ema_decoder.set_weights([weight + 0.01 for weight in teacher.ema_decoder.get_weights()])
    model = MixtureVAEGAN(**SETTINGS, width=8).learn_from(teacher)
    model.compile(keras.optimizers.Adam(0.05))
    before = {name: [each.get_weights() for each in networks] for name, networks in model.networks.items()}
    losses = model.fit(images, batch_size=64, epochs=20, verbose=0).history["loss"]
    for name in ("encoder", "decoder"):
        for weight, known in zip(model.networks[name][0].get_weights(), before[name][0], strict=True):
            np.testing.assert_array_equal(weight, known)
    assert losses[-1] < losses[0] - 0.3
    np.testing.assert_array_equal(model(images), teacher(images))  # Rebuilt by the averaged decoder of the teacher.


def test_the_vae_gan_decodes_draws_of_the_mixture_with_the_averaged_decoder(random):
    model = MixtureVAEGAN(**SETTINGS, width=8)
    model.ema_decoder.set_weights([weight + 0.01 for weight in model.ema_decoder.get_weights()])
    model.mixture.set_weights([weight + 0.3 for weight in model.mixture.get_weights()])
    noise = {0: random.standard_normal((6, 3)).astype("float32"), 1: random.standard_normal((6, 1)).astype("float32")}
    decoded = model.ema_decoder(model.mixture.draw(noise[1], noise[0]), training=False)
    np.testing.assert_allclose(model.sample(lambda draw, shape: noise[draw]), (decoded + 1) / 2, atol=1e-6)
    assert list(model.networks) == ["encoder", "decoder", "prior"] and model.averages() == ()


@pytest.mark.parametrize("teacher", [VAEGAN((8, 8, 1), latent_size=3), VAE((8, 8, 1), latent_size=3)])
def test_a_vae_gan_learns_from_a_vae_gan_of_its_width(teacher):
    with pytest.raises(ValueError, match=f"the teacher is a {type(teacher).__name__} .*expected a VAEGAN with .*: 8}}"):
        MixtureVAEGAN(**SETTINGS, width=8).learn_from(teacher)


@pytest.mark.parametrize(
    ("teacher", "named"),
    [
        (lambda: VAE((8, 8, 1), latent_size=2), "VAE with .*'latent_size': 2.*expected a VAE with .*'latent_size': 3"),
        (lambda: VAE((12, 8, 1), latent_size=3), r"VAE with .*\(12, 8, 1\).*expected a VAE with .*\(8, 8, 1\)"),
        (
            lambda: VAE((8, 8, 1), latent_size=3, architecture="dcgan"),
            "VAE with .*'dcgan'.*expected a VAE with .*'plain'",
        ),
        (lambda: MixtureVAE(**SETTINGS), "MixtureVAE with .*expected a VAE"),
        (lambda: DCGAN((8, 8, 1), latent_size=3), "DCGAN with .*expected a VAE"),
        (lambda: None, "NoneType; expected a VAE"),
    ],
)
def test_other_teachers_are_refused(teacher, named):
    with pytest.raises(ValueError, match=f"the teacher is a {named}"):
        MixtureVAE(**SETTINGS).learn_from(teacher())


def test_no_components_are_refused():
    with pytest.raises(ValueError, match="num_components is 0; expected a whole number"):
        MixtureVAE(**{**SETTINGS, "num_components": 0})
