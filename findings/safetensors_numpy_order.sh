#!/usr/bin/env bash
# safetensors 0.8.0 with NumPy 2.4.6: `safetensors.numpy.save` writes the memory of an array as it lies there, and the
# shape as it is seen. An array in Fortran order, as a transposed one, or with steps comes back in its shape with its
# numbers in other places or with other numbers, and nothing is said. Version 0.7.0 keeps both right.
# `numpy.ascontiguousarray` before saving avoids it.
#
# Seen: 0.7.0: transposed right, every second right
#       0.8.0: transposed [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], every second [0.0, 1.0, 2.0, 3.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 0.7.0 0.8.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "safetensors==$version" numpy==2.4.6
    "$folder/$version/bin/python" - <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, save

arrays = {
    "transposed": np.arange(6, dtype="float32").reshape(2, 3).T,  # [[0, 3], [1, 4], [2, 5]]
    "every second": np.arange(8, dtype="float32")[::2],  # [0, 2, 4, 6]
}
found = load(save(arrays))
same = {name: np.array_equal(found[name], array) for name, array in arrays.items()}
words = (f"{name} {'right' if same[name] else found[name].tolist()}" for name in arrays)
print(f"{safetensors.__version__}: {', '.join(words)}")
for name, array in arrays.items():
    assert found[name].shape == array.shape and found[name].dtype == array.dtype
    assert same[name] == (safetensors.__version__ == "0.7.0")
PYTHON
done
