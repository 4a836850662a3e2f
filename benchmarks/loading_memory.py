"""Measures the memory that an epoch of training images adds to a process; writes results/loading_memory.json.

TRILEMMA_DATA=FOLDER python benchmarks/loading_memory.py

One process per variant: what loading the images and reading all of their batches once adds to the resident size, at
its peak. "floats" is how it was done before: float32 images in a tf.data.Dataset that shuffles them. The others read
uint8 images by `load_images`, `make_dataset` and what feeds `fit`. CIFAR-10 is measured where the folder holds it.
Every process first reads a few random images in the same way, so that no library is counted.
"""

import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np

from trilemma import backend, data
from trilemma.records import environment, update_results

BATCH_SIZE = 128
VARIANTS = {"floats": "mnist", "mnist": "mnist", "cifar10": "cifar10"}  # variant -> its data set


def megabytes(key):
    """The resident size of this process, "VmRSS", or its largest, "VmHWM": of the process alone, unlike ru_maxrss."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(key)]
    return int(line.split()[1]) / 1024


def float_batches(images):
    """Batches as they were made before."""
    import tensorflow as tf

    images = images.astype("float32") / 255.0
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images))
    return dataset.batch(BATCH_SIZE, drop_remainder=True).prefetch(1).with_options(options)


def batches_of(variant, images):
    """What feeds `fit`."""
    if variant == "floats":
        return float_batches(images)
    return backend.fit_data(data.make_dataset(images, batch_size=BATCH_SIZE))


def measure(variant):
    """Reads an epoch; returns a row without versions."""
    shape = (2 * BATCH_SIZE, *data.get_data_set(VARIANTS[variant]).image_shape)
    for _ in batches_of(variant, np.random.default_rng(0).integers(256, size=shape, dtype="uint8")):
        pass
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # From here on the peak counts anew.
    before = megabytes("VmRSS")
    images, _ = data.load_images(VARIANTS[variant])
    after_loading, count = megabytes("VmRSS"), len(images)
    batches = batches_of(variant, images)
    del images  # The batches keep what they need.
    for _ in batches:
        pass
    return {
        "data_set": VARIANTS[variant],
        "num_images": count,
        "megabytes_before": before,
        "megabytes_added": megabytes("VmHWM") - before,
        "megabytes_added_by_loading": after_loading - before,
        "megabytes_of_uint8": count * math.prod(shape[1:]) / 2**20,
    }


def has(data_set):
    """Whether the folder TRILEMMA_DATA holds a data set."""
    folder = pathlib.Path(os.environ.get("TRILEMMA_DATA") or ".")
    return (folder / f"{data_set}.npz").exists() or (folder / data_set).is_dir()


def main():
    """Measures every variant in a process of its own."""
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1])))
        return
    rows = {}
    for variant, data_set in VARIANTS.items():
        if variant == "cifar10" and not has(data_set):
            continue
        run = subprocess.run([sys.executable, __file__, variant], check=True, stdout=subprocess.PIPE, text=True)
        rows[variant] = {"command": "python benchmarks/loading_memory.py", **json.loads(run.stdout.splitlines()[-1])}
        if data_set == "mnist":
            rows[variant]["ratio_to_floats"] = rows[variant]["megabytes_added"] / rows["floats"]["megabytes_added"]
        print(variant, rows[variant], flush=True)
    update_results("loading_memory", {variant: row | environment() for variant, row in rows.items()})


if __name__ == "__main__":
    main()
