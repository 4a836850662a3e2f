"""Standard normal numbers that depend on the seed, the number of the image and the draw alone.

`keras.random` draws one block for a whole batch: image i would depend on the size of the batch, and for one seed plain
and XLA-compiled TensorFlow draw different blocks. Here a counter is scrambled anew for every number, by plain
arithmetic: no state, the same numbers on both backends.
"""

import math

import numpy as np
from keras import ops

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def standard_normal(seed, indices, draw, shape):
    """Draws independent numbers of N(0, 1) for every image.

    Args:
        seed: integer scalar, 0 ... 2^32 - 1.
        indices: integer (num_images,), the images' numbers, 0 ... 2^32 - 1.
        draw: integer scalar, which draw it is for an image; another draw has other numbers.
        shape: of what is drawn for one image.

    Returns:
        float32 (num_images, *shape).
    """
    size = math.prod(shape)
    num_pairs = -(-size // 2)
    counters = ops.convert_to_tensor(np.arange(num_pairs, dtype="uint32"))[None]
    seed, draw, indices = (ops.cast(ops.convert_to_tensor(each), "uint32") for each in (seed, draw, indices))
    counters = ops.broadcast_to(counters, (ops.shape(indices)[0], num_pairs))
    first, second = threefry(seed, indices[:, None], counters, draw)
    # Box & Muller 1958 on 24 bits each: a uniform radius in (0, 1] and an angle.
    radius = ops.sqrt(-2 * ops.log((_upper_bits(first) + 1) * 2.0**-24))
    angle = _upper_bits(second) * (2 * math.pi * 2.0**-24)
    numbers = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=1)[:, :size]
    return ops.reshape(numbers, (-1, *shape))


def uniform_of(numbers):
    """Turns numbers of N(0, 1) into uniform ones, in [0, 1), by their cumulative distribution."""
    # Rounded, the distribution reaches 1 at a number of 5.4.
    return ops.minimum((1 + ops.erf(numbers / 2**0.5)) / 2, 1 - 2.0**-24)


def threefry(first_key, second_key, first_counter, second_counter):
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, section 4.2): scrambles counters under keys.

    Args:
        first_key, second_key, first_counter, second_counter: uint32 tensors of shapes that broadcast.

    Returns:
        Two uint32 tensors of the broadcast shape.
    """
    keys = (first_key, second_key, ops.bitwise_xor(ops.bitwise_xor(first_key, second_key), np.uint32(_PARITY)))
    # No `ops.add`: on TensorFlow Keras takes (n, 1) for a bias, and adds it to the columns of (n, n).
    first, second = first_counter + first_key, second_counter + second_key
    for block in range(5):
        for bits in _ROTATIONS[block % 2]:
            first = first + second
            rotated = ops.bitwise_or(
                ops.left_shift(second, np.uint32(bits)), ops.right_shift(second, np.uint32(32 - bits))
            )
            second = ops.bitwise_xor(rotated, first)
        first = first + keys[(block + 1) % 3]
        second = second + keys[(block + 2) % 3] + np.uint32(block + 1)
    return first, second


def _upper_bits(words):
    return ops.cast(ops.right_shift(words, np.uint32(8)), "float32")
