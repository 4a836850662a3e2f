"""Compares precision, recall, density and coverage with the package prdc; writes results/metrics_speed.json.

python benchmarks/metrics_speed.py
"""

import time

import numpy as np
import prdc
from memory import peak_megabytes

from trilemma.evaluation import metrics
from trilemma.records import environment, update_results

NUM_POINTS, DIMENSIONS, ROUNDS = 10_000, 128, 3


def seconds(function, *arguments):
    """Seconds of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


random = np.random.default_rng(0)
real, generated = random.standard_normal((2, NUM_POINTS, DIMENSIONS))
metrics.neighbourhood_scores(real[:1000], generated[:1000])
before = peak_megabytes()
ours = [seconds(metrics.neighbourhood_scores, real, generated)]
# The peak of a process never falls, so ours comes first.
megabytes_added = peak_megabytes() - before
theirs = []
for _ in range(ROUNDS):
    theirs.append(seconds(prdc.compute_prdc, real, generated, 5))
    ours.append(seconds(metrics.neighbourhood_scores, real, generated))
row = {
    "command": "python benchmarks/metrics_speed.py",
    "num_points": NUM_POINTS,
    "dimensions": DIMENSIONS,
    "seconds": float(np.median(ours)),
    "seconds_prdc": float(np.median(theirs)),
    "speed_up": float(np.median(theirs) / np.median(ours)),
    "megabytes_added": megabytes_added,
}
update_results("metrics_speed", {"neighbourhood_scores": {**row, **environment()}})
print(row)
