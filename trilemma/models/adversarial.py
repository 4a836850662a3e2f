"""The losses of a generator and a discriminator that learn from each other."""

from keras import ops

from trilemma import backend

LOSS_NAMES = (
    "generator_loss", "discriminator_loss", "real_loss", "generated_loss", "real_called_real", "generated_called_real",
)  # fmt: skip


def adversarial_losses(real_logits, generated_logits):
    """Non-saturating losses (Goodfellow et al. 2014, section 3), in nats, and what the discriminator thinks.

    Args:
        real_logits, generated_logits: (batch, 1), above 0 for "real".

    Returns:
        dict of scalars: real_loss + generated_loss = discriminator_loss; generator_loss; real_called_real and
        generated_called_real, the shares of real and of generated images that the discriminator takes for real.
    """
    # softplus(-logit) = -log D and softplus(logit) = -log(1 - D).
    real_loss = ops.mean(ops.softplus(-real_logits))
    generated_loss = ops.mean(ops.softplus(generated_logits))
    return {
        "generator_loss": ops.mean(ops.softplus(-generated_logits)),
        "discriminator_loss": real_loss + generated_loss,
        "real_loss": real_loss,
        "generated_loss": generated_loss,
        "real_called_real": ops.mean(ops.cast(real_logits > 0, "float32")),
        "generated_called_real": ops.mean(ops.cast(generated_logits > 0, "float32")),
    }


RELATIVISTIC_LOSS_NAMES = ("generator_loss", "discriminator_loss", "pairing_loss", "penalty", "real_ahead")


def relativistic_losses(real_logits, generated_logits, penalty=0.0):
    """Losses of pairs of a real and a generated image, in nats (Huang et al. 2024, R3GAN, equation 2).

    The discriminator learns to put the real image of a pair ahead, the generator to put it behind. So every generated
    image is judged beside a real one, and dropping modes does not pay: that the rest looks real is not enough.

    Args:
        real_logits, generated_logits: (batch, 1); row i of both is a pair.
        penalty: scalar that enters the discriminator's loss, see `gradient_penalty`.

    Returns:
        dict of scalars: generator_loss; pairing_loss + penalty = discriminator_loss; real_ahead, the share of pairs
        whose real image has the higher logit.
    """
    lead = real_logits - generated_logits
    pairing_loss = ops.mean(ops.softplus(-lead))
    return {
        "generator_loss": ops.mean(ops.softplus(lead)),
        "discriminator_loss": pairing_loss + penalty,
        "pairing_loss": pairing_loss,
        "penalty": ops.convert_to_tensor(penalty, "float32"),
        "real_ahead": ops.mean(ops.cast(lead > 0, "float32")),
    }


def gradient_penalty(discriminator, images):
    """The mean of |grad_x D(x)|^2 over images, of which R1 takes half, times gamma (Mescheder et al. 2018, equation 9).

    Args:
        discriminator: function of images -> logits (batch, 1).
        images: (batch, height, width, channels).

    Returns:
        scalar, at least 0, itself differentiable.
    """
    gradients = backend.input_gradients(discriminator, images)
    return ops.mean(ops.sum(ops.square(gradients), axis=(1, 2, 3)))
