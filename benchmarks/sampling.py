"""Measures how fast a model samples, and how close that is to what the machine can do; writes results/sampling.json.

python benchmarks/sampling.py vae_mnist float32
python benchmarks/sampling.py ddpm_mnist bfloat16
python benchmarks/sampling.py ddpm_mnist article

The last one samples as the article does: one image at a time, a Python loop over the timesteps, an eager network; here
with our network, so that only the way of sampling differs. One process per row, since the peak of a process never
falls. Rows are kept per device.
"""

import sys
import time

from trilemma import device, pretrained, samplers, scoreboard  # isort: skip  First: it chooses TensorFlow's kernels.
import keras
import tensorflow as tf
from memory import peak_megabytes
from peak import convolution_peak, count_operations

from trilemma.records import environment, update_results

BATCH_SIZES = (1, 10, 100, 500)


def images_per_second(model):
    """Against the batch size; compiled and warm."""
    rows = {}
    for batch_size in BATCH_SIZES:
        count = batch_size
        _, seconds = scoreboard.timed_generate(model, count, batch_size=batch_size)
        while seconds < 2:  # Short measurements are repeated with more images.
            count = batch_size * (1 + int(count / batch_size * 3 / seconds))
            _, seconds = scoreboard.timed_generate(model, count, batch_size=batch_size)
        rows[str(batch_size)] = count / seconds
    return rows


def operations_per_image(model, batch_size=100):
    """Of convolutions and matrix products."""
    graph = tf.function(model.sample).get_concrete_function(batch_size).graph
    return count_operations(graph, model.passes_per_image) / batch_size


def seconds_as_published(model):
    """Seconds for one image of the DDPM, the article's way."""

    def predict_noise(noisy_images, timesteps):
        return model([noisy_images, timesteps])

    def sample():
        x = keras.random.normal((1, *model.image_shape), seed=model.seed_generator)
        for t in range(model.schedule.num_timesteps, 0, -1):
            x = samplers.ddpm_step(predict_noise, model.schedule, x, tf.constant(t), model.seed_generator)
        return x

    sample()
    start = time.perf_counter()
    sample()
    return time.perf_counter() - start


def main():
    """Measures the row that the command line names."""
    name, precision = sys.argv[1:]
    device.setup_device("float32" if precision == "article" else precision)
    model = pretrained.load_pretrained(name)
    row = {
        "command": f"python benchmarks/sampling.py {name} {precision}",
        "passes_per_image": model.passes_per_image,
        **environment(),
    }
    if precision == "article":
        row["seconds_per_image"] = seconds_as_published(model)
    else:
        before = peak_megabytes()
        rows = row["images_per_second"] = images_per_second(model)
        row["seconds_per_image"] = 1 / rows["1"]
        row["peak_megabytes"], row["megabytes_added"] = peak_megabytes(), peak_megabytes() - before
        operations, peak = operations_per_image(model), convolution_peak()
        row["gigaflop_per_image"], row["peak_gigaflops"] = operations / 1e9, peak / 1e9
        row["share_of_peak"] = max(rows.values()) * operations / peak
    update_results("sampling", {f"{name}, {precision}, {row['device']}": row})
    print(row)


if __name__ == "__main__":
    main()
