"""Measures how fast models sample and train; writes results/speed.json.

python benchmarks/speed.py  # all rows
python benchmarks/speed.py ddpm_mnist bfloat16  # one of them

The row "article" samples as the article does: one image at a time, a Python loop over the timesteps, an eager network;
here with our network, so that only the way of sampling differs. What it trains, in eager steps, is about as large as
the article's network, built of our blocks: 30 million parameters, four resolutions from 32x32 on. One process per row,
since the peak of a process never falls. Rows are kept per device. The share of the peak is that of the rate at which
the machine convolves at best.
"""

import subprocess
import sys
import time

from trilemma import data, ddpm, device, pretrained, recipes, samplers, scoreboard  # isort: skip  It chooses the kernels.
import keras
import tensorflow as tf
from memory import peak_megabytes
from peak import convolution_peak, count_operations

from trilemma.records import environment, update_results

MODELS = (
    "vae_mnist", "vae2_mnist", "dcgan_mnist", "dcgan2_mnist", "ddpm_mnist", "solver20_mnist", "ddgan_mnist",
    "student_mnist", "student2_mnist", "student1_mnist",
)  # fmt: skip
ROWS = (*((name, "float32") for name in MODELS), ("ddpm_mnist", "bfloat16"), ("ddpm_mnist", "article"))
BATCH_SIZES = (1, 10, 100, 500)
PATIENCE = 30  # seconds; when a batch takes longer, a larger one is not tried
TRAINING_STEPS = 20


def sampling_rows(model):
    """Images per second against the batch size; compiled and warm."""
    rows = {}
    for batch_size in BATCH_SIZES:
        count = batch_size
        _, seconds = scoreboard.timed_generate(model, count, batch_size=batch_size)
        while seconds < 2:  # Short measurements are repeated with more images.
            count = batch_size * (1 + int(count / batch_size * 3 / seconds))
            _, seconds = scoreboard.timed_generate(model, count, batch_size=batch_size)
        rows[str(batch_size)] = count / seconds
        if seconds > PATIENCE:
            break
    return rows


def sampling_operations(model, batch_size=100):
    """Operations per image, see `count_operations`."""
    graph = tf.function(model.sample).get_concrete_function(batch_size).graph
    return count_operations(graph, model.passes_per_image) / batch_size


def training_rate_and_operations(name):
    """Images per second of warm training steps on random images, without reading data, and operations per image."""
    recipe = recipes.get_recipe(name)
    model = recipe.prepare(1000)
    count = recipe.batch_size * TRAINING_STEPS
    images = keras.ops.convert_to_numpy(keras.random.uniform((count, *model.image_shape)))
    dataset = data.make_dataset(images, batch_size=recipe.batch_size)
    model.fit(dataset, verbose=0)
    start = time.perf_counter()
    model.fit(dataset, verbose=0)
    rate = count / (time.perf_counter() - start)
    graph = tf.function(model.train_step).get_concrete_function(images[: recipe.batch_size]).graph
    return rate, count_operations(graph) / recipe.batch_size


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


def training_rate_as_published(num_steps=5, batch_size=32):
    """Images per second of eager training steps with a network of the article's size."""
    model = ddpm.DDPM(image_shape=(32, 32, 1), widths=(64, 128, 256, 512), patch_size=1, seed=0)
    model.compile(**model.default_optimizers(1e-3, 1000), run_eagerly=True)
    images = keras.random.uniform((num_steps * batch_size, *model.image_shape))
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(batch_size)
    model.fit(dataset.take(1), verbose=0)
    start = time.perf_counter()
    model.fit(dataset, verbose=0)
    return num_steps * batch_size / (time.perf_counter() - start)


def main():
    """Measures the row that the command line names, or all."""
    if not sys.argv[1:]:
        for row in ROWS:
            subprocess.run([sys.executable, __file__, *row], check=True)
        return
    name, precision = sys.argv[1:]
    device.setup_device("float32" if precision == "article" else precision)
    model = pretrained.load_pretrained(name)
    row = {
        "command": f"python benchmarks/speed.py {name} {precision}",
        "passes_per_image": model.passes_per_image,
        **environment(),
    }
    if precision == "article":
        row["seconds_per_image"] = seconds_as_published(model)
        row["training_images_per_second"] = training_rate_as_published()
    else:
        before = peak_megabytes()
        row["images_per_second"] = sampling_rows(model)
        row["seconds_per_image"] = 1 / row["images_per_second"]["1"]
        row["peak_megabytes"], row["megabytes_added"] = peak_megabytes(), peak_megabytes() - before
        operations, peak = sampling_operations(model), convolution_peak()
        row["share_of_peak"] = max(row["images_per_second"].values()) * operations / peak
        row["peak_gigaflops"] = peak / 1e9
        if name == pretrained.weights_name(name):  # Another sampler is not another training.
            row["training_images_per_second"], operations = training_rate_and_operations(name)
            row["training_share_of_peak"] = row["training_images_per_second"] * operations / peak
    update_results("speed", {f"{name}, {precision}, {row['device']}": row})
    print(row)


if __name__ == "__main__":
    main()
