"""What a compiled function asks of a machine, and what the machine could do at best; for the benchmarks of speed."""

import collections
import math
import time

import keras
import tensorflow as tf

# Operation -> what the convolution, or the one that is transposed or differentiated, puts out; its kernel.
CONVOLUTIONS = {
    "Conv2D": (lambda op: op.outputs[0], lambda op: op.inputs[1]),
    "Conv2DBackpropInput": (lambda op: op.inputs[2], lambda op: op.inputs[1]),
    "Conv2DBackpropFilter": (lambda op: op.inputs[2], lambda op: op.outputs[0]),
}
SHAPES = ((14, 64), (14, 128), (28, 64), (7, 256))  # Side of a feature map, channels.


def convolution_peak(seconds_each=1.0):
    """The best rate of 3x3 convolutions, over a few shapes, in the compute type of the current policy, in FLOP/s."""
    dtype = keras.mixed_precision.global_policy().compute_dtype
    rates = []
    for side, channels in SHAPES:
        maps = tf.cast(tf.random.normal((100, side, side, channels)), dtype)
        kernel = tf.cast(tf.random.normal((3, 3, channels, channels)), dtype)
        convolve = tf.function(lambda maps, kernel: tf.nn.conv2d(maps, kernel, 1, "SAME")[0, 0, 0, 0])
        operations = count_operations(convolve.get_concrete_function(maps, kernel).graph)
        times, end = [], time.perf_counter() + seconds_each
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            convolve(maps, kernel).numpy()
            times.append(time.perf_counter() - start)
        rates.append(operations / min(times))
    return max(rates)


def count_operations(graph, loop_steps=1):
    """Additions and multiplications of convolutions and matrix products in a graph of static shapes.

    Args:
        graph: of a concrete function.
        loop_steps: how often the body of a loop in it runs. Branches are left out, and what no output needs.
    """
    return sum(operations_by_type(graph, loop_steps).values())


def operations_by_type(graph, loop_steps=1):
    """The same, for every type of operation apart: "Conv2D", "MatMul", ..."""
    counts = collections.Counter()
    for op in _needed(graph):
        if op.type in ("While", "StatelessWhile"):
            body = graph._get_function(op.get_attr("body").name).graph
            for kind, count in operations_by_type(body).items():
                counts[kind] += loop_steps * count
        elif op.type == "Einsum":
            inputs, _ = op.get_attr("equation").decode().split("->")
            sizes = zip(inputs.split(","), op.inputs, strict=True)
            counts[op.type] += 2 * math.prod(
                {letter: size for letters, x in sizes for letter, size in zip(letters, x.shape, strict=True)}.values()
            )
        elif op.type in ("MatMul", "BatchMatMulV2"):
            counts[op.type] += 2 * op.inputs[0].shape.num_elements() * op.outputs[0].shape[-1]
        elif op.type in CONVOLUTIONS:
            maps, kernel = (tensors(op).shape for tensors in CONVOLUTIONS[op.type])
            counts[op.type] += 2 * maps.num_elements() * kernel.num_elements() // maps[-1]
    return counts


def _needed(graph):
    """The operations on which an output or a side effect of the graph depends; TensorFlow runs no others."""
    needed, waiting = set(), [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    return needed
