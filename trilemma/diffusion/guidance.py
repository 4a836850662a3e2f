"""Classifier-free guidance: labels decide more, the unconditional prediction less (Ho & Salimans 2022)."""

from keras import ops


def guided(predict_noise, labels, guidance, no_label):
    """The `predict_noise` that every sampler takes, for images of given classes.

    Ho & Salimans 2022 (arXiv 2207.12598), equation 6: (1 + w) conditional - w unconditional. Both halves go through the
    network in one batch.

    Args:
        predict_noise: function (noisy_images, timesteps, labels) -> prediction of the noise, or of what is linear in
            it for a given noisy image, as the velocity is.
        labels: int (batch,).
        guidance: w, a float scalar; None for the conditional prediction alone, which is one pass instead of two.
        no_label: the label that stands for none.

    Returns:
        Function (noisy_images, timesteps) -> prediction of the shape of noisy_images.
    """
    if guidance is None:
        return lambda noisy_images, timesteps: predict_noise(noisy_images, timesteps, labels)
    both_labels = ops.concatenate([labels, ops.full_like(labels, no_label)])

    def predict(noisy_images, timesteps):
        both = predict_noise(ops.tile(noisy_images, (2, 1, 1, 1)), ops.tile(timesteps, (2,)), both_labels)
        conditional, unconditional = ops.split(both, 2)
        return (1 + guidance) * conditional - guidance * unconditional

    return predict
