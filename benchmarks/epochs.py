"""Scores a model after every epoch of its training; writes results/epochs.json.

python benchmarks/epochs.py vae_mnist 5
python benchmarks/epochs.py dcgan_mnist 6

The recipe is the shipped one except for the number of epochs. A run that was interrupted goes on.
"""

import dataclasses
import pathlib
import sys

import keras

from trilemma.evaluation import scoreboard
from trilemma.records import environment, read_results, update_results
from trilemma.training import recipes
from trilemma.training.train import discard_checkpoint, train

NUM_IMAGES = 1000


class ScoreEpochs(keras.callbacks.Callback):
    """Adds a row to the record of this run after every epoch."""

    def __init__(self, name, data_set, record):
        """Takes what every record holds."""
        super().__init__()
        self.name, self.data_set, self.record = name, data_set, record

    def on_epoch_end(self, epoch, logs=None):
        """Scores images from one fixed seed."""
        row = scoreboard.score_images(self.model.generate(NUM_IMAGES, seed=0), self.data_set)
        rows = read_results("epochs").get(self.name, {}).get("epochs", [])[:epoch]
        update_results("epochs", {self.name: {**self.record, "epochs": [*rows, {"epoch": epoch + 1, **row}]}})


name, num_epochs = sys.argv[1], int(sys.argv[2])
recipe = dataclasses.replace(recipes.get_recipe(name), epochs=num_epochs)
record = {"command": f"python benchmarks/epochs.py {name} {num_epochs}", "seed": 0, **environment()}
folder = pathlib.Path("build/epochs") / name
train(recipe, folder, verbose=2, callbacks=[ScoreEpochs(name, recipe.data_set, record)])
discard_checkpoint(folder)
