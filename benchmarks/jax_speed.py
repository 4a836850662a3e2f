"""Measures how fast models sample and train where JAX is at hand, yet TensorFlow is not; adds to results/speed.json.

python benchmarks/jax_speed.py           # all rows
python benchmarks/jax_speed.py bfloat16  # those of one precision

The networks and samplers are the package's own (see jax_training.py); XLA compiles each whole draw, with its loop.
"""

import dataclasses
import pathlib
import sys
import tempfile
from unittest import mock

import jax_training  # isort: skip  It puts JAX in the place of TensorFlow.
import jax
import keras

from trilemma import data, device, pretrained, recipes
from trilemma.records import update_results

sys.modules["tensorflow"] = mock.MagicMock()
import speed  # noqa: E402

from trilemma import vae  # noqa: E402, F401  The one model that jax_training.py does not import.

del sys.modules["tensorflow"]

MODELS = ("vae_mnist", "dcgan_mnist", "ddpm_mnist", "solver20_mnist", "ddgan_mnist", "student_mnist")


def training_rate(name):
    """Images per second of a warm epoch, the second, over MNIST in the memory of the device."""
    recipe = dataclasses.replace(recipes.get_recipe(name), epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        _, history = jax_training.train(recipe, pathlib.Path(folder))
    num_images = len(data.load_images(recipe.data_set)[0])
    return (num_images - num_images % recipe.batch_size) / history[1]["seconds"]


def main():
    """Measures the precisions that the command line names, or all."""
    for precision in sys.argv[1:] or ("float32", "bfloat16"):
        keras.mixed_precision.set_global_policy(device.PRECISIONS[precision])
        for name in MODELS:
            model = pretrained.load_pretrained(name)
            row = {
                "command": f"python benchmarks/jax_speed.py {precision}",
                "passes_per_image": model.passes_per_image,
                "images_per_second": speed.sampling_rows(model),
                "device": device.device_name(),
                "jax": jax.__version__,
                "keras": keras.__version__,
            }
            row["seconds_per_image"] = 1 / row["images_per_second"]["1"]
            if name == "ddpm_mnist":
                row["training_images_per_second"] = training_rate(name)
            update_results("speed", {f"{name}, {precision}, {row['device']}": row})
            print(row, flush=True)


if __name__ == "__main__":
    main()
