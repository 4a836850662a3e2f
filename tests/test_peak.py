import pathlib
import runpy

import pytest
import tensorflow as tf

count_operations = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "benchmarks" / "peak.py"))["count_operations"]
CONVOLUTION = 2 * (5 * 14 * 14 * 6) * (3 * 3 * 4)  # every output is a sum of 3 x 3 x 4 products


def count(function, *shapes):
    return count_operations(tf.function(function).get_concrete_function(*map(tf.TensorSpec, shapes)).graph)


def convolve(maps, kernel):
    return tf.nn.conv2d(maps, kernel, 1, "SAME")


def gradients(sources):
    def differentiate(maps, kernel):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            loss = tf.reduce_sum(convolve(maps, kernel) ** 2)
        return tape.gradient(loss, [{"maps": maps, "kernel": kernel}[name] for name in sources])

    return differentiate


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (convolve, CONVOLUTION),
        (gradients(["maps", "kernel"]), 3 * CONVOLUTION),
        # TensorFlow builds both gradients, and runs the one that is asked for.
        (gradients(["kernel"]), 2 * CONVOLUTION),
        (gradients(["maps"]), 2 * CONVOLUTION),
    ],
)
def test_every_needed_convolution_counts(function, expected):
    assert count(function, (5, 14, 14, 4), (3, 3, 4, 6)) == expected


def test_matrix_products_count_in_every_notation():
    assert count(tf.matmul, (7, 3), (3, 4)) == 2 * 7 * 3 * 4
    assert count(lambda a, b: tf.einsum("bij,bjk->bik", a, b), (2, 7, 3), (2, 3, 4)) == 2 * 2 * 7 * 3 * 4


def test_a_loop_counts_as_often_as_it_runs():
    def repeat(x, kernel):
        return tf.while_loop(lambda i, x: i < 9, lambda i, x: (i + 1, x @ kernel), (0, x))

    graph = tf.function(repeat).get_concrete_function(tf.TensorSpec((7, 3)), tf.TensorSpec((3, 3))).graph
    assert count_operations(graph, loop_steps=9) == 9 * 2 * 7 * 3 * 3
