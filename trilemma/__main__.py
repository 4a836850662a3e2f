"""Command line: train, score and draw from the models. `python -m trilemma --help`."""

import argparse
import dataclasses
import json
import pathlib
import sys

import keras
import numpy as np

from trilemma import device, files, plotting, records
from trilemma.data import DATA_SETS, all_images, folders, load_images
from trilemma.evaluation import evaluators, rows
from trilemma.training import pretrained, recipes
from trilemma.training.train import discard_checkpoint, minutes_by_device, train


def main():
    """Parses the command line and runs one command."""
    parser = argparse.ArgumentParser(prog="python -m trilemma", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    names = f"<family>_<data set>: one of {', '.join(recipes.RECIPES)} and one of {', '.join(DATA_SETS)}"

    train_parser = commands.add_parser("train", help="train models by their recipes; replaces the weights")
    train_parser.add_argument("names", nargs="+", metavar="NAME", help=names)
    train_parser.add_argument("--epochs", type=int, help="other than in the recipe")
    train_parser.add_argument("--data-dir", help="folder with <data set>.npz or <data set>/train/<class>/")
    train_parser.add_argument(
        "--precision",
        default="float32",
        choices=device.PRECISIONS,
        help="that the training computes in; weights stay float32",
    )
    train_parser.add_argument(
        "--verbose",
        default="auto",
        choices=("auto", "0", "1", "2"),
        help="auto, 0 (nothing), 1 (bars) or 2 (a line per epoch)",
    )
    train_parser.set_defaults(run=run_train)

    score_parser = commands.add_parser("score", help="score models and write results/scoreboard_<n>.json")
    score_parser.add_argument("names", nargs="*", metavar="NAME", help="all models and both bounds if none is named")
    score_parser.add_argument("--num-images", type=int, default=1000)
    score_parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    score_parser.add_argument(
        "--sample", action="store_true", help="bounds of the 5,000 images that ship, as their rows then say"
    )
    score_parser.set_defaults(run=run_score)

    generate_parser = commands.add_parser("generate", help="draw images and write them as PNG files")
    generate_parser.add_argument("name", metavar="NAME", help="one of the models that list prints")
    generate_parser.add_argument("--num-images", type=int, help="64, or as many as there are labels")
    generate_parser.add_argument("--seed", type=int, default=0)
    generate_parser.add_argument(
        "--labels", type=int, nargs="+", help="of models with classes: one for all images, or one for each"
    )
    generate_parser.add_argument("--guidance", type=float, help="how much the labels decide, from 0; of cddpm")
    generate_parser.add_argument("--batch-size", type=int, default=100, help="images drawn at once; changes no image")
    generate_parser.add_argument("--out", default="generated", help="folder for the files")
    generate_parser.set_defaults(run=run_generate)

    commands.add_parser("list", help="list the models and their weights")
    arguments = parser.parse_args()
    try:
        if arguments.command == "list":
            return run_list(arguments)
        strategy = device.setup_device()
        print(device.describe_device(strategy), file=sys.stderr)
        with strategy.scope():
            arguments.run(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; a training goes on after its last whole epoch by the same command\n")


def run_train(arguments):
    """Trains models; writes their weights, and their histories to results/training.json."""
    verbose = arguments.verbose if arguments.verbose == "auto" else int(arguments.verbose)
    # Every name is looked up, and every folder tried, before the first training starts.
    chosen = [recipes.get_recipe(name) for name in arguments.names]
    for recipe in chosen:
        if recipe.weights is not None:
            raise ValueError(f"{recipe.name} draws with the weights of {recipe.weights_name}; train that one.")
    if arguments.epochs is not None:
        if arguments.epochs < 1:
            raise ValueError(f"--epochs is {arguments.epochs}; expected at least 1.")
        chosen = [dataclasses.replace(recipe, epochs=arguments.epochs) for recipe in chosen]
    pretrained.writable_folder()
    check_results_folder()
    for recipe in chosen:
        train_and_save(recipe, arguments.data_dir, verbose, precision=arguments.precision)


def check_results_folder():
    """Refuses a results folder that cannot be written, before hours of work."""
    if not files.is_writable(records.RESULTS_DIR):
        raise ValueError(f"{records.RESULTS_DIR.resolve()} cannot be written; start in a folder where you may write.")


def train_and_save(recipe, data_dir, verbose, callbacks=(), precision="float32"):
    """Trains one recipe and saves what came of it; the checkpoint goes last. The rest is as in `training.train`."""
    folder = pathlib.Path("build/checkpoints") / recipe.name
    with all_images():
        model, history = train(recipe, folder, data_dir, verbose, callbacks, precision)
    minutes = minutes_by_device(history)
    changed = "" if recipe == recipes.get_recipe(recipe.name) else f" --epochs {recipe.epochs}"
    changed += "" if precision == "float32" else f" --precision {precision}"
    backend_prefix = "KERAS_BACKEND=jax " if keras.backend.backend() == "jax" else ""
    command = f"{backend_prefix}python -m trilemma train {recipe.name}{changed}"
    description = {"command": command, "minutes": minutes, "epoch": len(history), "recipe": recipe.describe()}
    weights_folder = pretrained.save_pretrained(recipe.name, model, **description)
    print(f"weights: {weights_folder / recipe.name}.safetensors")
    record = {**description, "history": history, **records.environment()}
    if not recipe.draws:
        evaluators.save_reference(recipe.data_set, recipe.family, data_dir)
        images, labels = load_images(recipe.data_set, "test", data_dir)
        _, predicted = pretrained.load_pretrained(recipe.name).embed(images)
        record["test_accuracy"], record["num_test_images"] = float(np.mean(predicted == labels)), len(labels)
        print(f"{recipe.name}: accuracy {record['test_accuracy']:.4f} on {len(labels)} test images")
    else:
        records.save_epoch_samples(recipe.name, folder)
    records.update_results("training", {recipe.name: record})
    discard_checkpoint(folder)


def run_score(arguments):
    """Scores models and the bounding rows; updates results/scoreboard_<num_images>.json after every seed."""
    check_results_folder()
    known = rows.known_rows()
    models = [name for name in arguments.names if name in known and known[name].recipe is not None]
    if arguments.sample and models:
        raise ValueError(f"--sample is for bounds; {models[0]} is scored against features of all images.")
    for name in arguments.names:
        if name not in known:
            raise ValueError(f"unknown row {name!r}; expected one of {list(known)}.")
    for name in arguments.names or [name for name, row in known.items() if row.scored_by_default()]:
        for seed in arguments.seeds:
            run = known[name].score(arguments.num_images, seed, arguments.sample)
            print(name, json.dumps(run, indent=1), flush=True)


def run_generate(arguments):
    """Draws images; writes each as a PNG file, and all as one sheet."""
    if not recipes.get_recipe(arguments.name).draws:
        raise ValueError(f"{arguments.name} tells images apart, and draws none.")
    out = pathlib.Path(arguments.out)
    if not files.is_writable(out):
        raise ValueError(f"--out is {arguments.out!r}; expected a folder that can be written.")
    model, labels = pretrained.load_pretrained(arguments.name), arguments.labels
    num_images = arguments.num_images
    if labels is not None and len(labels) == 1:
        labels = labels[0]
    elif labels is not None and num_images is None:
        num_images = len(labels)
    images = model.generate(
        64 if num_images is None else num_images,
        labels,
        arguments.guidance,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        progress=True,
    )
    older = len(list(out.glob(f"{arguments.name}_*.png")))
    for number, image in enumerate(np.round(images * 255).astype("uint8")):
        folders.save_image(out / f"{arguments.name}_{number:05d}.png", image)
    sheet = plotting.tile_images(images, int(np.ceil(len(images) ** 0.5)))
    folders.save_image(out / f"{arguments.name}_sheet.png", np.round(sheet * 255).astype("uint8"))
    print(f"{len(images)} images and {arguments.name}_sheet.png in {out.resolve()}")
    if older:
        print(f"{older} pictures of {arguments.name} were there before; those of the same numbers are replaced.")


def run_list(arguments):
    """Prints every model that can be loaded, and the weights behind them."""
    print(f"models: {', '.join(pretrained.list_pretrained())}\n")
    print(pretrained.weights_table())


if __name__ == "__main__":
    main()
