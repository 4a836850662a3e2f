"""Bounds log p(x) of the test images under a VAE, in nats; writes results/likelihood.json.

python benchmarks/likelihood.py vae_mnist vae_fashion_mnist

Grey values are read as probabilities, and every image is binarised once per bound (dynamic binarisation).
"""

import math
import sys

import keras
import numpy as np

from trilemma import data
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes

LATENTS_PER_BATCH = 10_000

for name in sys.argv[1:]:
    images = data.as_float(data.load_images(recipes.get_recipe(name).data_set, "test")[0])
    model = pretrained.load_pretrained(name)
    for num_samples in (1, 50, 500):
        model.seed_generator.state.assign([0, 0])
        batch_size = min(500, LATENTS_PER_BATCH // num_samples)
        batches = data.make_dataset(images, batch_size=batch_size, shuffle=False, drop_remainder=False)
        # Not compiled: on JAX that would give every batch the same random numbers.
        bounds = [model.importance_weighted_bound(batch, num_samples) for batch in batches]
        bounds = np.concatenate([keras.ops.convert_to_numpy(each) for each in bounds])
        row = {
            "command": f"python benchmarks/likelihood.py {name}",
            "num_images": len(bounds),
            "num_samples": num_samples,
            "seed": 0,
            "latent_size": model.latent_size,
            "nats": float(bounds.mean()),
            "standard_error": float(bounds.std() / math.sqrt(len(bounds))),
        }
        update_results("likelihood", {f"{name}_{num_samples}": {**row, **environment()}})
        print(name, row, flush=True)
