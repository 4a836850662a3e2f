"""Measures how fast a model trains, and how close to what the machine can do; writes results/training_speed.json.

python benchmarks/training.py vae_mnist float32
python benchmarks/training.py ddpm_mnist bfloat16

Warm training steps of the recipe on random images, without reading data. Rows are kept per device.
"""

import sys
import time

from trilemma import data, device, recipes  # isort: skip  First: it chooses TensorFlow's kernels.
import keras
import tensorflow as tf
from peak import convolution_peak, count_operations

from trilemma.records import environment, update_results

STEPS = 20


def main():
    """Measures the row that the command line names."""
    name, precision = sys.argv[1:]
    device.setup_device(precision)
    recipe = recipes.get_recipe(name)
    model = recipe.prepare(1000)
    images = keras.ops.convert_to_numpy(keras.random.uniform((recipe.batch_size * STEPS, *model.image_shape)))
    dataset = data.make_dataset(images, batch_size=recipe.batch_size)
    model.fit(dataset, verbose=0)
    start = time.perf_counter()
    model.fit(dataset, verbose=0)
    per_second = len(images) / (time.perf_counter() - start)
    graph = tf.function(model.train_step).get_concrete_function(images[: recipe.batch_size]).graph
    operations, peak = count_operations(graph) / recipe.batch_size, convolution_peak()
    row = {
        "command": f"python benchmarks/training.py {name} {precision}",
        "images_per_second": per_second,
        "batch_size": recipe.batch_size,
        "gigaflop_per_image": operations / 1e9,
        "peak_gigaflops": peak / 1e9,
        "share_of_peak": per_second * operations / peak,
        **environment(),
    }
    update_results("training_speed", {f"{name}, {precision}, {row['device']}": row})
    print(row)


if __name__ == "__main__":
    main()
