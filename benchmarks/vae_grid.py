"""Trains VAEs over a grid of latent sizes, with the KL as it should be and as published; writes results/vae_grid.json.

python benchmarks/vae_grid.py mnist 2 4 8 16 32 64 100
python benchmarks/vae_grid.py fashion_mnist 2 16 100
"""

import dataclasses
import pathlib
import sys

from trilemma import data
from trilemma.evaluation import scoreboard
from trilemma.records import environment, update_results
from trilemma.training import recipes
from trilemma.training.train import discard_checkpoint, train

EPOCHS = 5
NUM_IMAGES = 2000


def run(data_set, latent_size, beta, folder):
    """Trains and scores one VAE."""
    arguments = {"latent_size": latent_size, "beta": beta}
    recipe = dataclasses.replace(recipes.get_recipe(f"vae_{data_set}"), arguments=arguments, epochs=EPOCHS)
    model, history = train(recipe, folder, verbose=0)
    test_images, _ = data.load_images(data_set, "test")
    losses = model.evaluate(
        data.make_dataset(test_images, shuffle=False, drop_remainder=False), return_dict=True, verbose=0
    )
    return {
        "data_set": data_set,
        "latent_size": latent_size,
        "beta": beta,
        "epochs": EPOCHS,
        "training_seconds": sum(epoch["seconds"] for epoch in history),
        "elbo": -losses["reconstruction_loss"] - losses["kl_loss"],
        **losses,
        **scoreboard.score_images(model.generate(NUM_IMAGES, seed=0), data_set),
    }


def main():
    """Runs the grid that the command line names; every finished point is kept."""
    data_set, *latent_sizes = sys.argv[1:]
    for latent_size in map(int, latent_sizes):
        for kl, beta in [("summed", 1.0), ("averaged", 1 / latent_size)]:
            folder = pathlib.Path(f"build/grid/{data_set}_{latent_size}_{beta:.3g}")
            row = {"kl": kl, **run(data_set, latent_size, beta, folder), **environment()}
            command = f"python benchmarks/vae_grid.py {data_set} {latent_size}"
            update_results("vae_grid", {f"{data_set}_{latent_size}_{kl}": {"command": command, **row}})
            discard_checkpoint(folder)
            print(row, flush=True)


if __name__ == "__main__":
    main()
