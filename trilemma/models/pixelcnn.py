"""Gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328): every pixel given all the pixels before it."""

import keras
from keras import layers, ops

from trilemma import noise
from trilemma.data import whole_number
from trilemma.models.contract import GenerativeModel
from trilemma.models.trainable import average_of, in_unit_range, warm_up_and_cosine
from trilemma.models.vae import binarise


def _shifted(x, rows, columns):
    """Feature maps moved down and to the right, with zeros where they came from."""
    x = layers.ZeroPadding2D(((rows, 0), (columns, 0)))(x)
    return layers.Cropping2D(((0, rows), (0, columns)))(x)


def _gate(x):
    """tanh of one half of the channels times the sigmoid of the other (equation 2)."""
    values, gates = ops.split(x, 2, axis=-1)
    return ops.tanh(values) * ops.sigmoid(gates)


def _embedded(pixels, embedding):
    """Appends to pixels (..., 1) in [-1, 1] the vectors that the layer `embedding` holds for their levels."""
    levels = ops.cast(ops.round((pixels[..., 0] + 1) * (embedding.input_dim - 1) / 2), "int32")
    vectors = embedding(levels)
    return ops.concatenate([ops.cast(pixels, vectors.dtype), vectors], axis=-1)


def build_pixelcnn(
    image_shape,
    levels,
    width=64,
    dilations=(1, 2, 4, 8, 1, 2, 4, 8),
    embedding_size=None,
    head_width=None,
    vertical_residual=False,
):
    """Two stacks of gated convolutions (figure 2): one sees the rows above a pixel, one what is left of it in its row.

    No kernel is masked: the images are shifted once, down by a row for the vertical stack and to the right by a column
    for the horizontal one, and every kernel reaches only up and to the sides, or only to the left. The horizontal stack
    reads the vertical one. The kernels are small and dilated: vertical ones see the rows y - d and y, columns x - d, x,
    x + d, horizontal ones the columns x - d and x. The default dilations d sum to every distance up to 30, so that
    there are neither blind spots nor holes in an image of up to 31 columns.

    Args:
        image_shape: (height, width, 1).
        levels: grey levels of a pixel.
        width: channels of both stacks.
        dilations: of the layers, first to last.
        embedding_size: length of a vector that is learnt for each level and read beside its value; None for none.
        head_width: channels before the logits; None for `width`.
        vertical_residual: whether layers of the vertical stack add to it, as those of the horizontal stack do.

    Returns:
        A Functional model: images (batch, height, width, 1) in [-1, 1] -> logits (batch, height, width, levels),
        float32, of the level of each pixel given those before it in raster order.

    Raises:
        ValueError: more channels than one, or no dilations.
    """
    if image_shape[-1] != 1:
        raise ValueError(f"images have {image_shape[-1]} channels; a PixelCNN draws one. Choose grey images.")
    if not dilations:
        raise ValueError("dilations are empty; expected one for each layer, as (1, 2, 4, 8).")
    images = layers.Input(image_shape, name="images")
    pixels = images
    if embedding_size:
        pixels = _embedded(images, layers.Embedding(levels, embedding_size, name="embedding"))
    vertical = layers.Dense(width, name="vertical_input")(_shifted(pixels, 1, 0))
    horizontal = layers.Dense(width, name="horizontal_input")(_shifted(pixels, 0, 1))
    for i, dilation in enumerate(dilations):
        padded = layers.ZeroPadding2D(((dilation, 0), (dilation, dilation)))(vertical)
        above = layers.Conv2D(2 * width, (2, 3), dilation_rate=dilation, name=f"vertical_{i}")(padded)
        padded = layers.ZeroPadding2D(((0, 0), (dilation, 0)))(horizontal)
        left = layers.Conv2D(2 * width, (1, 2), dilation_rate=dilation, name=f"horizontal_{i}")(padded)
        left = left + layers.Dense(2 * width, name=f"vertical_to_horizontal_{i}")(above)
        if vertical_residual:
            vertical = vertical + layers.Dense(width, name=f"vertical_residual_{i}")(_gate(above))
        else:
            vertical = _gate(above)
        horizontal = horizontal + layers.Dense(width, name=f"residual_{i}")(_gate(left))
    x = layers.Dense(head_width or width, activation="silu", name="head")(horizontal)
    logits = layers.Dense(levels, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="pixelcnn")


def draw_pixels(logits, uniform):
    """Draws grey levels by the inverse of their cumulative distribution.

    Args:
        logits: (..., levels).
        uniform: (..., 1), in [0, 1).

    Returns:
        (..., 1): k / (levels - 1) for level k.
    """
    cumulative = ops.cumsum(ops.softmax(logits), axis=-1)[..., :-1]
    levels_below = ops.cast(uniform > cumulative, "float32")
    return ops.sum(levels_below, axis=-1, keepdims=True) / (logits.shape[-1] - 1)


def sample_by_full_passes(predict, uniform, num_passes=None):
    """Draws images pixel by pixel, in raster order, with one pass of the network over whole images for each.

    Args:
        predict: function of images (batch, height, width, 1) in [0, 1] -> logits (batch, height, width, levels).
        uniform: (batch, height, width, 1), in [0, 1): the noise of every pixel.
        num_passes: how many pixels to draw, the others are 0; None for all.

    Returns:
        images (batch, height, width, 1) in [0, 1].
    """
    height, width = uniform.shape[1:3]
    num_passes = height * width if num_passes is None else num_passes
    numbers = ops.reshape(ops.arange(height * width), (1, height, width, 1))

    def draw_next(number, images):
        return ops.where(numbers == number, draw_pixels(predict(images), uniform), images)

    return ops.fori_loop(0, num_passes, draw_next, ops.zeros_like(uniform))


def sample_by_fixed_point(predict, uniform):
    """Draws all pixels of the images at once, given the last guess of them, until nothing changes.

    Song et al. 2020 (arXiv 2002.03629, algorithm 1: Jacobi iteration). Pass k makes at least the first k pixels those
    of `sample_by_full_passes`; arguments as there.

    Returns:
        images (batch, height, width, 1) in [0, 1]; the number of passes, the last of which changed nothing.
    """

    def draw_all(images, changing, num_passes):
        drawn = draw_pixels(predict(images), uniform)
        return drawn, ops.any(drawn != images), num_passes + 1

    state = (ops.zeros_like(uniform), ops.convert_to_tensor(True), ops.convert_to_tensor(0, "int32"))
    # All pixels are right after as many passes; rounding could still toss one to and fro.
    most_passes = uniform.shape[1] * uniform.shape[2]
    images, _, num_passes = ops.while_loop(lambda *state: state[1], draw_all, state, maximum_iterations=most_passes)
    return images, num_passes


def _push(cache, newest):
    """Drops the oldest of the kept features (batch, kept, ...), and appends the newest."""
    return ops.concatenate([cache[:, 1:], newest[:, None]], axis=1)


def _convolve(layer, under_kernel):
    """What a convolution puts out, given the features under each entry of its kernel, in the kernel's order."""
    kernel = ops.reshape(layer.kernel, (-1, layer.filters))
    kernel, bias = (ops.cast(each, layer.compute_dtype) for each in (kernel, layer.bias))
    return ops.matmul(ops.concatenate(under_kernel, axis=-1), kernel) + bias


def sample_by_caches(network, uniform):
    """Draws the images of `sample_by_full_passes`, but computes every feature once, when its pixel is drawn.

    After Ramachandran et al. 2017 (arXiv 1704.06001). A layer of dilation d keeps its last inputs: d rows in the
    vertical stack, which moves on by a row at a time, d columns in the horizontal stack, which moves on by a pixel.

    Args:
        network: of `build_pixelcnn`.
        uniform: as for `sample_by_full_passes`.

    Returns:
        images (batch, height, width, 1) in [0, 1], the same up to rounding.
    """
    num_images, (height, width) = ops.shape(uniform)[0], uniform.shape[1:3]
    get, num_layers = network.get_layer, sum(layer.name.startswith("residual_") for layer in network.layers)
    dtype, channels = get("vertical_input").compute_dtype, get("vertical_input").units
    vertical_layers = [get(f"vertical_{i}") for i in range(num_layers)]
    dilations = [layer.dilation_rate[0] for layer in vertical_layers]
    names = {layer.name for layer in network.layers}
    num_inputs = get("vertical_input").kernel.shape[0]
    uniform = ops.transpose(uniform, (1, 2, 0, 3))

    def as_input(drawn):
        pixels = 2 * drawn - 1
        return ops.cast(_embedded(pixels, get("embedding")) if "embedding" in names else pixels, dtype)

    def draw_row(number, state):
        images, caches, above = state
        x, new_caches, contexts = get("vertical_input")(above), [], []
        for i, (layer, dilation, cache) in enumerate(zip(vertical_layers, dilations, caches, strict=True)):
            new_caches.append(_push(cache, x))
            rows = [ops.pad(row, ((0, 0), (dilation, dilation), (0, 0))) for row in (cache[:, 0], x)]
            starts = (0, dilation, 2 * dilation)
            x = _convolve(layer, [row[:, start : start + width] for row in rows for start in starts])
            contexts.append(get(f"vertical_to_horizontal_{i}")(x))
            x = _gate(x)
            if f"vertical_residual_{i}" in names:
                x = new_caches[-1][:, -1] + get(f"vertical_residual_{i}")(x)
        context = ops.transpose(ops.stack(contexts), (2, 0, 1, 3))  # (width, layers, batch, 2 * channels)
        row = draw_pixels_of_row(context, uniform[number])
        images = ops.where(ops.reshape(ops.arange(height) == number, (1, height, 1, 1)), row[:, None], images)
        return images, tuple(new_caches), as_input(row)

    def draw_pixels_of_row(context, uniform):
        def draw_pixel(number, state):
            row, caches, left = state
            x, new_caches = get("horizontal_input")(left), []
            for i, cache in enumerate(caches):
                new_caches.append(_push(cache, x))
                features = _convolve(get(f"horizontal_{i}"), [cache[:, 0], x]) + context[number, i]
                x = x + get(f"residual_{i}")(_gate(features))
            pixel = draw_pixels(get("logits")(get("head")(x)), uniform[number])
            row = ops.where(ops.reshape(ops.arange(width) == number, (1, width, 1)), pixel[:, None], row)
            return row, tuple(new_caches), as_input(pixel)

        caches = tuple(ops.zeros((num_images, dilation, channels), dtype) for dilation in dilations)
        start = (ops.zeros((num_images, width, 1)), caches, ops.zeros((num_images, num_inputs), dtype))
        return ops.fori_loop(0, width, draw_pixel, start)[0]

    # Zeros stand for what lies outside the image, as in the network's padding.
    caches = tuple(ops.zeros((num_images, dilation, width, channels), dtype) for dilation in dilations)
    start = (ops.zeros((num_images, height, width, 1)), caches, ops.zeros((num_images, width, num_inputs), dtype))
    return ops.fori_loop(0, height, draw_row, start)[0]


@keras.saving.register_keras_serializable("trilemma")
class PixelCNN(GenerativeModel):
    """Learns the distribution of each pixel given all the pixels before it; their product is the likelihood.

    Args:
        image_shape: (height, width, 1).
        levels: grey levels, 2 ... 256. With 2, a grey value is the probability that its pixel is on, and images are
            binarised anew for every batch, as for the VAE; with more, the grey values are rounded to that many levels.
        width, dilations, embedding_size, head_width, vertical_residual: see `build_pixelcnn`.
        ema_decay: decay per step of the averaged weights that draw and score; it warms up.
        seed: integer that makes the binarisation repeatable.
    """

    likelihood = "exact"

    def __init__(
        self,
        image_shape=(28, 28, 1),
        levels=256,
        width=64,
        dilations=(1, 2, 4, 8, 1, 2, 4, 8),
        embedding_size=None,
        head_width=None,
        vertical_residual=False,
        ema_decay=0.999,
        seed=None,
        **kwargs,
    ):
        sizes = dict(width=width, embedding_size=embedding_size, head_width=head_width)
        shape = {**sizes, "dilations": tuple(dilations), "vertical_residual": vertical_residual}
        super().__init__(image_shape, seed, dict(levels=levels, ema_decay=ema_decay, **shape), **kwargs)
        for name, size in sizes.items():
            if size is not None or name == "width":
                whole_number(name, size)
        self.levels = whole_number("levels", levels, 2, 256)
        self.ema_decay = ema_decay
        with self.precision():
            self.network = build_pixelcnn(self.image_shape, self.levels, **shape)
            self.ema_network = average_of(self.network)
        self.networks = {"pixelcnn": (self.ema_network, self.network)}
        self.passes_per_image = self.image_shape[0] * self.image_shape[1]

    def call(self, images, training=False):
        """Predicts with the averaged weights: images, uint8 or in [0, 1] -> logits (batch, height, width, levels)."""
        return self.ema_network(2 * in_unit_range(images) - 1, training=training)

    def default_optimizers(self, learning_rate, num_steps):
        """Adam, 500 steps of warm-up, then a cosine down to zero."""
        return keras.optimizers.Adam(warm_up_and_cosine(learning_rate, num_steps))

    def players(self):
        return {"loss": (self.network,)}

    def averages(self):
        return ((self.ema_network, self.network),)

    def quantise(self, images, draw_uniform):
        """Grey values to levels: float32 whole numbers 0 ... levels - 1; `draw_uniform()` binarises, if there are 2."""
        if self.levels == 2:
            return binarise(images, draw_uniform())
        return ops.round(images * (self.levels - 1))

    def _nats(self, network, levels, training):
        """-log p of images as levels, summed over the pixels (equation 1): (batch,)."""
        logits = network(2 * levels / (self.levels - 1) - 1, training=training)
        targets = ops.cast(levels[..., 0], "int32")
        return ops.sum(ops.sparse_categorical_crossentropy(targets, logits, from_logits=True), axis=(1, 2))

    def compute_losses(self, images, labels, training):
        """Negative log-likelihood in nats per image, the mean over the batch."""
        levels = self.quantise(images, lambda: keras.random.uniform(ops.shape(images), seed=self.seed_generator))
        network = self.network if training else self.ema_network
        return {"loss": ops.mean(self._nats(network, levels, training))}

    def _log_likelihood(self, images, draw_noise):
        """log p of the images as levels, in one pass; binary images are drawn once, with the seed."""
        levels = self.quantise(images, lambda: noise.uniform_of(draw_noise(0, self.image_shape)))
        return -self._nats(self.ema_network, levels, training=False)

    def sample(self, draw_noise, labels=None, guidance=None):
        return sample_by_caches(self.ema_network, noise.uniform_of(draw_noise(0, self.image_shape)))
