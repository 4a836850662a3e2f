"""A variational autoencoder whose decoder is the generator of a GAN (Larsen et al. 2016, arXiv 1512.09300)."""

import keras
from keras import ops

from trilemma.data import check_sides, whole_number
from trilemma.models.adversarial import relativistic_losses
from trilemma.models.contract import GenerativeModel
from trilemma.models.dcgan import build_discriminator, build_generator
from trilemma.models.trainable import average_of, in_unit_range
from trilemma.models.vae import build_mirrored_encoder, kl_divergence, sample_gaussian


def with_features(discriminator):
    """The DCGAN's discriminator with a second output, on the same layers.

    Returns:
        A Functional model: images (batch, height, width, channels) in [-1, 1] -> logits (batch, 1), float32, and the
        features of the last hidden layer, (batch, height / 4, width / 4, channels).
    """
    outputs = [discriminator.output, discriminator.get_layer("features").output]
    return keras.Model(discriminator.input, outputs, name=discriminator.name)


def feature_nll(features, decoded_features, variance):
    """-log N(features; decoded_features, variance I) in nats, summed over the features, without its constant.

    Larsen et al. 2016, section 2.3, with a variance of 1: the features of an image, given those of what its code is
    decoded to.

    Args:
        features, decoded_features: (batch, height, width, channels).
        variance: of every feature, above 0.

    Returns:
        (batch,), float32, at least 0.
    """
    difference = ops.cast(features, "float32") - ops.cast(decoded_features, "float32")
    return 0.5 / variance * ops.sum(ops.square(difference), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("trilemma")
class VAEGAN(GenerativeModel):
    """An encoder, a decoder and a discriminator, each with a loss of its own.

    A VAE compares pixel by pixel, and where it cannot know a pixel it paints the mean: soft edges. A GAN has no
    encoder, and nothing asks its generator for every image. Here the discriminator judges what the decoder makes of
    codes and of draws from the prior, and an image is compared with its reconstruction in the discriminator's features,
    in which blur costs more than in pixels. Algorithm 1 of the paper:

        encoder        KL(q(z | x) || p(z)) + reconstruction
        decoder        gamma * reconstruction + adversarial loss
        discriminator  real images against decoded codes and decoded draws from the prior

    Each loss moves its own network alone: the reconstruction does not train the discriminator, which could make it
    zero by features that are all alike, and the adversarial loss does not train the encoder.

    Four things differ from the paper. The variance of the features is not 1. The adversarial losses are those of pairs
    of a real and a decoded image (Jolicoeur-Martineau 2019), half of them an image and its own reconstruction. What is
    drawn is decoded by an average over the last steps, since players that circle each other do not settle. And a
    discriminator that tells nearly every pair apart teaches the decoder little: so it learns at half the rate, and a
    batch in which it is too far ahead does not train it; the paper's code holds it back in a similar way.

    The networks are those of the DCGAN. Its batch normalisation gives the features a scale, without which a fixed
    variance would mean nothing. Hence no gradient penalty either, since under batch normalisation the gradient of one
    image depends on the others. The discriminator sees real and decoded images in batches of their own,
    as in the DCGAN; the decoder sees codes and draws in one batch, so that its moving statistics hold for both.

    Args:
        image_shape: (height, width, channels); height and width divisible by 4.
        latent_size: dimensions of z. Fewer than the DCGAN's 100: codes have to fill the prior that is drawn from.
        width: channels of the hidden layers; the decoder's first one has twice as many.
        gamma: weight of the reconstruction in the decoder's loss.
        feature_variance: of the features of an image around those of its reconstruction. The smaller, the
            more they outweigh the divergence: codes tell more of their images, and fill the prior less.
        most_ahead: share of pairs with a higher logit for the real image, from which on a batch does not train the
            discriminator.
        ema_decay: decay per step of the averaged decoder; it warms up.
        seed: integer that makes latents repeatable.

    Raises:
        ValueError: sides that are not divisible by 4, or numbers out of their range.
    """

    loss_names = (
        "encoder_loss", "decoder_loss", "discriminator_loss", "kl_loss", "reconstruction_loss", "adversarial_loss",
        "real_ahead",
    )  # fmt: skip

    def __init__(
        self,
        image_shape=(28, 28, 1),
        latent_size=32,
        width=64,
        gamma=0.1,
        feature_variance=10.0,
        most_ahead=0.75,
        ema_decay=0.999,
        seed=None,
        **kwargs,
    ):
        config = dict(
            latent_size=latent_size, width=width, gamma=gamma, feature_variance=feature_variance,
            most_ahead=most_ahead, ema_decay=ema_decay,
        )  # fmt: skip
        super().__init__(image_shape, seed, config, **kwargs)
        check_sides(image_shape, 4)
        self.latent_size, width = whole_number("latent_size", latent_size), whole_number("width", width)
        if not gamma >= 0:
            raise ValueError(f"gamma is {gamma}; expected a number of at least 0.")
        if not feature_variance > 0:
            raise ValueError(f"feature_variance is {feature_variance}; expected a number above 0.")
        if not most_ahead > 0:
            raise ValueError(f"most_ahead is {most_ahead}; expected a share above 0; above 1 it always trains.")
        self.gamma, self.feature_variance, self.most_ahead = gamma, feature_variance, most_ahead
        self.ema_decay = ema_decay
        with self.precision():
            self.encoder = build_mirrored_encoder(image_shape, self.latent_size, width)
            self.decoder = build_generator(image_shape, self.latent_size, width)
            self.ema_decoder = average_of(self.decoder)
            self.discriminator = with_features(build_discriminator(image_shape, width))
        # The discriminator does not ship, since nothing that draws needs it; who trains on starts with a new one.
        self.networks = {"encoder": (self.encoder,), "decoder": (self.ema_decoder, self.decoder)}

    def encode(self, images):
        """The mean of q(z | x): images, uint8 or in [0, 1] -> codes (batch, latent_size)."""
        return self.encoder(in_unit_range(images), training=False)[0]

    def decode(self, codes):
        """Decodes with the averaged weights: codes (batch, latent_size) -> images in [0, 1]."""
        return (self.ema_decoder(codes, training=False) + 1) / 2

    def call(self, images, training=False):
        """Reconstructs images through the mean of q(z | x), with the averaged decoder: uint8 or [0, 1] -> [0, 1]."""
        return self.decode(self.encode(images))

    def default_optimizers(self, learning_rate, num_steps):
        """Adam with beta_1 = 0.5 (Radford et al. 2016, section 4), for the discriminator at half the rate."""
        shares = {"encoder_loss": 1, "decoder_loss": 1, "discriminator_loss": 1 / 2}
        return {name: keras.optimizers.Adam(learning_rate * share, beta_1=0.5) for name, share in shares.items()}

    def players(self):
        return {
            "encoder_loss": (self.encoder,),
            "decoder_loss": (self.decoder,),
            "discriminator_loss": (self.discriminator,),
        }

    def averages(self):
        return ((self.ema_decoder, self.decoder),)

    def compute_losses(self, images, labels, training):
        """Algorithm 1 of Larsen et al. 2016 with the losses of `adversarial.relativistic_losses`, in nats.

        Each image makes two pairs: with what its own code is decoded to, and with a decoded draw from the prior.
        real_ahead is the share of pairs whose real image has the higher logit; in training the discriminator's loss is
        zero for a batch with `most_ahead` or more of them.
        """
        mean, log_variance = self.encoder(images, training=training)
        codes = sample_gaussian(mean, log_variance, self.seed_generator)
        draws = keras.random.normal(ops.shape(codes), seed=self.seed_generator)
        decoder = self.decoder if training else self.ema_decoder
        decoded = decoder(ops.concatenate([codes, draws]), training=training)
        real_logits, features = self.discriminator(2 * images - 1, training=training)
        decoded_logits, decoded_features = self.discriminator(decoded, training=training)
        reconstructed_features, _ = ops.split(decoded_features, 2)

        kl_loss = ops.mean(kl_divergence(mean, log_variance))
        reconstruction_loss = ops.mean(feature_nll(features, reconstructed_features, self.feature_variance))
        pairs = relativistic_losses(ops.concatenate([real_logits, real_logits]), decoded_logits)
        trains = ops.cast(pairs["real_ahead"] < self.most_ahead, "float32") if training else 1.0
        return {
            "encoder_loss": kl_loss + reconstruction_loss,
            "decoder_loss": self.gamma * reconstruction_loss + pairs["generator_loss"],
            "discriminator_loss": trains * pairs["discriminator_loss"],
            "kl_loss": kl_loss,
            "reconstruction_loss": reconstruction_loss,
            "adversarial_loss": pairs["generator_loss"],
            "real_ahead": pairs["real_ahead"],
        }

    def sample(self, draw_noise, labels=None, guidance=None):
        return self.decode(draw_noise(0, (self.latent_size,)))
