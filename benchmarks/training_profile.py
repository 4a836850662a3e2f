"""Where the time of a training step of the DDPM goes, by TensorFlow's profiler; writes results/training_profile.json.

python benchmarks/training_profile.py

One operation runs at a time here, on all cores, so that each has the machine for itself while its clock runs.
"""

import collections
import pathlib
import tempfile
import time

from trilemma.training import recipes  # isort: skip  It chooses the kernels.
import numpy as np
import tensorflow as tf
from peak import convolution_peak, operations_by_type
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

from trilemma.records import environment, update_results
from trilemma.training.train import prepare

NUM_STEPS = 10
# What it is for -> a part of the names that TensorFlow's operations, or oneDNN's in their place, have for it.
KINDS = {
    "gradients of kernels": "Conv2DBackpropFilter",
    "gradients of feature maps": "Conv2DBackpropInput",
    "convolutions": "Conv2D",
    "matrix products": "MatMul",
    "attention": "Einsum",
}


def kind_of(operation):
    """The kind of an operation, "<name>:<type>"."""
    name, _, operation_type = operation.rpartition(":")
    for kind, part in KINDS.items():
        if part in operation_type:
            return kind
    return "Adam" if name.startswith("adam/") else "all else"


def profiled_seconds(step):
    """Kind -> seconds per call of `step`."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(NUM_STEPS):
                step()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = XSpace.FromString(file.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if line.name.startswith("tf_Compute") and ":" in name and "::" not in name:
                    seconds[kind_of(name)] += event.duration_ps / 1e12 / NUM_STEPS
    return seconds


def main():
    """Profiles warm steps on random images."""
    tf.config.threading.set_inter_op_parallelism_threads(1)
    peak = convolution_peak()
    recipe = recipes.get_recipe("ddpm_mnist")
    model = prepare(recipe, 1000)
    images = np.random.default_rng(0).integers(256, size=(recipe.batch_size, *model.image_shape), dtype="uint8")
    images = tf.constant(images)
    step = tf.function(model.train_step)
    step(images)
    times = []
    for _ in range(NUM_STEPS):
        start = time.perf_counter()
        step(images)["loss"].numpy()
        times.append(time.perf_counter() - start)
    operations = collections.Counter()
    for operation_type, count in operations_by_type(step.get_concrete_function(images).graph).items():
        operations[kind_of(f":{operation_type}")] += count
    profile = profiled_seconds(lambda: step(images))
    for kind, seconds in profile.most_common():
        row = {
            "command": "python benchmarks/training_profile.py",
            "milliseconds": 1000 * seconds,
            "share_of_time": seconds / profile.total(),
            "share_of_operations": operations[kind] / operations.total(),
            "share_of_peak": operations[kind] / seconds / peak,
            "milliseconds_of_step": 1000 * sorted(times)[NUM_STEPS // 2],
            "peak_gigaflops": peak / 1e9,
            "num_steps": NUM_STEPS,
            **environment(),
        }
        update_results("training_profile", {f"{kind}, {row['device']}": row})
        print(kind, {key: round(value, 3) for key, value in row.items() if isinstance(value, float)}, flush=True)


if __name__ == "__main__":
    main()
