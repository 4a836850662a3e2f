#!/usr/bin/env bash
# JAX 0.10.2 on a CPU: the gradient of a convolution is many times slower inside jax.lax.scan than the same steps in a
# Python loop over a compiled function; the convolution itself is not. So the advice to put a whole epoch of training into
# one scan, which holds on a GPU, makes a small convolutional network many times slower on a CPU.
#
# Seen (2 cores): forward: scan over loop 1.1
#                 gradient: scan over loop 45.4
# Fails if the gradient's ratio falls below 4 or the forward's rises above 3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
"$folder/venv/bin/python" - <<'PYTHON'
import time

import jax
import jax.numpy as jnp

STEPS = 10
images = jax.random.normal(jax.random.key(0), (64, 14, 14, 64))
kernel = jax.random.normal(jax.random.key(1), (3, 3, 64, 64)) / 24


def convolve(kernel):
    y = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.mean(jnp.square(y))


def forward(kernel):
    return kernel * (1 + 1e-3 * convolve(kernel))


def gradient(kernel):
    return kernel - 1e-3 * jax.grad(convolve)(kernel)


def seconds(function):
    function(kernel).block_until_ready()
    start = time.perf_counter()
    function(kernel).block_until_ready()
    return time.perf_counter() - start


ratios = {}
for step in (forward, gradient):
    compiled = jax.jit(step)
    scanned = jax.jit(lambda kernel, step=step: jax.lax.scan(lambda k, _: (step(k), None), kernel, length=STEPS)[0])

    def looped(kernel, compiled=compiled):
        for _ in range(STEPS):
            kernel = compiled(kernel)
        return kernel

    ratios[step.__name__] = seconds(scanned) / seconds(looped)
    print(f"{step.__name__}: scan over loop {ratios[step.__name__]:.1f}")
assert ratios["gradient"] > 4 and ratios["forward"] < 3
PYTHON
