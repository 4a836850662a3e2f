"""Scores real training images that are damaged in known ways; writes results/faults.json.

python benchmarks/faults.py mnist 0 1 2
python benchmarks/faults.py fashion_mnist 0 1 2

The numbers are seeds. A seed that is scored later joins those of the same data set.
"""

import sys

from trilemma.data import all_images, as_float, load_images
from trilemma.evaluation import faults, metrics, scoreboard
from trilemma.records import change_results, environment

NUM_IMAGES = 10_000
NUM_COMPARED = 2000  # damaged and test images whose pixels are compared with those of the copied training images


def flattened(images):
    """As many of the images as are compared, evenly spaced, as vectors of pixels."""
    return images[:: len(images) // NUM_COMPARED].reshape(NUM_COMPARED, -1)


def joined(known, data_set, seed, scores):
    """What the file holds, with the scores of one more seed: name of a fault -> dict."""
    runs = {name: known.get(data_set, {}).get("runs", {}).get(name, []) for name in scores}
    for name, found in scores.items():
        others = [run for run in runs[name] if run["seed"] != seed and run.keys() == found.keys()]
        runs[name] = sorted([*others, found], key=lambda run: run["seed"])
    seeds = [run["seed"] for run in runs["nothing"]]
    row = {
        "command": f"python benchmarks/faults.py {data_set} {' '.join(map(str, seeds))}",
        "num_images": NUM_IMAGES,
        "num_compared_with_training": NUM_COMPARED,
        "seeds": seeds,
        "faults": {name: scoreboard.summarise(each) for name, each in runs.items()},
        "runs": runs,
        **environment(),
    }
    return {**known, data_set: row}


if __name__ == "__main__":
    data_set, seeds = sys.argv[1], [int(word) for word in sys.argv[2:]]
    with all_images():
        images, labels = load_images(data_set)
        test_images = flattened(as_float(load_images(data_set, "test")[0]))
    for seed in seeds:
        damaged, scores = faults.damage(images, labels, NUM_IMAGES, seed), {}
        training = damaged["copies of training images"].reshape(NUM_IMAGES, -1)
        for name, faulty in damaged.items():
            found = scoreboard.score_images(faulty, data_set)
            found |= metrics.memorisation_scores(training, test_images, flattened(faulty))
            scores[name] = {key: value for key, value in found.items() if key != "num_images"} | {"seed": seed}
            print(data_set, name, {key: round(value, 3) for key, value in scores[name].items()}, flush=True)
        change_results("faults", lambda known, seed=seed, scores=scores: joined(known, data_set, seed, scores))
