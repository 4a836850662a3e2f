"""VAE, DCGAN and DDPM in Keras 3 on TensorFlow, compared by the generative learning trilemma."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow turns these kernels on by itself only on newer processors; here all processors use the same ones.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"Keras runs on the backend {keras.backend.backend()!r}; trilemma needs 'tensorflow'. "
        "Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported."
    )

from trilemma.data import CLASS_NAMES, load_images, make_dataset
from trilemma.pretrained import list_pretrained, load_pretrained
from trilemma.scoreboard import score

__version__ = "0.1.0"
__all__ = ["CLASS_NAMES", "list_pretrained", "load_images", "load_pretrained", "make_dataset", "score"]
