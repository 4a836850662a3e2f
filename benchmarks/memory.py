"""Measures the memory that `generate(10_000)` adds to the process; writes results/memory.json.

python benchmarks/memory.py vae
python benchmarks/memory.py dcgan
python benchmarks/memory.py ddpm

One process per model, since the peak of a process never falls. The networks are untrained. The DDPM runs with T = 4,
and then draws one batch with the T of its recipe, so that the peak covers a long loop as well as many batches.
"""

import dataclasses
import resource
import sys

from trilemma.records import environment, update_results
from trilemma.training import recipes

NUM_IMAGES = 10_000


def peak_megabytes():
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    (name,) = sys.argv[1:]
    recipe = recipes.get_recipe(f"{name}_mnist")
    model = recipe.build()
    changes = {"num_timesteps": 4} if name == "ddpm" else {}
    short_model = dataclasses.replace(recipe, arguments=recipe.arguments | changes).build()
    before = peak_megabytes()
    images = short_model.generate(NUM_IMAGES, seed=0)
    model.generate(100, seed=0)
    row = {
        "command": f"python benchmarks/memory.py {name}",
        "num_images": len(images),
        "passes_per_image": short_model.passes_per_image,
        "passes_per_image_of_one_batch": model.passes_per_image,
        "megabytes_before": before,
        "megabytes_added": peak_megabytes() - before,
    }
    update_results("memory", {name: {**row, **environment()}})
    print(name, row)
