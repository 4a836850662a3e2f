"""Trains models and scores them on the way: quality against images seen and seconds; writes results/epochs.json.

python benchmarks/epochs.py vae_mnist dcgan_mnist  # by their recipes; saves the weights, as `python -m trilemma train`
python benchmarks/epochs.py gan_mnist --seed 1  # from other initial weights; saves none
python benchmarks/epochs.py vae_mnist --epochs 5 --every 1  # a shorter training, scored after every epoch; saves none
python benchmarks/epochs.py pixelcnn_mnist --precision bfloat16  # computes in it; also in what is scored on the way

A training that was interrupted goes on. A row holds the images seen and the seconds of the training, without those of
scoring; the first epoch's hold those of compiling. On JAX, prefix KERAS_BACKEND=jax.
"""

import argparse
import dataclasses
import json
import pathlib

import keras

from trilemma import backend, device
from trilemma.__main__ import train_and_save
from trilemma.data import DATA_SETS, all_images
from trilemma.evaluation import scoreboard
from trilemma.records import environment, read_results, update_results
from trilemma.training import recipes
from trilemma.training.train import discard_checkpoint, train

NUM_IMAGES = {"features": (2000, 10_000), "modes": (26_000, 26_000)}  # evaluator -> scored on the way, and in the end
GROWTH = 1.5  # of the distance between the epochs that are scored
FOLDER = pathlib.Path("build/checkpoints")  # as of `python -m trilemma train`


def is_scored(epoch, every=None):
    """Whether an epoch, from 1, is scored: every so many, or 1, 2, 3, 5, 8, 11, 17, ... so that late ones are rare."""
    return epoch % every == 0 if every else epoch in {round(GROWTH**power) for power in range(40)}


class ScoreEpochs(keras.callbacks.Callback):
    """Adds a row to the record of a run after some of its epochs, and one with more images in the end."""

    def __init__(self, key, recipe, folder, every, record):
        """Takes the name of the run in the file, where its history lies, and what every record holds."""
        super().__init__()
        self.key, self.recipe, self.folder, self.every, self.record = key, recipe, folder, every, record
        self.num_images, self.num_final = NUM_IMAGES[DATA_SETS[recipe.data_set].evaluator]

    def on_epoch_end(self, epoch, logs=None):
        """Scores images from one fixed seed."""
        if is_scored(epoch + 1, self.every):
            self._add_row(epoch + 1, self.num_images)

    def on_train_end(self, logs=None):
        """Scores as many images as the scoreboard does."""
        self._add_row(self.recipe.epochs, self.num_final)

    def _add_row(self, epoch, num_images):
        history = json.loads((self.folder / f"epoch_{epoch:03d}.json").read_text())
        labels = scoreboard.draw_labels(self.model, self.recipe.data_set, num_images)
        images = self.model.generate(num_images, labels, seed=0, batch_size=1000 if backend.accelerators() else 100)
        row = {
            "epoch": epoch,
            "images_seen": sum(each["images"] for each in history),
            "seconds": sum(each["seconds"] for each in history),
            "passes_per_image": self.model.passes_per_image,
            **scoreboard.score_images(images, self.recipe.data_set, labels),
        }
        rows = read_results("epochs").get(self.key, {}).get("epochs", [])
        rows = [each for each in rows if (each["epoch"], each["num_images"]) < (epoch, num_images)]
        update_results("epochs", {self.key: {**self.record, "epochs": [*rows, row]}})
        print(self.key, row, flush=True)


def main():
    """Trains what the command line names, one after the other; what is done stays done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--every", type=int)
    parser.add_argument("--precision", choices=device.PRECISIONS, default="float32")
    arguments = parser.parse_args()
    device.setup_device()
    defaults = vars(parser.parse_args(["NAME"]))
    given = {key: value for key, value in vars(arguments).items() if key != "names" and value != defaults[key]}
    options = "".join(f" --{key} {value}" for key, value in given.items())
    prefix = "KERAS_BACKEND=jax " if keras.backend.backend() == "jax" else ""
    chosen = [recipes.get_recipe(name) for name in arguments.names]
    for recipe in chosen:
        if not recipe.draws:
            raise ValueError(f"{recipe.name} draws no images to score; train it by python -m trilemma train.")
    for recipe in chosen:
        changes = {key: given[key] for key in ("seed", "epochs") if key in given}
        name, changed = recipe.name, dataclasses.replace(recipe, **changes)
        key = name + (f", seed {changed.seed}" if "seed" in given else "")
        command = f"{prefix}python benchmarks/epochs.py {name}{options}"
        record = {"command": command, "seed": changed.seed, **environment()}
        folder = FOLDER / name
        if changes:  # Whoever asks for a seed or a number of epochs, even the recipe's own, keeps the weights.
            folder = FOLDER / f"{key.replace(', ', '_').replace(' ', '_')}_{changed.epochs}_epochs"
        options_of_fit = dict(verbose=2, callbacks=[ScoreEpochs(key, changed, folder, arguments.every, record)])
        if not changes:
            train_and_save(recipe, None, **options_of_fit, precision=arguments.precision)
            continue
        with all_images():
            train(changed, folder, **options_of_fit, precision=arguments.precision)
        discard_checkpoint(folder)


if __name__ == "__main__":
    main()
