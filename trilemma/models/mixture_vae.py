"""Autoencoders whose prior is fitted to their codes afterwards (Ghosh et al. 2020)."""

import keras
from keras import layers, ops

from trilemma.data import whole_number
from trilemma.models.vae import VAE, bernoulli_nll, log_normal, sample_gaussian
from trilemma.models.vae_gan import VAEGAN
from trilemma.noise import uniform_of


@keras.saving.register_keras_serializable("trilemma")
class GaussianMixture(layers.Layer):
    """The density of a mixture of Gaussians, each with a mean and a full covariance of its own.

    A component holds a lower triangular matrix A with a positive diagonal, and maps its points z to standard normal
    noise, (z - mean) A, so that its covariance is the inverse of A A^T.

    Args:
        num_components: Gaussians in the mixture.

    Call: latents (batch, size) -> log densities (batch,), float32, nats.
    """

    def __init__(self, num_components, **kwargs):
        # Densities in half precision would not tell neighbours apart.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_components = num_components

    def build(self, input_shape):
        size = input_shape[-1]
        self.logits = self.add_weight((self.num_components,), "zeros", name="logits")
        # Codes of a trained encoder are spread about as far as the standard normal prior.
        spread = keras.initializers.RandomNormal(stddev=1.0)
        self.means = self.add_weight((self.num_components, size), spread, name="means")
        # Below the diagonal A, on it the logarithm of A.
        self.factors = self.add_weight((self.num_components, size, size), "zeros", name="factors")

    def _matrices(self):
        log_diagonals = ops.diagonal(self.factors, axis1=1, axis2=2)
        identity = ops.eye(self.factors.shape[-1])
        return ops.tril(self.factors, -1) + identity * ops.exp(log_diagonals)[:, None], log_diagonals

    def call(self, latents):
        matrices, log_diagonals = self._matrices()
        noise = ops.einsum("bkd,kde->bke", latents[:, None] - self.means, matrices)
        log_densities = log_normal(noise, 0.0, 0.0) + ops.sum(log_diagonals, axis=-1)
        return ops.logsumexp(log_densities + ops.log_softmax(self.logits), axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[:1]

    def draw(self, chance, noise):
        """Draws from the mixture.

        Args:
            chance: standard normal, (batch, 1): chooses the component.
            noise: standard normal, (batch, size): the place within it.

        Returns:
            latents (batch, size).
        """
        cumulative = ops.cumsum(ops.softmax(self.logits))
        chosen = ops.sum(ops.cast(uniform_of(chance) > cumulative[:-1], "int32"), axis=-1)
        upper = ops.transpose(ops.take(self._matrices()[0], chosen, axis=0), (0, 2, 1))
        return ops.take(self.means, chosen, axis=0) + ops.solve_triangular(upper, noise[..., None])[..., 0]

    def get_config(self):
        return {**super().get_config(), "num_components": self.num_components}


class FittedPrior:
    """What draws from where the codes of a trained encoder are, instead of from the standard normal prior.

    The codes q(z | x) of all images together do not fill the prior evenly (Hoffman & Johnson 2016), and what is decoded
    from a gap is often no image. Ghosh et al. 2020 ("From variational to deterministic autoencoders", section 4) fit a
    mixture of Gaussians to the codes after the training. Here that is a training of its own: the divergence of the
    codes from the prior, as in the bound on the likelihood, with the mixture as the prior, which alone is trained.

    A class that has this beside the class of its teacher calls `add_prior`, and draws with `mixture`.
    """

    networks_of_teacher = ("encoder", "decoder")
    teacher_settings = ()  # What the teacher and the model must have in common.

    def add_prior(self, num_components):
        """Adds the mixture, of `num_components` Gaussians, to the networks of the model."""
        if self.config.get("num_classes") is not None:
            raise ValueError(
                f"num_classes is {self.config['num_classes']}; a fitted prior has no classes. Leave it out."
            )
        self.config["num_components"] = whole_number("num_components", num_components)
        with self.precision():
            latents = layers.Input((self.latent_size,), name="latents")
            self.mixture = GaussianMixture(num_components, name="mixture")
            self.prior = keras.Model(latents, self.mixture(latents), name="prior")
        self.networks = {**self.networks, "prior": (self.prior,)}

    def learn_from(self, teacher):
        """Takes over encoder and decoder of a trained model, which the training leaves as they are.

        Returns:
            The model itself.

        Raises:
            ValueError: the teacher is of another class, or has other sides, latents or networks.
        """
        (expected,) = (each for each in type(self).__bases__ if each is not FittedPrior)
        wanted = {key: self.config[key] for key in self.teacher_settings}
        found = {key: getattr(teacher, "config", {}).get(key) for key in wanted}
        if type(teacher) is not expected or found != wanted:
            settings = f" with {found}" if hasattr(teacher, "config") else ""
            raise ValueError(
                f"the teacher is a {type(teacher).__name__}{settings}; expected a {expected.__name__} with {wanted}."
            )
        for name in self.networks_of_teacher:
            self.networks[name][0].set_weights(teacher.networks[name][0].get_weights())
        return self

    def players(self):
        return {"loss": (self.prior,)}

    def log_prior(self, latents, training=False):
        """log p(z) of latents (batch, latent_size): (batch,), nats."""
        return self.prior(latents, training=training)

    def divergence(self, latents, mean, log_variance, training):
        """KL(q(z | x) || p(z)), which has no closed form, estimated from one draw `latents` of each q: (batch,)."""
        return log_normal(latents, mean, log_variance) - self.log_prior(latents, training)

    def draw_latents(self, draw_noise):
        """Draws from the mixture; `draw_noise` as in `sample`."""
        return self.mixture.draw(draw_noise(1, (1,)), draw_noise(0, (self.latent_size,)))


@keras.saving.register_keras_serializable("trilemma")
class MixtureVAE(FittedPrior, VAE):
    """A trained VAE that draws from a mixture fitted to its codes, which is the prior of its bound on the likelihood.

    Args:
        image_shape, latent_size, beta, seed: as in `VAE`.
        num_components: Gaussians in the mixture.
    """

    teacher_settings = ("image_shape", "latent_size", "architecture", "num_classes")

    def __init__(self, image_shape=(28, 28, 1), latent_size=2, num_components=100, beta=1.0, seed=None, **kwargs):
        super().__init__(image_shape, latent_size, beta, seed=seed, **kwargs)
        self.add_prior(num_components)

    def compute_losses(self, images, labels, training):
        """As of the VAE, with the mixture as the prior."""
        binary_images = self.binarise(images)
        mean, log_variance = self.encoder(binary_images, training=False)
        latents = self.sample_latents(mean, log_variance)
        reconstruction_loss = ops.mean(bernoulli_nll(binary_images, self.decoder(latents, training=False)))
        kl_loss = ops.mean(self.divergence(latents, mean, log_variance, training))
        return {
            "loss": reconstruction_loss + self.beta * kl_loss,
            "reconstruction_loss": reconstruction_loss,
            "kl_loss": kl_loss,
        }

    def sample(self, draw_noise, labels=None, guidance=None):
        return ops.sigmoid(self.decoder(self.draw_latents(draw_noise), training=False))


@keras.saving.register_keras_serializable("trilemma")
class MixtureVAEGAN(FittedPrior, VAEGAN):
    """A trained VAE-GAN that draws from a mixture fitted to its codes. It has the averaged decoder alone.

    Args:
        image_shape, latent_size, width, seed, **kwargs: as in `VAEGAN`.
        num_components: Gaussians in the mixture.
    """

    loss_names = ("loss",)
    teacher_settings = ("image_shape", "latent_size", "width")

    def __init__(self, image_shape=(28, 28, 1), latent_size=32, width=64, num_components=100, seed=None, **kwargs):
        super().__init__(image_shape, latent_size, width, seed=seed, **kwargs)
        self.networks = {"encoder": (self.encoder,), "decoder": (self.ema_decoder,)}
        self.add_prior(num_components)

    default_optimizers = VAE.default_optimizers

    def averages(self):
        return ()

    def compute_losses(self, images, labels, training):
        """The divergence of the codes from the mixture, in nats."""
        mean, log_variance = self.encoder(images, training=False)
        codes = sample_gaussian(mean, log_variance, self.seed_generator)
        return {"loss": ops.mean(self.divergence(codes, mean, log_variance, training))}

    def sample(self, draw_noise, labels=None, guidance=None):
        return self.decode(self.draw_latents(draw_noise))
