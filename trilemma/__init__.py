"""VAE, DCGAN and diffusion models in Keras 3, compared by the generative learning trilemma."""

import importlib.util
import os
import sys

_BACKENDS = ("tensorflow", "jax")
_HOME_REMEDY = "Correct it in keras.json of the folder .keras in your home, or of the folder that KERAS_HOME names."

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow turns these kernels on by itself only on newer processors; here all processors use the same ones.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if "keras" not in sys.modules:
    # Colab's TPU runtimes have JAX, and no TensorFlow.
    _default = next((name for name in _BACKENDS if importlib.util.find_spec(name)), "tensorflow")
    _backend = os.environ.setdefault("KERAS_BACKEND", _default)
    if _backend not in _BACKENDS or not importlib.util.find_spec(_backend):
        _installed = [name for name in _BACKENDS if importlib.util.find_spec(name)]
        raise ImportError(
            f"KERAS_BACKEND is {_backend!r}; expected one of {_BACKENDS} that is installed (here: {_installed}). "
            "Set KERAS_BACKEND before Keras is imported, or install the backend."
        )

from trilemma import messages

with messages.without_noise():
    import keras

if keras.backend.backend() not in _BACKENDS:
    raise ImportError(
        f"Keras runs on the backend {keras.backend.backend()!r}; trilemma needs one of {_BACKENDS}. "
        "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
    )
for _name, _needed in (("image_data_format", "channels_last"), ("floatx", "float32")):
    if getattr(keras.config, _name)() != _needed:
        raise ImportError(
            f"Keras is configured with {_name} {getattr(keras.config, _name)()!r}; trilemma needs {_needed!r}. "
            f"{_HOME_REMEDY}" + (" For half precision use device.setup_device." if _name == "floatx" else "")
        )

from trilemma.data import DATA_SETS, DataSet, as_float, load_images, make_dataset
from trilemma.evaluation.scoreboard import score
from trilemma.training.pretrained import list_pretrained, load_pretrained

__version__ = "0.2.0"
__all__ = [
    "DATA_SETS", "DataSet", "as_float", "list_pretrained", "load_images", "load_pretrained", "make_dataset", "score",
]  # fmt: skip
