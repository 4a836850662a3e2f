"""Measures how fast models sample and train; writes results/speed.json.

python benchmarks/speed.py  # all rows
python benchmarks/speed.py ddpm_mnist bfloat16  # one of them
KERAS_BACKEND=jax python benchmarks/speed.py  # on JAX; on a GPU every model in float32 and bfloat16, sampling alone

The row "article" samples as the article does: one image at a time, a Python loop over the timesteps, an eager network;
here with our network, so that only the way of sampling differs. What it trains, in eager steps, is about as large as
the article's network, built of our blocks: 30 million parameters, four resolutions from 32x32 on. On a CPU each row has
a process of its own, since the peak of a process's memory never falls. Rows are kept per device and backend. The share
of the peak is that of the rate at which the machine convolves at best; operations are counted in a graph of TensorFlow,
so rows of JAX have no share.
"""

import subprocess
import sys
import time

from trilemma import backend, data, device  # isort: skip  It chooses the kernels.
import keras
import numpy as np
from memory import peak_megabytes

from trilemma.diffusion import samplers
from trilemma.evaluation import scoreboard
from trilemma.models.ddpm import DDPM
from trilemma.records import environment, update_results
from trilemma.training import pretrained, recipes
from trilemma.training.train import prepare

MODELS = (
    "vae_mnist", "vae2_mnist", "dcgan_mnist", "dcgan2_mnist", "ddpm_mnist", "solver20_mnist", "ddgan_mnist",
    "student_mnist", "student2_mnist", "student1_mnist",
)  # fmt: skip
ACCELERATED = bool(backend.accelerators())
ROWS = (*((name, "float32") for name in MODELS), ("ddpm_mnist", "bfloat16"), ("ddpm_mnist", "article"))
ACCELERATED_ROWS = tuple((name, precision) for precision in ("float32", "bfloat16") for name in MODELS)
BATCH_SIZES = (1, 500) if ACCELERATED else (1, 10, 100, 500)
PATIENCE = 30  # seconds; when a batch takes longer, a larger one is not tried
TRAINING_STEPS = 20  # at first
ON_JAX = keras.backend.backend() == "jax"


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
    """Operations per image, see `peak.count_operations`."""
    import tensorflow as tf
    from peak import count_operations

    sample = tf.function(lambda: model.sample(lambda draw, shape: tf.random.normal((batch_size, *shape))))
    return count_operations(sample.get_concrete_function().graph, model.passes_per_image) / batch_size


def training_operations(model, batch_size):
    """Operations of a training step per image, see `peak.count_operations`."""
    import tensorflow as tf
    from peak import count_operations

    images = tf.TensorSpec((batch_size, *model.image_shape), "uint8")
    return count_operations(tf.function(model.train_step).get_concrete_function(images).graph) / batch_size


def training_rate(model, batch_size):
    """Images per second of a warm epoch on random images in memory."""
    num_steps, seconds = TRAINING_STEPS, 0
    while seconds < 2:  # Short measurements are repeated with more images.
        num_steps *= 1 if seconds == 0 else 1 + int(3 / seconds)
        shape = (num_steps * batch_size, *model.image_shape)
        images = np.random.default_rng(0).integers(256, size=shape, dtype="uint8")
        batches = data.make_dataset(images, batch_size=batch_size)
        model.fit(batches, verbose=0)
        start = time.perf_counter()
        model.fit(batches, verbose=0)
        seconds = time.perf_counter() - start
    return num_steps * batch_size / seconds


def seconds_as_published(model):
    """Seconds for one image of the DDPM, the article's way."""

    def predict_noise(noisy_images, timesteps):
        return model([noisy_images, timesteps])

    def sample():
        x = keras.random.normal((1, *model.image_shape), seed=model.seed_generator)
        for t in range(model.schedule.num_timesteps, 0, -1):
            noise = keras.random.normal(x.shape, seed=model.seed_generator)
            x = samplers.ddpm_step(predict_noise, model.schedule, x, keras.ops.convert_to_tensor(t), noise)
        return x

    sample()
    start = time.perf_counter()
    sample()
    return time.perf_counter() - start


def training_rate_as_published(num_steps=5, batch_size=32):
    """Images per second of eager training steps with a network of the article's size."""
    model = DDPM(image_shape=(32, 32, 1), widths=(64, 128, 256, 512), patch_size=1, seed=0)
    model.compile(model.default_optimizers(1e-3, 1000), run_eagerly=True)
    shape = (num_steps * batch_size, *model.image_shape)
    images = np.random.default_rng(0).integers(256, size=shape, dtype="uint8")
    model.fit(data.make_dataset(images[:batch_size], batch_size=batch_size), verbose=0)
    start = time.perf_counter()
    model.fit(data.make_dataset(images, batch_size=batch_size), verbose=0)
    return num_steps * batch_size / (time.perf_counter() - start)


def shares_of_peak(row, model, trained, batch_size):
    """The rate at which the machine convolves at best, and which shares of it sampling and training reach."""
    from peak import convolution_peak

    peak = convolution_peak()
    shares = {"peak_gigaflops": peak / 1e9}
    shares["share_of_peak"] = max(row["images_per_second"].values()) * sampling_operations(model) / peak
    if trained is not None:
        operations = training_operations(trained, batch_size)
        shares["training_share_of_peak"] = row["training_images_per_second"] * operations / peak
    return shares


def measure(name, precision):
    """Measures one row and keeps it."""
    device.setup_device("float32" if precision == "article" else precision)
    model = pretrained.load_pretrained(name)
    row = {
        "command": f"{'KERAS_BACKEND=jax ' if ON_JAX else ''}python benchmarks/speed.py {name} {precision}",
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
        if not ACCELERATED:
            row |= costs_on_a_cpu(row, name, model, before)
    update_results("speed", {f"{name}, {precision}, {row['device']}{', JAX' if ON_JAX else ''}": row})
    print(name, precision, row, flush=True)


def costs_on_a_cpu(row, name, model, megabytes_before):
    """The memory that sampling adds, the rate of training, shares of the peak."""
    peak = peak_megabytes()
    costs = {"peak_megabytes": peak, "megabytes_added": peak - megabytes_before}
    recipe = recipes.get_recipe(name)
    trained = prepare(recipe, 1000) if recipe.weights is None else None  # Another sampler is not another training.
    if trained is not None:
        costs["training_images_per_second"] = training_rate(trained, recipe.batch_size)
    return costs if ON_JAX else costs | shares_of_peak({**row, **costs}, model, trained, recipe.batch_size)


def main():
    """Measures the row that the command line names, or all."""
    if ON_JAX and "article" in sys.argv:
        raise ValueError("the article samples and trains in TensorFlow; leave out KERAS_BACKEND=jax.")
    if sys.argv[1:]:
        measure(*sys.argv[1:])
    elif ACCELERATED:
        for row in ACCELERATED_ROWS:
            measure(*row)
    else:
        for row in ROWS:
            if not (ON_JAX and "article" in row):
                subprocess.run([sys.executable, __file__, *row], check=True)


if __name__ == "__main__":
    main()
