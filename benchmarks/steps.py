"""Scores the trained DDPMs with every sampler over a growing number of passes; writes results/steps.json.

python benchmarks/steps.py mnist
python benchmarks/steps.py fashion_mnist

Rows of the same weights, evaluator and noise are kept, so that an interrupted run goes on.
"""

import itertools
import sys

from trilemma import device
from trilemma.evaluation import scoreboard
from trilemma.evaluation.evaluators import evaluator_of
from trilemma.records import environment, read_results, update_results
from trilemma.training import pretrained

NUM_IMAGES = 1000
STEPS = (5, 10, 20)
MORE_STEPS = {"DDIM": (50, 200)}  # of the samplers whose way to the full number of passes is a question
# Name -> arguments of `use_sampler`.
SAMPLERS = {
    "DDIM": dict(name="ddim"),
    "DDIM, power 2": dict(name="ddim", power=2.0),
    "DDIM, eta 1": dict(name="ddim", eta=1.0),
    "DPM-Solver++": dict(name="dpm_solver"),
    "DPM-Solver++, eta 1": dict(name="dpm_solver", eta=1.0),
    "DPM-Solver++, eta 1, power 0.8": dict(name="dpm_solver", eta=1.0, power=0.8),
}


def main():
    """Measures the rows of the data set that the command line names."""
    (data_set,) = sys.argv[1:]
    device.setup_device()
    model = pretrained.load_pretrained(f"ddpm_{data_set}")
    index = pretrained.pretrained_index()
    files = {file: index[file]["sha256"] for file in (*evaluator_of(data_set).weights, f"ddpm_{data_set}")}
    runs = [*itertools.product(STEPS, SAMPLERS), *((steps, name) for name in MORE_STEPS for steps in MORE_STEPS[name])]
    for num_steps, sampler in runs:
        arguments = SAMPLERS[sampler]
        name = f"{data_set}, {sampler}, {num_steps}"
        known = read_results("steps").get(name, {})
        if (known.get("files_sha256"), known.get("noise")) != (files, scoreboard.NOISE):
            model.use_sampler(num_steps=num_steps, **arguments)
            row = scoreboard.score(model, data_set, NUM_IMAGES)
            del row["images_per_second"]  # Of a single short run; benchmarks/speed.py measures speed.
            row |= {
                "data_set": data_set,
                "sampler": sampler,
                "files_sha256": files,
                "command": f"python benchmarks/steps.py {data_set}",
            }
            update_results("steps", {name: row | environment()})
            print(name, row, flush=True)


if __name__ == "__main__":
    main()
