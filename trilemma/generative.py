"""The contract of every generative model: train with `fit`, draw with `generate`."""

import functools
import numbers

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from trilemma.device import ReplicaSeedGenerator


def check_sides(image_shape, factor):
    """Refuses images whose height or width is not divisible by `factor`."""
    height, width, _ = image_shape
    if height % factor or width % factor:
        raise ValueError(f"images of {height}x{width} pixels do not fit; expected sides divisible by {factor}.")


class GenerativeModel(keras.Model):
    """Base class. A model adds `compute_losses`, `train_step` and `sample`.

    Attributes:
        image_shape: (height, width, channels).
        num_classes: number of classes that `generate(labels=...)` can ask for; None when unconditional.
        passes_per_image: network evaluations per generated image (NFE).
        networks: name -> tuple of networks; a weights file holds the first of each tuple and is loaded into
            all of them.
    """

    num_classes = None
    passes_per_image = 1

    def __init__(self, image_shape, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)
        self._compiled_sample = None
        self._sample_uses_xla = None
        # Every network is built in the constructor; Keras learns it only from a call otherwise.
        self.built = True

    def compute_losses(self, images, training):
        """Losses of one batch of images in [0, 1]: a dict of scalars, with those that the training step descends."""
        raise NotImplementedError

    def sample(self, num_images):
        """Draws one batch (num_images, height, width, channels) in [0, 1]; traced, so no Python side effects."""
        raise NotImplementedError

    def test_step(self, images):
        return self.update_trackers(self.compute_losses(images, training=False))

    def update_trackers(self, losses):
        """Adds a batch to the running means that `fit` and `evaluate` report, and returns the means."""
        for name, value in losses.items():
            self.trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def update_average(self, average, network):
        """Moves the weights of `average` towards those of `network` by 1 - ema_decay, in the first steps by more."""
        step = keras.ops.cast(self.optimizer.iterations, "float32")
        decay = keras.ops.minimum(self.ema_decay, (1 + step) / (10 + step))
        for slow, fast in zip(average.weights, network.weights, strict=True):
            slow.assign(decay * slow + (1 - decay) * fast)

    @property
    def metrics(self):
        return list(self.trackers.values())

    def save_own_variables(self, store):
        # An interrupted training must not repeat its noise after a restart.
        store["seed_generator"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_generator"][()])

    def generate(self, num_images, seed=None, labels=None, batch_size=100, progress=False):
        """Generates images batch by batch in one compiled function, in memory bounded by `batch_size`.

        Args:
            num_images: how many, at least 1.
            seed: integer; the same seed and batch_size give the same images on the same machine. None draws new ones.
            labels: None; only models with `num_classes` take integer labels (num_images,).
            batch_size: images drawn at once, at least 1.
            progress: show a progress bar.

        Returns:
            float32 array (num_images, height, width, channels) in [0, 1].
        """
        for name, count in [("num_images", num_images), ("batch_size", batch_size)]:
            if not isinstance(count, numbers.Real) or not float(count).is_integer() or count < 1:
                raise ValueError(f"{name} is {count}; expected a whole number of at least 1.")
        num_images, batch_size = int(num_images), int(batch_size)
        if labels is not None and self.num_classes is None:
            raise ValueError(f"{self.name} has no classes, yet labels were given; leave labels out.")
        use_xla = self.jit_compile is True
        if self._sample_uses_xla != use_xla:
            # A partial is a function of its own; one method traced for many models makes TensorFlow warn of retracing.
            sample = functools.partial(self.sample)
            self._compiled_sample, self._sample_uses_xla = tf.function(sample, jit_compile=use_xla), use_xla
        batch_size = min(batch_size, num_images)
        state = self.seed_generator.state
        state_before = tf.convert_to_tensor(state)
        if seed is not None:
            state.assign([seed, 0])
        images = np.empty((num_images, *self.image_shape), "float32")
        try:
            for start in tqdm(range(0, num_images, batch_size), disable=not progress, desc="generate"):
                batch = self._compiled_sample(batch_size)
                images[start : start + batch_size] = batch[: num_images - start]
        finally:
            if seed is not None:
                state.assign(state_before)
        return images
