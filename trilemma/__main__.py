"""Command line: train or score the shipped models. `python -m trilemma --help`."""

import argparse
import json
import pathlib
import re
import sys
import warnings

import numpy as np

from trilemma import data, device, pretrained, recipes, records, scoreboard


def main():
    """Parses the command line and runs one command."""
    parser = argparse.ArgumentParser(prog="python -m trilemma", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train_parser = commands.add_parser("train", help="train models by their recipes and write their weights")
    train_parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(recipes.RECIPES))
    train_parser.add_argument("--data-dir", help="folder with <data set>.npz")
    train_parser.add_argument("--verbose", default="auto", help="auto, 1 (bars) or 2 (a line per epoch)")
    score_parser = commands.add_parser("score", help="score shipped models and write results/scoreboard_<n>.json")
    score_parser.add_argument("names", nargs="*", metavar="NAME", help="all models and both bounds if none is named")
    score_parser.add_argument("--num-images", type=int, default=1000)
    score_parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    commands.add_parser("list", help="list the shipped weights")
    colab_parser = commands.add_parser("colab", help="point the notebooks' badges and set-up cells to a repository")
    colab_parser.add_argument("repository", metavar="OWNER/NAME")
    arguments = parser.parse_args()
    try:
        if arguments.command in ("train", "score"):
            strategy = device.setup_device()
            print(device.describe_device(strategy), file=sys.stderr)
        if arguments.command == "train":
            verbose = arguments.verbose if arguments.verbose == "auto" else int(arguments.verbose)
            # Every name is looked up before the first training starts.
            for name in [name for name in arguments.names if recipes.get_recipe(name)]:
                with strategy.scope():
                    train(name, arguments.data_dir, verbose)
        elif arguments.command == "score":
            score(arguments.names, arguments.num_images, arguments.seeds)
        elif arguments.command == "list":
            print(weights_table())
        else:
            stamp_repository(arguments.repository)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))


def train(name, data_dir, verbose):
    """Trains one model; writes its weights, and its history to results/training.json."""
    recipe = recipes.get_recipe(name)
    folder = pathlib.Path("build/checkpoints") / name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", data.SampleWarning)
            model, history = recipes.train(recipe, folder, data_dir, verbose)
    except data.SampleWarning as warning:
        raise ValueError(f"{warning} Weights that ship are trained on all images.") from warning
    minutes = round(sum(epoch["seconds"] for epoch in history) / 60, 1)
    command = f"python -m trilemma train {name}"
    pretrained.save_pretrained(name, model, command=command, minutes=minutes, device=device.device_name())
    record = {"command": command, "minutes": minutes, "history": history, **records.environment()}
    if recipe.labelled:
        scoreboard.save_reference(recipe.data_set, data_dir)
        images, labels = data.load_images(recipe.data_set, "test", data_dir)
        _, predicted = pretrained.load_pretrained(name).embed(images)
        record["test_accuracy"], record["num_test_images"] = float(np.mean(predicted == labels)), len(labels)
        print(f"{name}: accuracy {record['test_accuracy']:.4f} on {len(labels)} test images")
    else:
        records.save_epoch_samples(name, folder)
    records.update_results("training", {name: record})


def score(names, num_images, seeds):
    """Scores models and the bounding rows; updates results/scoreboard_<num_images>.json after every seed.

    One file per number of images, since scores at different numbers must not be compared. A row keeps its runs with
    other seeds, so that a long scoring can be done seed by seed, but only those of the same weights and sampler. The
    machines may differ; every run names its own.
    """
    bounds = {"real": scoreboard.score_real, "gaussian": scoreboard.score_gaussian}
    known = [f"{kind}_{data_set}" for data_set in data.DATA_SETS for kind in bounds]
    known += [name for name in pretrained.list_pretrained() if not name.startswith("classifier")]
    for name in names:
        if name not in known:
            raise ValueError(f"unknown row {name!r}; expected one of {known}.")
    # Modes need more images than distances do.
    for name in names or [name for name in known if not name.endswith("stacked_mnist")]:
        kind, _, data_set = name.partition("_")
        if kind not in bounds:
            data_set = recipes.get_recipe(pretrained.weights_name(name)).data_set
        index = pretrained.pretrained_index()
        classifier = f"classifier_{data_set.removeprefix('stacked_')}"
        weights = pretrained.weights_name(name)
        origin = {
            "files_sha256": {file: index[file]["sha256"] for file in (classifier, weights) if file in index},
            "sampler": pretrained.SAMPLERS[kind][1] if kind in pretrained.SAMPLERS else None,
        }
        for seed in seeds:
            if kind in bounds:
                run = bounds[kind](data_set, num_images, seed)
            else:
                model = pretrained.load_pretrained(name)
                run = scoreboard.score(model, data_set, num_images, seed, progress=True)
                del run["images_per_second"]  # It differs by machine; benchmarks/speed.py measures all on one.
            run |= records.environment()
            row = records.read_results(f"scoreboard_{num_images}").get(name, {"runs": []})
            keeps = all(row.get(key) == value for key, value in origin.items())
            runs = {each["seed"]: each for each in row["runs"] if keeps}
            runs = [each for _, each in sorted({**runs, seed: run}.items())]
            row = {
                **scoreboard.summarise(runs),
                "data_set": data_set,
                **origin,
                "training_minutes": training_minutes(weights),
                "runs": runs,
            }
            words = " ".join(map(str, row["seeds"]))
            row["command"] = f"python -m trilemma score {name} --num-images {num_images} --seeds {words}"
            records.update_results(f"scoreboard_{num_images}", {name: row})
            print(name, json.dumps(run, indent=1), flush=True)


def training_minutes(name):
    """The minutes that went into shipped weights, their teacher's included; None for the bounding rows."""
    entry = pretrained.pretrained_index().get(name)
    if entry is None:
        return None
    recipe = recipes.get_recipe(name)
    return entry["minutes"] + (training_minutes(f"{recipe.teacher}_{recipe.data_set}") if recipe.teacher else 0)


def stamp_repository(repository):
    """Replaces the repository that pyproject.toml names, there and in the README and the notebooks."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"repository is {repository!r}; expected OWNER/NAME.")
    project = pathlib.Path("pyproject.toml")
    known = re.search(r"github\.com/([\w.-]+/[\w.-]+)\"", project.read_text())[1]
    for path in [project, pathlib.Path("README.md"), *pathlib.Path("notebooks").glob("*.ipynb")]:
        text = path.read_text()
        for before in ("github.com/", "/github/"):
            text = text.replace(before + known, before + repository)
        path.write_text(text)


def weights_table():
    """Every shipped weights file as a Markdown table."""
    rows = [{"file": name, **entry} for name, entry in pretrained.pretrained_index().items()]
    columns = {"file": "", "bytes": ",d", "parameters": ",d", "minutes": ".1f", "command": "", "sha256": ".12"}
    return records.markdown_table(rows, columns)


if __name__ == "__main__":
    main()
