#!/usr/bin/env bash
# Keras 3.15.1 on JAX: while `predict` or `evaluate` runs, the variables of the model hold no values, which travel through
# the compiled steps instead. An exception on the way, for example one that a callback raises, leaves them so: every weight
# is lost, and the model cannot even be saved. `fit` puts them back; on TensorFlow nothing of the kind happens.
#
# Seen: after fit: 0 of 2 weights lost
#       after evaluate: 2 of 2 weights lost
#       after predict: 2 of 2 weights lost
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


class Stop(keras.callbacks.Callback):
    """Raises at the second batch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch:
            raise RuntimeError("stopped")

    on_test_batch_begin = on_predict_batch_begin = on_train_batch_begin


x, y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")
seen = {}
for name, data in [("fit", (x, y)), ("evaluate", (x, y)), ("predict", (x,))]:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        getattr(model, name)(*data, batch_size=2, verbose=0, callbacks=[Stop()])
    except RuntimeError:
        pass
    seen[name] = sum(variable._value is None for variable in model.weights)
    print(f"after {name}: {seen[name]} of {len(model.weights)} weights lost")
assert seen == {"fit": 0, "evaluate": 2, "predict": 2}
PYTHON
