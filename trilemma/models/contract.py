"""The contract of every model: train with `compile` and `fit`, draw with `generate`."""

import contextlib
import functools
import numbers

import keras
import numpy as np
from keras import ops
from tqdm.auto import tqdm

from trilemma import backend, noise
from trilemma.data import Batches, check_images, check_labels, make_dataset
from trilemma.data.folders import ImageFiles


def whole_number(name, value, least=1, most=None):
    """Returns a whole number of any type as an int, or refuses it by its name."""
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"in {least} ... {most}"
        raise ValueError(f"{name} is {value}; expected a whole number {limits}.")
    return int(value)


class TrainableModel(backend.Steps, keras.Model):
    """Base class of all models: losses, players, optimizers, the door for images and labels.

    A model builds its networks in the constructor, within `self.precision()`, and adds `compute_losses`, `players`,
    `default_optimizers` and `call`.

    Args:
        image_shape: (height, width, channels).
        seed: integer that makes what is random in the training repeatable.
        config: the other arguments of the constructor, for `get_config`.
        **kwargs: name and dtype, as every Keras model has them; the networks follow that dtype.

    Attributes:
        loss_names: the keys of `compute_losses`, under which `fit` and `evaluate` report them.
        num_classes: number of classes; labels are needed then. None: labels are refused.
        networks: name -> tuple of networks; a weights file holds the first of each tuple and is loaded into
            all of them.
        optimizers: name of a player's loss -> its optimizer; empty before `compile`.
    """

    loss_names = ("loss",)
    num_classes = None

    def __init__(self, image_shape, seed=None, config=None, **kwargs):
        super().__init__(**kwargs)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape is {tuple(image_shape)}; expected (height, width, channels).")
        self.image_shape = tuple(int(side) for side in image_shape)
        self.seed = seed
        self.config = {"image_shape": self.image_shape, "seed": seed, **(config or {})}
        self.seed_generator = backend.SeedGenerator(seed)
        self.trackers = {name: keras.metrics.Mean(name=name) for name in self.loss_names}
        self.optimizers = {}
        # Every network is built in the constructor; Keras learns it only from a call otherwise.
        self.built = True

    @contextlib.contextmanager
    def precision(self):
        """Layers that are made within compute in the dtype of this model, whatever the global policy is."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)

    def compute_losses(self, images, labels, training):
        """Losses of one batch, in `keras.ops` alone, so that they run on every backend.

        Args:
            images: float32 (batch, height, width, channels) in [0, 1].
            labels: int (batch,), or None.
            training: True in `fit`, False in `evaluate`.

        Returns:
            dict of scalars, one for each of `loss_names`.
        """
        raise NotImplementedError

    def players(self):
        """Which loss trains what: name of a loss -> the networks that `optimizers[name]` moves down it."""
        raise NotImplementedError

    def averages(self):
        """Pairs (network of averaged weights, network that it follows); the decay is `ema_decay`."""
        return ()

    def default_optimizers(self, learning_rate, num_steps):
        """The optimizers for `compile`, for a training of `num_steps` steps: one, or a dict with one per player."""
        raise NotImplementedError

    def moved_variables(self):
        """Name of a player's loss -> the variables that it moves."""
        return {
            name: [variable for network in networks for variable in network.trainable_variables]
            for name, networks in self.players().items()
        }

    def compile(self, optimizer, jit_compile="auto", run_eagerly=False):
        """Prepares `fit`.

        Args:
            optimizer: a Keras optimizer or its name; with several players a dict: name of the loss -> optimizer.
            jit_compile, run_eagerly: see `keras.Model.compile`.

        Raises:
            ValueError: the optimizers do not match the players.
        """
        moved = self.moved_variables()
        given = optimizer if isinstance(optimizer, dict) else {name: optimizer for name in list(moved)[:1]}
        if given.keys() != moved.keys():
            raise ValueError(f"optimizers are for {sorted(given)}; expected one for each of {sorted(moved)}.")
        optimizers = {name: keras.optimizers.get(each) for name, each in given.items()}
        if len({id(each) for each in optimizers.values()}) < len(optimizers):
            raise ValueError("two players share one optimizer; expected one of its own for each.")
        for name, each in optimizers.items():
            if each.use_ema:
                raise ValueError(
                    f"the optimizer of {name} has use_ema; Keras ends its averages for one optimizer only. Leave it "
                    "out: models keep averages of their own."
                )
            # Keras scales the loss for float16 only with the one optimizer it knows.
            scaled = isinstance(each, keras.optimizers.LossScaleOptimizer)
            if self.dtype_policy.name == "mixed_float16" and not scaled:
                optimizers[name] = keras.optimizers.LossScaleOptimizer(each)
            # Built here, each knows its own variables before a checkpoint is restored.
            optimizers[name].build(moved[name])
        if keras.backend.backend() == "jax":
            jit_compile = jit_compile or "auto"  # Without, Keras runs every operation of a step alone.
        # Keras itself knows of the first one.
        super().compile(next(iter(optimizers.values())), jit_compile=jit_compile, run_eagerly=run_eagerly)
        self.optimizers = optimizers

    def get_compile_config(self):
        if not self.optimizers:
            return {}
        optimizers = {name: keras.saving.serialize_keras_object(each) for name, each in self.optimizers.items()}
        return {"optimizers": optimizers, "jit_compile": self.jit_compile, "run_eagerly": self.run_eagerly}

    def compile_from_config(self, config):
        optimizers = {name: keras.saving.deserialize_keras_object(each) for name, each in config["optimizers"].items()}
        self.compile(optimizers, jit_compile=config["jit_compile"], run_eagerly=config["run_eagerly"])

    def fit(self, x, y=None, batch_size=None, shuffle=True, validation_data=None, **kwargs):
        """Like `keras.Model.fit`, with a door.

        Args:
            x: what `make_dataset` made; or images, uint8 or floats in [0, 1], (num_images, height, width, channels);
                or a tf.data.Dataset of batches of them, of which the first one is looked at.
            y: labels, integers (num_images,), of a model with `num_classes`.
            batch_size, shuffle: for images; 32 and True.
            validation_data: as x, or a tuple (x, y).
            **kwargs: epochs, verbose, callbacks, initial_epoch, ... of `keras.Model.fit`.

        Returns:
            keras.callbacks.History.

        Raises:
            ValueError: images or labels of another kind, or a last batch smaller than the number of replicas.
        """
        refused = sorted({"validation_split", "sample_weight", "class_weight"} & kwargs.keys())
        if refused:
            raise ValueError(f"{refused[0]} is not supported; leave it out.")
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            validation_data = self._door(*parts, batch_size=batch_size)
        x = self._door(x, y, batch_size, shuffle)
        return super().fit(x, shuffle=False, validation_data=validation_data, **kwargs)

    def evaluate(self, x, y=None, batch_size=None, **kwargs):
        """Like `keras.Model.evaluate`; x, y and errors as in `fit`."""
        return super().evaluate(self._door(x, y, batch_size), **kwargs)

    def _door(self, x, y=None, batch_size=None, shuffle=False):
        """Checks what goes into `fit` and `evaluate`; returns what the backend reads batches from."""
        if isinstance(x, Batches | ImageFiles | np.ndarray | list) or ops.is_tensor(x):
            if isinstance(x, Batches):
                if y is not None or batch_size is not None:
                    raise ValueError("labels or batch_size stand beside batches; give them to make_dataset.")
            else:
                x = make_dataset(x, y, batch_size or 32, shuffle, drop_remainder=False)
            self._check(x.images[:1], None if x.labels is None else x.labels)
            last = 0 if x.drop_remainder else len(x.images) % x.batch_size
            if 0 < last < backend.num_replicas():
                raise ValueError(
                    f"the last batch holds {last} of {len(x.images)} images, fewer than the {backend.num_replicas()} "
                    "replicas; choose another batch_size, or make_dataset with drop_remainder=True."
                )
            return backend.fit_data(x)
        if hasattr(x, "element_spec"):  # a tf.data.Dataset, which can be read twice
            first = next(iter(x))
            self._check(*keras.utils.unpack_x_y_sample_weight(first)[:2])
        return x

    def _check(self, images, labels=None):
        check_images(images, self.image_shape)
        if labels is None and self.num_classes is not None:
            raise ValueError(f"{self.name} needs labels, 0 ... {self.num_classes - 1}; none were given.")
        if labels is not None:
            if self.num_classes is None:
                raise ValueError(f"{self.name} has no classes, yet labels were given; leave labels out.")
            check_labels(labels, len(labels), self.num_classes)

    def unpack(self, data):
        """A batch of `fit` -> images, float32 in [0, 1], and labels or None; called while a step is traced."""
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError("batches hold sample weights, which no model takes; leave them out.")
        if tuple(images.shape[1:]) != self.image_shape:
            expected = ", ".join(map(str, self.image_shape))
            raise ValueError(f"images have the shape {tuple(images.shape)}; expected (batch, {expected}).")
        if (labels is None) != (self.num_classes is None):
            raise ValueError(
                f"{self.name} {'needs' if labels is None else 'takes no'} labels beside its images; "
                f"{'add' if labels is None else 'remove'} them."
            )
        whole = keras.backend.standardize_dtype(images.dtype) == "uint8"
        images = ops.cast(images, "float32")
        return images / 255 if whole else images, labels

    def update_trackers(self, losses):
        """Adds a batch to the running means that `fit` and `evaluate` report, and returns the means."""
        if losses.keys() != self.trackers.keys():
            raise ValueError(f"compute_losses returns {sorted(losses)}; expected loss_names {sorted(self.trackers)}.")
        for name, value in losses.items():
            self.trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def update_averages(self):
        """Moves averaged weights towards their network's by 1 - ema_decay, in the first steps by more."""
        for average, network in self.averages():
            step = ops.cast(self.optimizer.iterations, "float32")
            decay = ops.minimum(self.ema_decay, (1 + step) / (10 + step))
            for slow, fast in zip(average.weights, network.weights, strict=True):
                slow.assign(decay * slow + (1 - decay) * fast)

    @property
    def metrics(self):
        return list(self.trackers.values())

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # An interrupted training must not repeat its noise after a restart.
        store["seed_generator"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        super().load_own_variables({key: store[key] for key in store.keys() if key != "seed_generator"})  # noqa: SIM118
        self.seed_generator.state.assign(store["seed_generator"][()])

    def get_config(self):
        return {**self.config, "name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.dtype_policies.deserialize(config["dtype"])
        return cls(**config)


class GenerativeModel(TrainableModel):
    """Base class of models that draw images; a model adds `sample`.

    Attributes:
        passes_per_image: network evaluations per generated image (NFE).
    """

    passes_per_image = 1

    def __init__(self, image_shape, seed=None, config=None, **kwargs):
        super().__init__(image_shape, seed, config, **kwargs)
        self.reset_sampling()

    def sample(self, draw_noise, labels=None, guidance=None):
        """Draws one batch; traced, so no Python side effects.

        Args:
            draw_noise: function (draw, shape) -> float32 (batch, *shape), standard normal: another `draw`, an integer
                scalar, has other numbers. See `noise.standard_normal`.
            labels: int (batch,), or None.
            guidance: float scalar, or None.

        Returns:
            (batch, height, width, channels) in [0, 1].
        """
        raise NotImplementedError

    def reset_sampling(self):
        """Forgets what `generate` compiled, after a change of how to sample."""
        self._compiled_sample = {}

    def generate(self, num_images, labels=None, guidance=None, seed=None, batch_size=100, progress=False):
        """Generates images batch by batch in one compiled function, in memory bounded by `batch_size`.

        Image i of a seed depends on the seed and i alone: more images, or other batches, leave it as it is, up to
        rounding.

        Args:
            num_images: how many, at least 1.
            labels: integers (num_images,), or one for all; only for models with `num_classes`, which need them.
            guidance: strength of the guidance by labels; only for models with `num_classes`.
            seed: integer, 0 ... 2^32 - 1; None draws new images at every call.
            batch_size: images drawn at once, at least 1.
            progress: show a progress bar.

        Returns:
            float32 array (num_images, height, width, channels) in [0, 1].

        Raises:
            ValueError: a number out of its range; labels or guidance for a model without classes, or none for one.
        """
        num_images, batch_size = whole_number("num_images", num_images), whole_number("batch_size", batch_size)
        if seed is None:
            seed = int(keras.random.randint((), 0, 2**31 - 1, seed=self.seed_generator))
        seed = whole_number("seed", seed, 0, 2**32 - 1)
        labels = self._checked_labels(labels, guidance, num_images)
        use_xla = self.jit_compile is True
        if use_xla not in self._compiled_sample:
            self._compiled_sample[use_xla] = backend.compile_function(self._sample_batch, self.variables, use_xla)
        batch_size = min(batch_size, num_images)
        images = np.empty((num_images, *self.image_shape), "float32")
        for start in tqdm(range(0, num_images, batch_size), disable=not progress, desc="generate"):
            # The last batch is drawn in full too, since another size would be compiled anew.
            numbers = np.arange(start, start + batch_size)
            chosen = None if labels is None else ops.convert_to_tensor(labels[np.minimum(numbers, num_images - 1)])
            batch = self._compiled_sample[use_xla](
                ops.convert_to_tensor(np.uint32(seed)),
                ops.convert_to_tensor(numbers.astype("uint32")),
                chosen,
                None if guidance is None else ops.convert_to_tensor(guidance, "float32"),
            )
            images[start : start + batch_size] = ops.convert_to_numpy(batch)[: num_images - start]
        return images

    def _sample_batch(self, seed, numbers, labels, guidance):
        return self.sample(functools.partial(noise.standard_normal, seed, numbers), labels, guidance)

    def _checked_labels(self, labels, guidance, num_images):
        if self.num_classes is None:
            for name, value in (("labels", labels), ("guidance", guidance)):
                if value is not None:
                    raise ValueError(f"{self.name} has no classes, yet {name} were given; leave {name} out.")
            return None
        if labels is None:
            raise ValueError(f"{self.name} draws by classes; give labels, integers in 0 ... {self.num_classes - 1}.")
        labels = np.full(num_images, labels) if np.ndim(labels) == 0 else labels
        return check_labels(labels, num_images, self.num_classes)
