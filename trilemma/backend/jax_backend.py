"""The training step, compiled functions, gradients, devices and batches of JAX."""

import contextlib

import jax
import keras
import numpy as np
from keras import ops

__all__ = [
    "SeedGenerator", "Steps", "accelerators", "compile_function", "devices_of", "fit_data", "input_gradients",
    "list_devices", "make_strategy", "num_replicas", "versions",
]  # fmt: skip

SCAN_BYTES = 2**32  # images up to this size stay in an accelerator's memory
STEPS_PER_CALL = 1000  # training steps that one compiled call takes there
SeedGenerator = keras.random.SeedGenerator


class Steps:
    """What `fit` and `evaluate` do with a batch, for every model of the contract."""

    @property
    def non_trainable_variables(self):
        """With the states of all optimizers but the first, which Keras hands from step to step by itself."""
        variables, first = list(super().non_trainable_variables), getattr(self, "optimizer", None)
        others = [each for each in getattr(self, "optimizers", {}).values() if each is not first]
        return variables + [variable for optimizer in others for variable in optimizer.variables]

    def train_step(self, state, data):
        """Moves the networks of every player down its own loss, and the averages after them.

        Args:
            state: lists of values: trainable, non-trainable, optimizer's and metrics' variables.
            data: a batch, or the dict of `_Scanned`: many steps in one call.

        Returns:
            logs, state.
        """
        if not isinstance(data, dict):
            return self._train_on(state, data)

        def step(state, chosen):
            logs, state = self._train_on(state, tuple(part[chosen] for part in data["parts"]))
            return state, logs

        state, logs = jax.lax.scan(step, state, data["order"])
        return jax.tree.map(lambda each: each[-1], logs), state

    def _train_on(self, state, data):
        images, labels = self.unpack(data)
        trained = self.trained_variables()
        groups = self._state_variables(with_optimizer=True)
        variables = [variable for group in groups for variable in group]
        before = list(zip(variables, (value for values in state for value in values), strict=True))

        def losses_of(weights):
            given = [pair for name in trained for pair in zip(trained[name], weights[name], strict=True)]
            with keras.StatelessScope([*before, *given]) as scope:
                losses = self.compute_losses(images, labels, training=True)
                scaled = {name: self.optimizers[name].scale_loss(losses[name]) for name in trained}
            return scaled, (losses, [scope.get_current_value(variable) for variable in variables])

        with keras.StatelessScope(before) as scope:
            weights = {name: [variable.value for variable in each] for name, each in trained.items()}
            scaled, pull_back, (losses, after) = jax.vjp(losses_of, weights, has_aux=True)
            for variable, value in zip(variables, after, strict=True):  # random numbers and moving statistics
                variable.assign(value)
            for name, each in trained.items():
                cotangents = {other: ops.full_like(value, other == name) for other, value in scaled.items()}
                (gradients,) = pull_back(cotangents)
                # Without hidden assignments, which for float16 lie in a branch of the compiled step.
                optimizer, values = self.optimizers[name], [variable.value for variable in each]
                states = [variable.value for variable in optimizer.variables]
                values, states = optimizer.stateless_apply(states, gradients[name], values)
                for variable, value in zip([*each, *optimizer.variables], [*values, *states], strict=True):
                    variable.assign(value)
            self.update_averages()
            logs = self.update_trackers(losses, len(images))
        return logs, tuple([scope.get_current_value(variable) for variable in group] for group in groups)

    def test_step(self, state, data):
        """Reports the losses of a batch; arguments as in `train_step`, without an optimizer's variables."""
        images, labels = self.unpack(data)
        groups = self._state_variables(with_optimizer=False)
        variables = [variable for group in groups for variable in group]
        before = list(zip(variables, (value for values in state for value in values), strict=True))
        with keras.StatelessScope(before) as scope:
            logs = self.update_trackers(self.compute_losses(images, labels, training=False), len(images))
        return logs, tuple([scope.get_current_value(variable) for variable in group] for group in groups)

    def _state_variables(self, with_optimizer):
        optimizer = [self.optimizer.variables] if with_optimizer else []
        return [self.trainable_variables, self.non_trainable_variables, *optimizer, self.metrics_variables]


def compile_function(function, variables, jit_compile):
    """Compiles a function of tensors that reads `variables`; None among the arguments is allowed."""

    def stateless(values, arguments):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(*arguments)

    compiled = jax.jit(stateless)
    return lambda *arguments: compiled([variable.value for variable in variables], arguments)


def input_gradients(function, inputs):
    """The gradient of the sum of `function(inputs)` with respect to the inputs, itself differentiable."""
    return jax.grad(lambda x: ops.sum(function(x)))(inputs)


class _Scanned(keras.utils.PyDataset):
    """An epoch of `data.Batches` as a few calls of many steps; the images lie in the accelerator's memory."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        parts = (batches.images,) if batches.labels is None else (batches.images, batches.labels)
        self.parts = tuple(jax.device_put(np.asarray(part)) for part in parts)

    def __len__(self):
        return -(-len(self.batches) // STEPS_PER_CALL)

    def __getitem__(self, index):
        order = self.batches.order()[: len(self.batches) * self.batches.batch_size]
        order = order.reshape(-1, self.batches.batch_size).astype("int32")
        self.batches.finished = index == len(self) - 1
        return {"parts": self.parts, "order": order[index * STEPS_PER_CALL : (index + 1) * STEPS_PER_CALL]}

    def on_epoch_end(self):
        self.batches.on_epoch_end()


def scans():
    """Whether many steps go into one call; on a CPU the gradient of a convolution in a loop is 14 times slower."""
    return (jax.config.jax_default_device or jax.devices()[0]).platform != "cpu"


def fit_data(batches, training=True):
    """What feeds `fit`: `data.Batches` as they are, or, in training on an accelerator, from its own memory."""
    fits = isinstance(batches.images, np.ndarray) and batches.images.nbytes <= SCAN_BYTES
    return _Scanned(batches) if training and scans() and fits and batches.drop_remainder else batches


class _OneDevice:
    """Stands for a tf.distribute.Strategy over one device."""

    def __init__(self, name):
        self.name = name

    @contextlib.contextmanager
    def scope(self):
        """Computes on this device."""
        with jax.default_device(dict(zip(list_devices(), _devices(), strict=True))[self.name]):
            yield


def _devices():
    accelerated = [] if jax.default_backend() == "cpu" else jax.devices()
    return [*accelerated, *jax.devices("cpu")]


def list_devices():
    """Names of all devices, for example ["GPU:0", "CPU:0"]."""
    return [f"{device.platform.upper()}:{device.id}" for device in _devices()]


def make_strategy(devices):
    """An object whose `scope()` computes on one device.

    Raises:
        ValueError: more devices than one.
    """
    if len(devices) > 1:
        raise ValueError(f"devices are {devices}; on JAX a model trains on one. Name one, or use TensorFlow.")
    return _OneDevice(devices[0])


def devices_of(strategy):
    """Names of the devices of a strategy of `make_strategy`."""
    return [strategy.name]


def num_replicas():
    """Replicas among which a batch is divided."""
    return 1


def accelerators():
    """Device name -> what a person calls it, for all GPUs and TPUs."""
    named = zip(list_devices(), _devices(), strict=True)
    return {name: device.device_kind for name, device in named if device.platform != "cpu"}


def versions():
    """Versions that a result depends on."""
    return {"jax": jax.__version__, "keras": keras.__version__}
