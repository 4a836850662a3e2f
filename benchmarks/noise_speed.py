"""What it costs that image i of a seed does not depend on its batch: `generate` with both kinds of noise, in turns.

python benchmarks/noise_speed.py

Before, `keras.random.normal` drew one block for the whole batch; `noise.standard_normal` draws by image. Writes
results/noise_speed.json: the seconds of one over those of the other, median of the rounds.
"""

import time
from unittest import mock

import numpy as np

from trilemma import noise
from trilemma.records import environment, update_results
from trilemma.training import pretrained

BATCH_SIZE = 100
NUM_BATCHES = {"vae_mnist": 40, "dcgan_mnist": 20, "solver20_mnist": 1, "ddgan_mnist": 2}
ROUNDS = 15


def block_normal(seed, indices, draw, shape):
    """Standard normal numbers for a whole batch, from the seed and the draw, with a stateless seed of two numbers."""
    import tensorflow as tf

    seeds = tf.stack([tf.cast(seed, "int32") + tf.cast(indices[0], "int32"), tf.cast(draw, "int32")])
    return tf.random.stateless_normal((indices.shape[0], *shape), seeds)


def timer(name):
    """A function that draws and returns its seconds; compiled with the noise that is in place now."""
    model = pretrained.load_pretrained(name)
    model.generate(BATCH_SIZE, seed=0)

    def seconds():
        start = time.perf_counter()
        model.generate(BATCH_SIZE * NUM_BATCHES[name], seed=1)
        return time.perf_counter() - start

    return seconds


for name in NUM_BATCHES:
    by_image = timer(name)
    with mock.patch.object(noise, "standard_normal", block_normal):
        by_batch = timer(name)
    pairs = np.array([(by_image(), by_batch()) for _ in range(ROUNDS)])
    row = {
        "command": "python benchmarks/noise_speed.py",
        "seconds_ratio": float(np.median(pairs[:, 0] / pairs[:, 1])),
        "images_per_second": BATCH_SIZE * NUM_BATCHES[name] / float(np.median(pairs[:, 0])),
        "batch_size": BATCH_SIZE,
        "rounds": ROUNDS,
        **environment(),
    }
    update_results("noise_speed", {name: row})
    print(name, row, flush=True)
