"""Quality, coverage and accuracy against the strength of guidance, and what a guided pass costs.

python benchmarks/guidance.py cddpm_mnist 0 1 2
python benchmarks/guidance.py cddpm_fashion_mnist 0 1 2

The numbers are seeds; those scored later join the others. Writes results/guidance.json.
"""

import sys
import time

import numpy as np

from trilemma.evaluation import scoreboard
from trilemma.records import change_results, environment
from trilemma.training import pretrained, recipes

NUM_IMAGES = 1000
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
BATCH_SIZE, NUM_BATCHES, ROUNDS = 100, 2, 7  # of the measured cost


def cost_of_guidance(model):
    """Seconds with guidance over seconds without, in turns: the median of the rounds."""
    labels = np.arange(BATCH_SIZE * NUM_BATCHES) % model.num_classes

    def seconds(guidance):
        start = time.perf_counter()
        model.generate(len(labels), labels, guidance, seed=0, batch_size=BATCH_SIZE)
        return time.perf_counter() - start

    for guidance in (0.0, 1.0):
        seconds(guidance)  # compiles
    return float(np.median([seconds(1.0) / seconds(0.0) for _ in range(ROUNDS)]))


def joined(known, name, seed, scores, cost):
    """What the file holds, with the scores of one more seed: strength -> scores."""
    weights = pretrained.pretrained_index()[recipes.get_recipe(name).weights_name]["sha256"]
    row = known.get(name, {})
    keeps = (row.get("weights_sha256"), row.get("num_images")) == (weights, NUM_IMAGES)
    runs = row.get("runs", {}) if keeps else {}
    runs = {key: [*(run for run in runs.get(key, []) if run["seed"] != seed), found] for key, found in scores.items()}
    runs = {key: sorted(each, key=lambda run: run["seed"]) for key, each in runs.items()}
    seeds = [run["seed"] for run in runs[str(STRENGTHS[0])]]
    row = {
        "command": f"python benchmarks/guidance.py {name} {' '.join(map(str, seeds))}",
        "weights_sha256": weights,
        "num_images": NUM_IMAGES,
        "seeds": seeds,
        "seconds_ratio": cost,
        "batch_size": BATCH_SIZE,
        "rounds": ROUNDS,
        "strengths": {key: scoreboard.summarise(each) for key, each in runs.items()},
        "runs": runs,
        **environment(),
    }
    return {**known, name: row}


if __name__ == "__main__":
    name, seeds = sys.argv[1], [int(word) for word in sys.argv[2:]]
    model, data_set = pretrained.load_pretrained(name), recipes.get_recipe(name).data_set
    cost = cost_of_guidance(model)
    print(name, f"a guided image takes {cost:.3f} times as long", flush=True)
    for seed in seeds:
        labels, scores = scoreboard.draw_labels(model, data_set, NUM_IMAGES, seed), {}
        for strength in STRENGTHS:
            images = model.generate(NUM_IMAGES, labels, strength, seed=seed)
            passes = model.passes_per_image * (2 if strength else 1)
            found = scoreboard.score_images(images, data_set, labels)
            scores[str(strength)] = {**found, "passes_per_image": passes, "seed": seed}
            print(name, seed, strength, {key: round(value, 3) for key, value in found.items()}, flush=True)
        change_results("guidance", lambda known, s=seed, found=scores: joined(known, name, s, found, cost))
