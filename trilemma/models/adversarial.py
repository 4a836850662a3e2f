"""The losses of a generator and a discriminator that learn from each other."""

from keras import ops

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
