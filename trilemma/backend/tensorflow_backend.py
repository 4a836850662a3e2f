"""The training step, compiled functions, gradients, devices and batches of TensorFlow."""

import contextlib
import functools

import keras
import tensorflow as tf

from trilemma import messages

__all__ = [
    "SeedGenerator", "Steps", "accelerators", "compile_function", "devices_of", "fit_data", "input_gradients",
    "list_devices", "make_strategy", "num_replicas", "versions",
]  # fmt: skip


class Steps:
    """What `fit` and `evaluate` do with a batch, for every model of the contract."""

    def train_step(self, data):
        """Moves the networks of every player down its own loss, and the averages after them."""
        images, labels = self.unpack(data)
        trained = self.trained_variables()
        # Optimizers sum the gradients of all replicas, so each replica contributes its share.
        share = 1 / num_replicas()
        with tf.GradientTape(persistent=True) as tape:
            losses = self.compute_losses(images, labels, training=True)
            scaled = {name: self.optimizers[name].scale_loss(losses[name]) * share for name in trained}
        # All gradients come before the first step, which would change what the others are taken at.
        gradients = {name: tape.gradient(scaled[name], variables) for name, variables in trained.items()}
        for name, variables in trained.items():
            self.optimizers[name].apply(gradients[name], variables)
        self.update_averages()
        return self.update_trackers(losses, tf.shape(images)[0])

    def test_step(self, data):
        """Reports the losses of a batch."""
        images, labels = self.unpack(data)
        return self.update_trackers(self.compute_losses(images, labels, training=False), tf.shape(images)[0])


class SeedGenerator(keras.random.SeedGenerator):
    """A SeedGenerator that draws different numbers on each replica of a MirroredStrategy."""

    def next(self, ordered=True):
        """The next seed of this replica."""
        seed = super().next(ordered)
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group if context is not None else 0, seed.dtype)
        # The second number counts the draws; this offset keeps the replicas' counts apart.
        return seed + tf.stack([tf.zeros_like(replica), replica * 2**24])


def compile_function(function, variables, jit_compile):
    """Compiles a function of tensors that reads `variables`; None among the arguments is allowed."""
    # A partial is a function of its own; one method traced for many models makes TensorFlow warn of retracing.
    return tf.function(functools.partial(function), jit_compile=jit_compile)


def input_gradients(function, inputs):
    """The gradient of the sum of `function(inputs)` with respect to the inputs, itself differentiable."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    return tape.gradient(outputs, inputs)


def fit_data(batches, training=True):
    """`data.Batches` as the tf.data.Dataset that feeds `fit`: one epoch per iteration, one batch read ahead."""
    size = batches.batch_size if batches.drop_remainder else None

    def specification(array):
        return tf.TensorSpec((size, *array.shape[1:]), tf.as_dtype(array.dtype))

    parts = (batches.images,) if batches.labels is None else (batches.images, batches.labels)
    signature = tuple(map(specification, parts))
    dataset = tf.data.Dataset.from_generator(
        lambda: batches, output_signature=signature if len(parts) > 1 else signature[0]
    )
    # The thread that tunes a pipeline sleeps ever longer, and the end of an epoch would wait until it wakes.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    return dataset.prefetch(1).with_options(options)


@messages.without_noise()
def list_devices():
    """Names of all devices, for example ["CPU:0", "GPU:0"]; prepares the GPUs, if this is their first use."""
    for gpu in tf.config.list_physical_devices("GPU"):
        # GPUs in use refuse the setting; it was made by an earlier call then.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    return [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]


@messages.without_noise()
def make_strategy(devices):
    """A tf.distribute.Strategy over these devices."""
    for device in devices:
        if device.startswith("GPU"):
            _use_first(device)
    return tf.distribute.OneDeviceStrategy(devices[0]) if len(devices) == 1 else _mirrored_strategy(tuple(devices))


@functools.cache
def _use_first(device):
    """Compiles and convolves once: the first time TensorFlow writes lines of XLA and cuDNN, whatever the log level."""
    convolve = tf.function(lambda images: tf.nn.conv2d(images, images, 1, "SAME"), jit_compile=True)
    # What fails here fails in the first model too, with a message of its own.
    with contextlib.suppress(tf.errors.OpError), tf.device(device):
        convolve(tf.ones((8, 8, 8, 8)))


@functools.cache
def _mirrored_strategy(devices):
    # A second strategy over the same devices would mix up the keys of their collective operations.
    return tf.distribute.MirroredStrategy(devices)


def devices_of(strategy):
    """Names of the devices of a strategy of `make_strategy`."""
    return [name.split("device:")[-1] for name in strategy.extended.worker_devices]


def num_replicas():
    """Replicas among which the current strategy divides a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


@messages.without_noise()
def accelerators():
    """Device name -> what a person calls it, for all GPUs."""
    details = tf.config.experimental.get_device_details
    return {
        gpu.name.removeprefix("/physical_device:"): details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    }


def versions():
    """Versions that a result depends on."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
