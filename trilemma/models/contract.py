"""The contract of every family of models: train as a `TrainableModel`, draw with `generate`."""

import functools
import math
import numbers

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from trilemma import backend, noise
from trilemma.data import as_float, check_images, check_labels, whole_number
from trilemma.models.trainable import TrainableModel


def given(*inputs):
    """What goes into a network: the inputs that are not None, such as labels; a list where there are several."""
    inputs = [ops.convert_to_tensor(each) for each in inputs if each is not None]
    return inputs[0] if len(inputs) == 1 else inputs


def with_labels(inputs, x, num_classes):
    """Tells a network what an image shows: one number per class, appended to features x (batch, size).

    Args:
        inputs: the network's input so far.
        x: features that come from it, or the input itself.
        num_classes: None leaves both as they are.

    Returns:
        The inputs, then a list with the labels (batch,); the features.
    """
    if num_classes is None:
        return inputs, x
    labels = keras.layers.Input((), dtype="int32", name="labels")
    return [inputs, labels], keras.layers.Concatenate()([x, ops.one_hot(labels, num_classes)])


class GenerativeModel(TrainableModel):
    """Base class of models that draw images; a model adds `sample`.

    Attributes:
        passes_per_image: network evaluations per generated image (NFE), without guidance given to `generate`.
        takes_guidance: whether `generate` takes the strength of guidance by labels.
        guidance: the strength where `generate` is given none.
        likelihood: what `log_likelihood` returns, "exact" or "lower bound"; None: the model has none.
    """

    passes_per_image = 1
    takes_guidance = False
    guidance = 0.0
    likelihood = None

    def __init__(self, image_shape, seed=None, config=None, **kwargs):
        super().__init__(image_shape, seed, config, **kwargs)
        self.reset_sampling()

    def sample(self, draw_noise, labels=None, guidance=None):
        """Draws one batch; traced, so no Python side effects.

        Args:
            draw_noise: function (draw, shape) -> float32 (batch, *shape), standard normal: another `draw`, an integer
                scalar, has other numbers. See `noise.standard_normal`.
            labels: int (batch,), or None.
            guidance: float scalar, above 0, or None; see `diffusion.guidance.guided`.

        Returns:
            (batch, height, width, channels) in [0, 1].
        """
        raise NotImplementedError

    def reset_sampling(self):
        """Forgets what `generate` and `log_likelihood` compiled, after a change of how to sample."""
        self._compiled_functions = {}

    def generate(self, num_images, labels=None, guidance=None, seed=None, batch_size=100, progress=False):
        """Generates images batch by batch in one compiled function, in memory bounded by `batch_size`.

        Image i of a seed depends on the seed and i alone: more images, or other batches, leave it as it is, up to
        rounding.

        Args:
            num_images: how many, at least 1.
            labels: integers (num_images,), or one for all; only for models with `num_classes`, which need them.
            guidance: strength of the guidance by labels, at least 0, for models that take it; None for the model's
                own. Above 0 every pass counts twice.
            seed: integer, 0 ... 2^32 - 1; None draws new images at every call.
            batch_size: images drawn at once, at least 1.
            progress: show a progress bar.

        Returns:
            float32 array (num_images, height, width, channels) in [0, 1].

        Raises:
            ValueError: a number out of its range; labels for a model without classes, or none for one with them;
                guidance for a model that takes none.
        """
        num_images, batch_size = whole_number("num_images", num_images), whole_number("batch_size", batch_size)
        if seed is None:
            seed = int(keras.random.randint((), 0, 2**31 - 1, seed=self.seed_generator))
        seed = whole_number("seed", seed, 0, 2**32 - 1)
        labels, guidance = self._checked_labels(labels, num_images), self._checked_guidance(guidance)
        sample_batch = self._compile(self._sample_batch)
        batch_size = min(batch_size, num_images)
        images = np.empty((num_images, *self.image_shape), "float32")
        for start in tqdm(range(0, num_images, batch_size), disable=not progress, desc="generate"):
            # The last batch is drawn in full too, since another size would be compiled anew.
            numbers = np.arange(start, start + batch_size)
            chosen = None if labels is None else ops.convert_to_tensor(labels[np.minimum(numbers, num_images - 1)])
            batch = sample_batch(
                ops.convert_to_tensor(np.uint32(seed)),
                ops.convert_to_tensor(numbers.astype("uint32")),
                chosen,
                None if guidance is None else ops.convert_to_tensor(guidance, "float32"),
            )
            images[start : start + batch_size] = ops.convert_to_numpy(batch)[: num_images - start]
        return images

    def _sample_batch(self, seed, numbers, labels, guidance):
        return self.sample(functools.partial(noise.standard_normal, seed, numbers), labels, guidance)

    def log_likelihood(self, images, seed=0, batch_size=100, **settings):
        """log p(images) of a model with a `likelihood`, batch by batch in one compiled function.

        What is drawn for image i, to binarise it or to estimate a bound, depends on the seed and i alone.

        Args:
            images: uint8, or floats in [0, 1], (num_images, height, width, channels).
            seed: integer, 0 ... 2^32 - 1.
            batch_size: images at once, at least 1.
            **settings: of this model's `_log_likelihood`, such as `num_samples` of a VAE.

        Returns:
            float32 array (num_images,), nats.

        Raises:
            ValueError: the model has no likelihood, other images, or a number out of its range.
        """
        if self.likelihood is None:
            raise ValueError(
                f"{type(self).__name__} has no likelihood; choose a model that has one, as a PixelCNN or a VAE."
            )
        images = check_images(images, self.image_shape)
        seed, batch_size = whole_number("seed", seed, 0, 2**32 - 1), whole_number("batch_size", batch_size)
        compiled = self._compile(self._log_likelihood_of_batch, **settings)
        batch_size = min(batch_size, max(len(images), 1))
        results = np.empty(len(images), "float32")
        for start in range(0, len(images), batch_size):
            numbers = np.arange(start, start + batch_size)
            batch = compiled(
                ops.convert_to_tensor(np.uint32(seed)),
                ops.convert_to_tensor(numbers.astype("uint32")),
                ops.convert_to_tensor(as_float(images[np.minimum(numbers, len(images) - 1)])),
            )
            results[start : start + batch_size] = ops.convert_to_numpy(batch)[: len(images) - start]
        return results

    def _log_likelihood(self, images, draw_noise):
        """log p of one batch, or a bound; traced, so no Python side effects.

        Args:
            images: float32 (batch, height, width, channels) in [0, 1].
            draw_noise: as for `sample`.

        Returns:
            (batch,), nats.
        """
        raise NotImplementedError

    def _log_likelihood_of_batch(self, seed, numbers, images, **settings):
        return self._log_likelihood(images, functools.partial(noise.standard_normal, seed, numbers), **settings)

    def _compile(self, function, **settings):
        """Compiles a method with these settings, unless that was done before."""
        use_xla = self.jit_compile is True
        key = (function.__name__, use_xla, *sorted(settings.items()))
        if key not in self._compiled_functions:
            function = functools.partial(function, **settings)
            self._compiled_functions[key] = backend.compile_function(function, self.variables, use_xla)
        return self._compiled_functions[key]

    def _checked_labels(self, labels, num_images):
        if self.num_classes is None:
            if labels is not None:
                raise ValueError(f"{type(self).__name__} has no classes, yet labels were given; leave labels out.")
            return None
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} draws by classes; give labels, integers in 0 ... {self.num_classes - 1}."
            )
        labels = np.full(num_images, labels) if np.ndim(labels) == 0 else labels
        return check_labels(labels, num_images, self.num_classes)

    def _checked_guidance(self, guidance):
        """The strength as a float, or None where the network is asked with labels alone."""
        if not self.takes_guidance:
            if guidance is not None:
                raise ValueError(
                    f"{type(self).__name__} takes no guidance, yet guidance was given; leave guidance out."
                )
            return None
        guidance = self.guidance if guidance is None else guidance
        if isinstance(guidance, bool) or not isinstance(guidance, numbers.Real) or not 0 <= guidance < math.inf:
            raise ValueError(f"guidance is {guidance!r}; expected a number of at least 0.")
        return float(guidance) or None
