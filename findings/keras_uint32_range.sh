#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: keras.ops.arange(4, dtype="uint32") raises. TensorFlow's operation Range accepts the
# type uint32, yet has no kernel for it on a CPU, compiled or not, and XLA, which lists uint32 among its types for Range,
# says "Invalid type for Range uint32". The same line on JAX gives the numbers; NumPy's arange, converted, works on both.
#
# Seen: tensorflow, plain: InvalidArgumentError
#       tensorflow, XLA: InvalidArgumentError
#       jax: [0, 1, 2, 3] uint32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/range.py" <<'PYTHON'
import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1]
import keras
import numpy as np

if sys.argv[1] == "jax":
    values = np.asarray(keras.ops.arange(4, dtype="uint32"))
    print("jax:", values.tolist(), values.dtype)
    assert (values.tolist(), values.dtype) == ([0, 1, 2, 3], "uint32")
else:
    import tensorflow as tf

    for name, jit_compile, expected in [("plain", False, "InvalidArgumentError"), ("XLA", True, "InvalidArgumentError")]:
        compiled = tf.function(lambda: keras.ops.arange(4, dtype="uint32"), jit_compile=jit_compile)
        try:
            compiled()
            raised = "nothing"
        except tf.errors.OpError as error:
            raised = type(error).__name__
        print(f"tensorflow, {name}: {raised}")
        assert raised == expected
PYTHON
for backend in tensorflow jax; do
    TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/range.py" "$backend" 2> "$folder/errors" \
        || { tail -n 5 "$folder/errors"; exit 1; }
done
