"""Bounds log p(x) of the test images under a VAE, in nats; writes results/likelihood.json.

python benchmarks/likelihood.py vae_mnist vae_fashion_mnist

Grey values are read as probabilities, and every image is binarised once per bound (dynamic binarisation).
"""

import math
import sys

import numpy as np
import tensorflow as tf

from trilemma import data, pretrained, recipes
from trilemma.records import environment, update_results

LATENTS_PER_BATCH = 10_000

for name in sys.argv[1:]:
    images, _ = data.load_images(recipes.get_recipe(name).data_set, "test")
    model = pretrained.load_pretrained(name)
    for num_samples in (1, 50, 500):
        model.seed_generator.state.assign([0, 0])
        bound = tf.function(lambda batch, k=num_samples, model=model: model.importance_weighted_bound(batch, k))
        batch_size = min(500, LATENTS_PER_BATCH // num_samples)
        batches = data.make_dataset(images, batch_size=batch_size, shuffle=False, drop_remainder=False)
        bounds = np.concatenate([bound(batch) for batch in batches])
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
