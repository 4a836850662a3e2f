"""What differs between TensorFlow and JAX, under the same names: all else in the package is `keras.ops` and NumPy.

The training step is here, since `fit` is a method of every model, and models know nothing of the trainings that a
recipe describes.
"""

import keras

if keras.backend.backend() == "jax":
    from trilemma.backend.jax_backend import *  # noqa: F403
else:
    from trilemma.backend.tensorflow_backend import *  # noqa: F403
