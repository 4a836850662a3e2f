"""What makes a pass of the U-Net fast: each choice undone, beside the network as it is; writes results/pass_speed.json.

python benchmarks/pass_speed.py

Both are timed in turns, so that a busy machine slows both. The ratio of their operations (`peak.count_operations`) is
what one would predict if nothing but arithmetic took time.
"""

import contextlib
import time
from unittest import mock

from trilemma.diffusion import unet  # isort: skip  It chooses the kernels.
import keras
import numpy as np
import tensorflow as tf
from peak import convolution_peak, count_operations

from trilemma.records import environment, update_results

BATCH_SIZE, ROUNDS = 100, 15


def keras_normalisation():
    """The layer of Keras, which makes more passes over the feature maps."""
    return mock.patch.object(unet, "GroupNormalization", keras.layers.GroupNormalization)


def no_attention():
    """Convolutions alone."""
    return mock.patch.object(unet, "attention_block", lambda x: x)


def relu():
    """A cheaper activation."""
    activation = keras.layers.Activation
    return mock.patch.object(unet.layers, "Activation", lambda _: activation("relu"))


@contextlib.contextmanager
def bfloat16():
    """Half the bits, where the processor has instructions for them."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_global_policy("float32")


# Name -> what differs from the defaults of `compiled_pass`.
VARIANTS = {
    "normalisation layer of Keras": dict(context=keras_normalisation),
    "no attention": dict(context=no_attention),
    "ReLU in place of swish": dict(context=relu),
    "pixels not folded": dict(patch_size=1),
    "channels 56 and 88, no multiples of 16": dict(widths=(56, 88)),
    "channels 32 and 48": dict(widths=(32, 48)),
    "bfloat16": dict(context=bfloat16),
    "XLA": dict(jit_compile=True),
    "batches of 1": dict(batch_size=1),
    "batches of 10": dict(batch_size=10),
    "batches of 500": dict(batch_size=500),
}


def compiled_pass(context=contextlib.nullcontext, jit_compile=False, batch_size=BATCH_SIZE, **arguments):
    """A function that runs one warm pass and returns its seconds per image; operations per image."""
    with context():
        network = unet.build_unet((28, 28, 1), **arguments)
    images = tf.random.normal((batch_size, 28, 28, 1))
    timesteps = tf.fill((batch_size,), 100)
    run = tf.function(lambda x, t: network([x, t], training=False), jit_compile=jit_compile)
    run(images, timesteps)

    def seconds_per_image():
        start = time.perf_counter()
        run(images, timesteps).numpy()
        return (time.perf_counter() - start) / batch_size

    graph = tf.function(lambda x, t: network([x, t], training=False)).get_concrete_function(images, timesteps).graph
    return seconds_per_image, count_operations(graph) / batch_size


def main():
    """Measures every variant against the network as it is."""
    peak = convolution_peak()
    shipped, operations = compiled_pass()
    for name, settings in VARIANTS.items():
        variant, variant_operations = compiled_pass(**settings)
        pairs = np.array([(shipped(), variant()) for _ in range(ROUNDS)])
        seconds, variant_seconds = np.median(pairs, axis=0)
        row = {
            "command": "python benchmarks/pass_speed.py",
            "operations_ratio": variant_operations / operations,
            "seconds_ratio": np.median(pairs[:, 1] / pairs[:, 0]),
            "milliseconds_as_shipped": 1000 * seconds,
            "milliseconds": 1000 * variant_seconds,
            "share_of_peak_as_shipped": operations / seconds / peak,
            "share_of_peak": variant_operations / variant_seconds / peak,
            "peak_gigaflops": peak / 1e9,
            "rounds": ROUNDS,
            **environment(),
        }
        update_results("pass_speed", {f"{name}, {row['device']}": row})
        print(name, {key: round(value, 3) for key, value in row.items() if isinstance(value, float)}, flush=True)


if __name__ == "__main__":
    main()
