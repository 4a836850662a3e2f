#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: keras.ops.add(x, y) with x of shape (n, n) and y of shape (n, 1) adds y[j] to column j,
# where broadcasting, as NumPy and JAX do it, adds y[i] to row i. Whatever can be squeezed to a vector as long as the last
# axis is taken for the bias of a layer. Nothing is raised, and for other shapes, (n, m), the result is the one expected;
# so the code is right until a batch happens to be as large as a feature vector. The operator + of tensors is not affected.
#
# Seen: tensorflow, ops.add: [[0.0, 10.0], [0.0, 10.0]]
#       tensorflow, +: [[0.0, 0.0], [10.0, 10.0]]
#       jax, ops.add: [[0.0, 0.0], [10.0, 10.0]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
cat > "$folder/add.py" <<'PYTHON'
import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1]
import keras
import numpy as np
from keras import ops

x, column = np.zeros((2, 2), "float32"), np.array([[0.0], [10.0]], "float32")
broadcast, as_bias = [[0.0, 0.0], [10.0, 10.0]], [[0.0, 10.0], [0.0, 10.0]]
seen = {"ops.add": ops.convert_to_numpy(ops.add(x, column)).tolist()}
if sys.argv[1] == "tensorflow":
    seen["+"] = ops.convert_to_numpy(ops.convert_to_tensor(x) + ops.convert_to_tensor(column)).tolist()
for name, values in seen.items():
    print(f"{sys.argv[1]}, {name}: {values}")
assert (x + column).tolist() == broadcast
assert seen == ({"ops.add": as_bias, "+": broadcast} if sys.argv[1] == "tensorflow" else {"ops.add": broadcast})
PYTHON
for backend in tensorflow jax; do
    TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/add.py" "$backend" 2> "$folder/errors" \
        || { tail -n 5 "$folder/errors"; exit 1; }
done
