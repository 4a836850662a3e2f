"""log p(x) of the test images, or bounds on it, in nats; writes results/likelihood.json.

python benchmarks/likelihood.py vae_mnist vae_fashion_mnist pixelcnn_binary_mnist pixelcnn_mnist ddpm_mnist

A VAE and a PixelCNN of two levels read grey values as probabilities, and binarise every image once (dynamic
binarisation); a PixelCNN of 256 levels and a DDPM take them as they are, and their bits per pixel are those of 8-bit
images.
"""

import math
import sys

from trilemma import data
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes

LATENTS_PER_BATCH = 10_000

for name in sys.argv[1:]:
    images = data.load_images(recipes.get_recipe(name).data_set, "test")[0]
    model = pretrained.load_pretrained(name)
    estimates, samples_codes = {"": {}}, hasattr(model, "latent_size")
    if samples_codes:
        estimates = {f"_{k}": dict(num_samples=k, batch_size=min(500, LATENTS_PER_BATCH // k)) for k in (1, 50, 500)}
    for suffix, settings in estimates.items():
        nats = model.log_likelihood(images, seed=0, **settings)
        row = {
            "command": f"python benchmarks/likelihood.py {name}",
            "likelihood": model.likelihood,
            "num_images": len(nats),
            "seed": 0,
            "nats": float(nats.mean(dtype="float64")),
            "standard_error": float(nats.std(dtype="float64") / math.sqrt(len(nats))),
            **settings,
        }
        if samples_codes:
            row["latent_size"] = model.latent_size
        else:
            row["bits_per_pixel"] = -row["nats"] / math.log(2) / images[0].size
        update_results("likelihood", {f"{name}{suffix}": {**row, **environment()}})
        print(name, row, flush=True)
