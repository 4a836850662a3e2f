"""What models with a generator and a discriminator share: two optimizers, the losses, the training step."""

import keras
import tensorflow as tf
from keras import ops

from trilemma.device import scale_loss
from trilemma.generative import GenerativeModel


class AdversarialModel(GenerativeModel):
    """Base class. A model sets `generator` and `discriminator` in its constructor, each a Functional model."""

    def __init__(self, image_shape, seed=None, **kwargs):
        super().__init__(image_shape, seed, **kwargs)
        names = (
            "generator_loss", "discriminator_loss", "real_loss", "generated_loss",
            "real_called_real", "generated_called_real",
        )  # fmt: skip
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    def compile(self, generator_optimizer, discriminator_optimizer, **kwargs):
        """Like `keras.Model.compile`, with one optimizer per network."""
        super().compile(optimizer=generator_optimizer, **kwargs)
        discriminator_optimizer = keras.optimizers.get(discriminator_optimizer)
        # Keras scales the loss for float16 only with the one optimizer it knows.
        loss_scale = keras.optimizers.LossScaleOptimizer
        if isinstance(self.optimizer, loss_scale) and not isinstance(discriminator_optimizer, loss_scale):
            discriminator_optimizer = loss_scale(discriminator_optimizer)
        self.discriminator_optimizer = discriminator_optimizer
        # Built here, each knows its own variables before a checkpoint is restored.
        self.optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    def get_compile_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config):
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def train_step(self, images):
        with tf.GradientTape(persistent=True) as tape:
            losses = self.compute_losses(images, training=True)
            generator_loss = scale_loss(losses["generator_loss"], self.optimizer)
            discriminator_loss = scale_loss(losses["discriminator_loss"], self.discriminator_optimizer)
        generator_variables = self.generator.trainable_variables
        discriminator_variables = self.discriminator.trainable_variables
        generator_gradients = tape.gradient(generator_loss, generator_variables)
        discriminator_gradients = tape.gradient(discriminator_loss, discriminator_variables)
        self.optimizer.apply(generator_gradients, generator_variables)
        self.discriminator_optimizer.apply(discriminator_gradients, discriminator_variables)
        return self.update_trackers(losses)


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
