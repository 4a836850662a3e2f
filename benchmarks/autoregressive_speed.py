"""How much faster a PixelCNN draws with caches than by a full pass per pixel, and whether the pixels are the same.

python benchmarks/autoregressive_speed.py pixelcnn_binary_mnist pixelcnn_mnist

Both are compiled, and draw with the same weights from the same noise, in turns. Without weights that ship they are
random ones, which cost as much. Of the full passes a few are timed (`passes_timed`), since all would take minutes; they
cost the same whatever the pixel, so the ratio counts each of them for as many as an image needs (`passes_per_image`).

Pixels are compared in one full pass: `differing_pixels` counts those of the cached images that it would draw otherwise
from the same noise, given the pixels before them. None: by induction these are the images of all full passes. Writes
results/autoregressive_speed.json.
"""

import os
import sys
import time

import numpy as np
from keras import ops

from trilemma import backend, noise
from trilemma.models import pixelcnn
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes

BATCH_SIZE, PASSES_TIMED, ROUNDS = 100, 4, 3


def model_of(name):
    """The model, and whether its weights ship."""
    if name in pretrained.list_pretrained():
        return pretrained.load_pretrained(name), True
    model, random = recipes.get_recipe(name).build(), np.random.default_rng(0)
    model.ema_network.set_weights([0.1 * random.standard_normal(each.shape) for each in model.ema_network.weights])
    return model, False


def timer(model, function, uniform):
    """A function that draws and returns its seconds and images; compiled and warm."""
    compiled = backend.compile_function(function, model.variables, False)
    compiled(uniform)

    def seconds_and_images():
        start = time.perf_counter()
        images = ops.convert_to_numpy(compiled(uniform))
        return time.perf_counter() - start, images

    return seconds_and_images


def measure(name):
    """One record."""
    model, trained = model_of(name)
    uniform = noise.uniform_of(noise.standard_normal(0, np.arange(BATCH_SIZE), 0, model.image_shape))
    cached = timer(model, lambda uniform: pixelcnn.sample_by_caches(model.ema_network, uniform), uniform)
    full = timer(model, lambda uniform: pixelcnn.sample_by_full_passes(model, uniform, PASSES_TIMED), uniform)
    pairs = np.array([(full()[0] * model.passes_per_image / PASSES_TIMED, cached()[0]) for _ in range(ROUNDS)])
    images = cached()[1]
    again = ops.convert_to_numpy(pixelcnn.draw_pixels(model(images), uniform))
    return {
        "command": f"python benchmarks/autoregressive_speed.py {name}",
        "trained": trained,
        "seconds_ratio": float(np.median(pairs[:, 0] / pairs[:, 1])),
        "images_per_second_by_caches": BATCH_SIZE / float(np.median(pairs[:, 1])),
        "images_per_second_by_full_passes": BATCH_SIZE / float(np.median(pairs[:, 0])),
        "passes_timed": PASSES_TIMED,
        "passes_per_image": model.passes_per_image,
        "differing_pixels": int(np.sum(np.abs(again - images) > 0.5 / (model.levels - 1))),
        "pixels": images.size,
        "batch_size": BATCH_SIZE,
        "rounds": ROUNDS,
        "cores_used": len(os.sched_getaffinity(0)),
        **environment(),
    }


for name in sys.argv[1:]:
    row = measure(name)
    update_results("autoregressive_speed", {name: row})
    print(name, row, flush=True)
