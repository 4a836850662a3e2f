"""Variational autoencoder (Kingma & Welling 2014) with a Bernoulli likelihood."""

import math

import keras
from keras import layers, ops

from trilemma import noise
from trilemma.data import check_sides, whole_number
from trilemma.models import dcgan
from trilemma.models.contract import GenerativeModel, given, with_labels
from trilemma.models.trainable import in_unit_range


def build_encoder(image_shape, latent_size, num_classes=None):
    """Strided convolutions from an image to the Gaussian q(z | x), or q(z | x, y).

    Returns:
        A Functional model: images (batch, height, width, channels) in [0, 1], or, with num_classes, [images, labels
        (batch,)] -> mean and log_variance, each (batch, latent_size), float32.
    """
    images = layers.Input(image_shape, name="images")
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="silu")(images)
    x = layers.Conv2D(64, 3, strides=2, padding="same", activation="silu")(x)
    inputs, x = with_labels(images, layers.Flatten()(x), num_classes)
    return _with_gaussian(inputs, layers.Dense(256, activation="silu")(x), latent_size)


def build_mirrored_encoder(image_shape, latent_size, width=64):
    """The hidden layers of the DCGAN's discriminator, from an image to the Gaussian q(z | x).

    They are without batch normalisation, under which the code of an image would depend on the others of its batch.

    Returns:
        A Functional model, as of `build_encoder`.
    """
    mirrored = dcgan.build_discriminator(image_shape, width, batch_normalization=False)
    features = mirrored.get_layer("features").output
    return _with_gaussian(mirrored.input, layers.Flatten()(features), latent_size)


def _with_gaussian(images, x, latent_size):
    mean = layers.Dense(latent_size, dtype="float32", name="mean")(x)
    log_variance = layers.Dense(latent_size, dtype="float32", name="log_variance")(x)
    return keras.Model(images, [mean, log_variance], name="encoder")


def build_decoder(image_shape, latent_size, num_classes=None):
    """Transposed convolutions from latents to the logits of p(x | z), or p(x | z, y).

    Returns:
        A Functional model: latents (batch, latent_size), or, with num_classes, [latents, labels (batch,)] -> logits
        (batch, height, width, channels), float32; their sigmoid is the probability that a pixel is on.
    """
    height, width, channels = image_shape
    latents = layers.Input((latent_size,), name="latents")
    inputs, x = with_labels(latents, latents, num_classes)
    x = layers.Dense(256, activation="silu")(x)
    x = layers.Dense(height // 4 * (width // 4) * 64, activation="silu")(x)
    x = layers.Reshape((height // 4, width // 4, 64))(x)
    x = layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="silu")(x)
    logits = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="decoder")


def kl_divergence(mean, log_variance):
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats, summed over the latent dimensions.

    Kingma & Welling 2014, appendix B. The article averages over the dimensions instead, which weakens the term
    by a factor of the latent size.

    Args:
        mean, log_variance: (batch, latent_size).

    Returns:
        (batch,), at least 0.
    """
    return 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1 - log_variance, axis=-1)


def sample_gaussian(mean, log_variance, seed):
    """Draws z ~ N(mean, exp(log_variance)) by the reparametrisation trick: z = mean + deviation * noise."""
    return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=seed)


def log_normal(latents, mean, log_variance):
    """log N(latents; mean, exp(log_variance)), summed over the latent dimensions: (batch,), nats."""
    squared_noise = ops.square(latents - mean) / ops.exp(log_variance)
    return -0.5 * ops.sum(log_variance + squared_noise + math.log(2 * math.pi), axis=-1)


def bernoulli_nll(images, logits):
    """-log p(images | latents) in nats, summed over the pixels.

    Args:
        images: (batch, height, width, channels) in [0, 1]; a likelihood only where every value is 0 or 1.
        logits: of the same shape.

    Returns:
        (batch,).
    """
    return ops.sum(ops.binary_crossentropy(images, logits, from_logits=True), axis=(1, 2, 3))


def binarise(images, uniform):
    """Makes a pixel 1 with its grey value as the probability, 0 otherwise.

    Args:
        images: floats in [0, 1].
        uniform: random numbers in [0, 1), of the same shape.

    Returns:
        float32, of the same shape.
    """
    return ops.cast(images > uniform, "float32")


@keras.saving.register_keras_serializable("trilemma")
class VAE(GenerativeModel):
    """Maximises the evidence lower bound of binarised images.

    A grey value is read as the probability that its pixel is on, and drawn anew for every batch (dynamic
    binarisation, Salakhutdinov & Murray 2008): so the loss is a likelihood in nats, comparable with published
    values, and the decoder's probabilities are grey images again.

    Args:
        image_shape: (height, width, channels); height and width divisible by 4.
        latent_size: dimensions of z.
        beta: weight of the KL divergence (Higgins et al. 2017); 1 gives the evidence lower bound, 1 / latent_size
            the article's loss.
        architecture: "plain", the networks of this file; or "dcgan", the DCGAN's generator as the decoder and an
            encoder that mirrors its discriminator.
        num_classes: learn from labels, and draw by them; None for a model without. Of the plain networks. Both
            encoder and decoder are told (Sohn et al. 2015), so that a code holds what the label leaves open.
        seed: integer that makes latents and binarisation repeatable.

    Raises:
        ValueError: unknown architecture, labels for that of the DCGAN, or sides that are not divisible by 4.
    """

    loss_names = ("loss", "reconstruction_loss", "kl_loss")
    likelihood = "lower bound"

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_size=2,
        beta=1.0,
        architecture="plain",
        num_classes=None,
        seed=None,
        **kwargs,
    ):
        config = dict(latent_size=latent_size, beta=beta, architecture=architecture, num_classes=num_classes)
        super().__init__(image_shape, seed, config, **kwargs)
        check_sides(image_shape, 4)
        if architecture not in ("plain", "dcgan"):
            raise ValueError(f'unknown architecture {architecture!r}; expected "plain" or "dcgan".')
        if num_classes is not None:
            self.num_classes = whole_number("num_classes", num_classes)
            self.likelihood = None  # The bound would be on log p(x | y).
            if architecture == "dcgan":
                raise ValueError(f'num_classes is {num_classes}; the architecture "dcgan" takes no labels.')
        self.latent_size = whole_number("latent_size", latent_size)
        self.beta = beta
        with self.precision():
            if architecture == "dcgan":
                self.encoder = build_mirrored_encoder(image_shape, self.latent_size)
                self.decoder = dcgan.build_generator(image_shape, self.latent_size, activation=None)
            else:
                self.encoder = build_encoder(image_shape, self.latent_size, self.num_classes)
                self.decoder = build_decoder(image_shape, self.latent_size, self.num_classes)
        self.networks = {"encoder": (self.encoder,), "decoder": (self.decoder,)}

    def call(self, inputs, training=False):
        """Reconstructs images, uint8 or in [0, 1], through the mean of q(z | x): probabilities in [0, 1].

        A model with classes takes [images, labels].
        """
        images, labels = (inputs, None) if self.num_classes is None else inputs
        mean, _ = self.encoder(given(in_unit_range(images), labels), training=training)
        return ops.sigmoid(self.decoder(given(mean, labels), training=training))

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with a cosine down to zero."""
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, num_steps))

    def players(self):
        return {"loss": (self.encoder, self.decoder)}

    def binarise(self, images):
        """Draws each pixel as 0 or 1 with its grey value, a float in [0, 1], as the probability of 1."""
        return binarise(images, keras.random.uniform(ops.shape(images), seed=self.seed_generator))

    def sample_latents(self, mean, log_variance):
        """Draws z ~ N(mean, exp(log_variance)), see `sample_gaussian`."""
        return sample_gaussian(mean, log_variance, self.seed_generator)

    def compute_losses(self, images, labels, training):
        """Negative evidence lower bound (Kingma & Welling 2014, equation 3) and its two parts, in nats per image."""
        binary_images = self.binarise(images)
        mean, log_variance = self.encoder(given(binary_images, labels), training=training)
        logits = self.decoder(given(self.sample_latents(mean, log_variance), labels), training=training)
        reconstruction_loss = ops.mean(bernoulli_nll(binary_images, logits))
        kl_loss = ops.mean(kl_divergence(mean, log_variance))
        return {
            "loss": reconstruction_loss + self.beta * kl_loss,
            "reconstruction_loss": reconstruction_loss,
            "kl_loss": kl_loss,
        }

    def _log_likelihood(self, images, draw_noise, num_samples=100):
        """Lower bound on log p(images) from k = `num_samples` draws of q(z | x); tighter with every draw.

        Burda et al. 2016, equation 8; for k = 1 its expectation is the evidence lower bound. Images are binarised as in
        training, once, with the seed; `batch_size * k` latents are decoded at once.
        """
        num_samples = whole_number("num_samples", num_samples)
        binary_images = binarise(images, noise.uniform_of(draw_noise(0, self.image_shape)))
        codes = [*self.encoder(binary_images, training=False), binary_images]
        mean, log_variance, binary_images = (ops.repeat(each, num_samples, axis=0) for each in codes)
        latent_noise = ops.reshape(draw_noise(1, (num_samples, self.latent_size)), (-1, self.latent_size))
        latents = mean + ops.exp(0.5 * log_variance) * latent_noise
        log_likelihood = -bernoulli_nll(binary_images, self.decoder(latents, training=False))
        log_ratio = self.log_prior(latents) - log_normal(latents, mean, log_variance)
        log_weights = ops.reshape(log_likelihood + log_ratio, (-1, num_samples))
        return ops.logsumexp(log_weights, axis=1) - math.log(num_samples)

    def log_prior(self, latents, training=False):
        """log p(z) of latents (batch, latent_size): (batch,), nats."""
        return log_normal(latents, 0.0, 0.0)

    def sample(self, draw_noise, labels=None, guidance=None):
        latents = draw_noise(0, (self.latent_size,))
        return ops.sigmoid(self.decoder(given(latents, labels), training=False))
