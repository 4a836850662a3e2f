"""The U-Net that looks at noisy images, built from plain functions (Ho et al. 2020, appendix B).

One deviation keeps it fast: the first convolution folds each `patch_size` x `patch_size` square of
pixels into channels and the last one unfolds it, so that the 28x28 image is processed at 14x14 and 7x7.
"""

import math

import keras
from keras import layers, ops

from trilemma.data import check_sides


@keras.saving.register_keras_serializable("trilemma")
class SinusoidalEmbedding(layers.Layer):
    """Embeds integer timesteps as sines and cosines of geometrically spaced frequencies.

    Vaswani et al. 2017, section 3.5, as used by Ho et al. 2020.

    Call: timesteps (batch,), any integer or float type -> float32 (batch, size), values in [-1, 1].
    """

    def __init__(self, size, max_period=10_000.0, **kwargs):
        # In half precision the angles of neighbouring timesteps would coincide.
        super().__init__(dtype="float32", **{k: v for k, v in kwargs.items() if k != "dtype"})
        if size < 4 or size % 2:
            raise ValueError(f"size is {size}; expected an even number of at least 4.")
        self.size = size
        self.max_period = max_period

    def call(self, timesteps):
        half = self.size // 2
        exponents = ops.arange(half, dtype="float32") / (half - 1)
        frequencies = ops.exp(-math.log(self.max_period) * exponents)
        angles = ops.cast(timesteps, "float32")[:, None] * frequencies[None, :]
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.size)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "max_period": self.max_period}


@keras.saving.register_keras_serializable("trilemma")
class GroupNormalization(layers.GroupNormalization):
    """Group normalisation (Wu & He 2018) of the last axis, in fewer passes over the feature maps than Keras makes.

    The mean and the mean square of every channel, averaged over its group, give one factor and one shift per channel.

    Call: feature maps (batch, height, width, channels) -> the same shape.
    """

    def call(self, feature_maps):
        x = ops.cast(feature_maps, "float32")
        mean, mean_square = (self._over_groups(ops.mean(each, axis=(1, 2))) for each in (x, ops.square(x)))
        factor = ops.rsqrt(ops.maximum(mean_square - ops.square(mean), 0.0) + self.epsilon)
        factor = factor if self.gamma is None else factor * self.gamma
        shift = -mean * factor if self.beta is None else self.beta - mean * factor
        return ops.cast(x * factor[:, None, None] + shift[:, None, None], self.compute_dtype)

    def _over_groups(self, means):
        size = means.shape[-1] // self.groups
        groups = ops.reshape(means, (ops.shape(means)[0], self.groups, size))
        return ops.repeat(ops.mean(groups, axis=-1), size, axis=-1)


def _normalise(x, style):
    if style is None:
        return GroupNormalization(8)(x)
    x = GroupNormalization(8, center=False, scale=False)(x)
    scale, shift = ops.split(layers.Reshape((1, 1, 2 * x.shape[-1]))(layers.Dense(2 * x.shape[-1])(style)), 2, axis=-1)
    return x * (1 + scale) + shift


def residual_block(x, time, width, style=None):
    """Two normalised 3x3 convolutions around an added time embedding, plus a shortcut.

    Args:
        x: feature maps (batch, height, width, channels).
        time: time embedding (batch, size).
        width: channels of the output.
        style: None, or (batch, size): decides scale and shift of the normalised features, which are learnt
            constants otherwise.

    Returns:
        Feature maps (batch, height, width, width).
    """
    shortcut = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
    x = layers.Activation("swish")(_normalise(x, style))
    x = layers.Conv2D(width, 3, padding="same")(x)
    x = layers.Add()([x, layers.Reshape((1, 1, width))(layers.Dense(width)(time))])
    x = layers.Activation("swish")(_normalise(x, style))
    # A block that starts as the identity makes a deep network easy to train.
    x = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(x)
    return layers.Add()([shortcut, x])


def attention_block(x, num_heads=4):
    """Self-attention between all positions of the feature map, plus a shortcut.

    Args:
        x: feature maps (batch, height, width, channels); channels divisible by `num_heads`.

    Returns:
        Feature maps of the same shape.
    """
    height, width, channels = x.shape[1:]
    tokens = layers.Reshape((height * width, channels))(GroupNormalization(8)(x))
    tokens = layers.MultiHeadAttention(num_heads, channels // num_heads)(tokens, tokens)
    return layers.Add()([x, layers.Reshape((height, width, channels))(tokens)])


def build_unet(image_shape, widths=(64, 96), patch_size=2, latent_size=None, with_destinations=False, num_classes=None):
    """Builds the network eps_theta(x_t, t) of Ho et al. 2020, with one residual block per resolution and direction.

    With latents z it is the generator G(x_t, z, t) of Xiao et al. 2022: a small network maps z to a style. With
    destinations s it is told to which timestep a step will lead. With classes it is told what the image shows.

    Args:
        image_shape: (height, width, channels); height and width divisible by
            `patch_size * 2 ** (len(widths) - 1)`.
        widths: channels at each resolution, finest first; multiples of 8.
        patch_size: side of the squares of pixels that are folded into channels.
        latent_size: dimensions of z; None for a network without.
        with_destinations: take the timesteps s too.
        num_classes: take labels too, 0 ... num_classes - 1, or num_classes where no class is told; None for a network
            without.

    Returns:
        A Functional model: [noisy_images (batch, height, width, channels), timesteps (batch,)], then, if asked for,
        latents (batch, latent_size), destinations (batch,) and labels (batch,) -> prediction, float32, of the images'
        shape.
    """
    check_sides(image_shape, patch_size * 2 ** (len(widths) - 1))
    if not widths or any(width < 8 or width % 8 for width in widths):
        raise ValueError(f"widths are {tuple(widths)}; expected multiples of 8.")
    noisy_images = layers.Input(image_shape, name="noisy_images")
    timesteps = layers.Input((), dtype="int32", name="timesteps")
    inputs, style = [noisy_images, timesteps], None
    if latent_size is not None:
        latents = layers.Input((latent_size,), name="latents")
        inputs.append(latents)
        style = layers.Dense(4 * widths[0], activation="swish")(latents)
        style = layers.Dense(4 * widths[0], activation="swish")(style)

    time = SinusoidalEmbedding(widths[0])(timesteps)
    if with_destinations:
        destinations = layers.Input((), dtype="int32", name="destinations")
        inputs.append(destinations)
        time = layers.Concatenate()([time, SinusoidalEmbedding(widths[0])(destinations)])
    time = layers.Dense(4 * widths[0], activation="swish")(time)
    if num_classes is not None:
        labels = layers.Input((), dtype="int32", name="labels")
        inputs.append(labels)
        time = layers.Add()([time, layers.Embedding(num_classes + 1, 4 * widths[0])(labels)])
    time = layers.Dense(4 * widths[0], activation="swish")(time)

    x = layers.Conv2D(widths[0], patch_size, strides=patch_size, name="fold")(noisy_images)
    skips = []
    for level, width in enumerate(widths):
        if level > 0:
            x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = residual_block(x, time, width, style)
        skips.append(x)

    x = residual_block(x, time, widths[-1], style)
    x = attention_block(x)
    x = residual_block(x, time, widths[-1], style)

    for level, width in reversed(list(enumerate(widths))):
        x = residual_block(layers.Concatenate()([x, skips.pop()]), time, width, style)
        if level > 0:
            x = layers.Conv2DTranspose(widths[level - 1], 2, strides=2)(x)

    x = layers.Activation("swish")(GroupNormalization(8)(x))
    prediction = layers.Conv2DTranspose(
        image_shape[-1], patch_size, strides=patch_size, kernel_initializer="zeros", dtype="float32", name="unfold"
    )(x)
    return keras.Model(inputs, prediction, name="unet")
