"""Asks whether generated images lie closer to the training images than unseen ones; writes results/memorisation.json.

python benchmarks/memorisation.py ddpm_mnist vae_mnist
"""

import sys

from trilemma import data
from trilemma.evaluation import metrics
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes

NUM_IMAGES = 1000

for name in sys.argv[1:]:
    data_set = recipes.get_recipe(name).data_set
    training, test = (data.as_float(data.load_images(data_set, split)[0]) for split in ("train", "test"))
    generated = pretrained.load_pretrained(name).generate(NUM_IMAGES, seed=0, progress=True)
    row = {
        "command": f"python benchmarks/memorisation.py {name}",
        "num_images": NUM_IMAGES,
        "num_training_images": len(training),
        "num_test_images": len(test),
        "seed": 0,
        **metrics.memorisation_scores(*(images.reshape(len(images), -1) for images in (training, test, generated))),
        **environment(),
    }
    update_results("memorisation", {name: row})
    print(name, row)
