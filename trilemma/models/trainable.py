"""What every model can do: train with `compile` and `fit`, report losses with `evaluate`, be saved and loaded."""

import contextlib

import keras
import numpy as np
from keras import ops

from trilemma import backend
from trilemma.data import Batches, check_images, check_labels, make_dataset
from trilemma.data.folders import ImageFiles


def warm_up_and_cosine(learning_rate, num_steps):
    """A schedule that rises linearly for 500 steps, or a tenth of fewer than 5000, then falls as a cosine to zero."""
    warmup_steps = min(500, num_steps // 10)
    # Keras counts the steps of the decay from the end of the warm-up.
    return keras.optimizers.schedules.CosineDecay(
        0.0, num_steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )


def in_unit_range(images):
    """Images within a traced function, uint8 or floats in [0, 1] -> floats in [0, 1]."""
    whole = keras.backend.standardize_dtype(images.dtype) == "uint8"
    return ops.cast(images, "float32") / 255 if whole else images


def average_of(network):
    """A network's copy for the average of its weights, as `averages` names it; no optimizer moves it."""
    average = keras.models.clone_model(network)
    average.set_weights(network.get_weights())
    average.trainable = False
    return average


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
        networks_of_teacher: the keys of `networks` that its training leaves as a teacher has them; a weights file does
            not repeat them.
        optimizers: name of a player's loss -> its optimizer; empty before `compile`.
    """

    loss_names = ("loss",)
    num_classes = None
    networks_of_teacher = ()

    def __init__(self, image_shape, seed=None, config=None, **kwargs):
        super().__init__(**kwargs)
        if len(image_shape) != 3:
            raise ValueError(f"image_shape is {tuple(image_shape)}; expected (height, width, channels).")
        decay = (config or {}).get("ema_decay")
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"ema_decay is {decay}; expected a share of at least 0 and below 1.")
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

    def trained_variables(self):
        """Name of a player's loss -> the variables that are trained to minimise it."""
        return {
            name: [variable for network in networks for variable in network.trainable_variables]
            for name, networks in self.players().items()
        }

    def compile(self, optimizer, jit_compile="auto", run_eagerly=False):
        """Prepares `fit`.

        Args:
            optimizer: a Keras optimizer or its name; with several players a dict: name of the loss -> optimizer.
            jit_compile: compile with XLA; "auto" does so on accelerators. JAX always does.
            run_eagerly: see `keras.Model.compile`.

        Raises:
            ValueError: the optimizers do not match the players.
        """
        trained = self.trained_variables()
        given = optimizer if isinstance(optimizer, dict) else dict.fromkeys(trained, optimizer)
        if given.keys() != trained.keys():
            raise ValueError(f"optimizers are for {sorted(given)}; expected one for each of {sorted(trained)}.")
        optimizers = {name: keras.optimizers.get(each) for name, each in given.items()}
        if len({id(each) for each in optimizers.values()}) < len(optimizers):
            raise ValueError(f"players share an optimizer; expected one of its own for each of {sorted(trained)}.")
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
            optimizers[name].build(trained[name])
        self._given_jit_compile = jit_compile
        if keras.backend.backend() == "jax":
            jit_compile = jit_compile or "auto"  # Without, Keras runs every operation of a step alone.
        # Keras itself knows of the first one.
        super().compile(next(iter(optimizers.values())), jit_compile=jit_compile, run_eagerly=run_eagerly)
        self.optimizers = optimizers

    def get_compile_config(self):
        if not self.optimizers:
            return {}
        optimizers = {name: keras.saving.serialize_keras_object(each) for name, each in self.optimizers.items()}
        return {"optimizers": optimizers, "jit_compile": self._given_jit_compile, "run_eagerly": self.run_eagerly}

    def compile_from_config(self, config):
        optimizers = {name: keras.saving.deserialize_keras_object(each) for name, each in config["optimizers"].items()}
        self.compile(optimizers, jit_compile=config["jit_compile"], run_eagerly=config["run_eagerly"])

    def fit(self, x, y=None, batch_size=None, shuffle=True, validation_data=None, **kwargs):
        """Like `keras.Model.fit`, but checks images and labels first.

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
        refused = sorted({"validation_split", "validation_batch_size", "sample_weight", "class_weight"} & kwargs.keys())
        if refused:
            raise ValueError(f"{refused[0]} is not supported; leave it out.")
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, tuple) else (validation_data, None)
            if len(parts) != 2:
                raise ValueError(f"validation_data has {len(parts)} parts; expected images, or (images, labels).")
            own = None if isinstance(parts[0], Batches) else batch_size
            validation_data = self._checked_batches(*parts, batch_size=own)
        x = self._checked_batches(x, y, batch_size, shuffle, training="steps_per_epoch" not in kwargs)
        return super().fit(x, shuffle=False, validation_data=validation_data, **kwargs)

    def evaluate(self, x, y=None, batch_size=None, **kwargs):
        """Like `keras.Model.evaluate`; x, y and errors as in `fit`."""
        return super().evaluate(self._checked_batches(x, y, batch_size), **kwargs)

    def _checked_batches(self, x, y=None, batch_size=None, shuffle=False, training=False):
        """Checks what goes into `fit` and `evaluate`; returns what the backend reads batches from."""
        if isinstance(x, Batches | ImageFiles | np.ndarray | list | tuple | dict | None) or ops.is_tensor(x):
            if isinstance(x, Batches):
                if y is not None or batch_size is not None:
                    raise ValueError("labels or batch_size stand beside batches; give them to make_dataset.")
            else:
                x = make_dataset(x, y, 32 if batch_size is None else batch_size, shuffle, drop_remainder=False)
            self._check(x.images[:1], None if x.labels is None else x.labels)
            last = 0 if x.drop_remainder else len(x.images) % x.batch_size
            if 0 < last < backend.num_replicas():
                raise ValueError(
                    f"the last batch holds {last} of {len(x.images)} images, fewer than the {backend.num_replicas()} "
                    "replicas; choose another batch_size, or make_dataset with drop_remainder=True."
                )
            return backend.fit_data(x, training)
        if y is not None or batch_size is not None:
            raise ValueError(
                f"labels or batch_size stand beside a {type(x).__name__}, which holds its own; leave them out."
            )
        if hasattr(x, "element_spec"):  # a tf.data.Dataset, which can be read twice
            first = next(iter(x))
            self._check(*keras.utils.unpack_x_y_sample_weight(first)[:2])
        return x

    def _check(self, images, labels=None):
        check_images(images, self.image_shape)
        if labels is None and self.num_classes is not None:
            raise ValueError(f"{type(self).__name__} needs labels, 0 ... {self.num_classes - 1}; none were given.")
        if labels is not None:
            if self.num_classes is None:
                raise ValueError(f"{type(self).__name__} has no classes, yet labels were given; leave labels out.")
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
                f"{type(self).__name__} {'needs' if labels is None else 'takes no'} labels beside its images; "
                f"{'add' if labels is None else 'remove'} them."
            )
        return ops.cast(in_unit_range(images), "float32"), labels

    def update_trackers(self, losses, num_images=1):
        """Adds a batch to the running means over images that `fit` and `evaluate` report, and returns the means."""
        if losses.keys() != self.trackers.keys():
            raise ValueError(f"compute_losses returns {sorted(losses)}; expected loss_names {sorted(self.trackers)}.")
        for name, value in losses.items():
            self.trackers[name].update_state(value, sample_weight=num_images)
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
