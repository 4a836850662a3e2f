"""The one place that chooses devices, precision and distribution."""

import contextlib
import functools
import os
import pathlib
import platform

import keras
import tensorflow as tf

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def setup_device(precision="float32", devices=None):
    """Prepares the GPUs, or the CPU, before the first model is built.

    Args:
        precision: "float32", "bfloat16" or "float16": the Keras policy for models built from now on. Weights
            stay float32.
        devices: device names such as ["CPU:0", "CPU:1"]; None takes all GPUs, or the CPU if there is none.

    Returns:
        A tf.distribute.Strategy: OneDeviceStrategy, or MirroredStrategy over several devices. Build, compile
        and `fit` models inside `with strategy.scope():`.

    Raises:
        ValueError: unknown precision or device.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; expected one of {sorted(PRECISIONS)}.")
    for gpu in tf.config.list_physical_devices("GPU"):
        # Already initialised GPUs refuse the setting; it was made by an earlier call then.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if devices is None:
        devices = [name for name in known if name.startswith("GPU")] or ["CPU:0"]
    if not devices or not set(devices) <= set(known):
        raise ValueError(f"devices are {devices}; expected at least one of {known}.")
    keras.mixed_precision.set_global_policy(PRECISIONS[precision])
    if len(devices) == 1:
        return tf.distribute.OneDeviceStrategy(devices[0])
    return _mirrored_strategy(tuple(devices))


@functools.cache
def _mirrored_strategy(devices):
    # A second strategy over the same devices would mix up the keys of their collective operations.
    return tf.distribute.MirroredStrategy(devices)


def describe_device(strategy):
    """A short text for people: devices, precision, and how to get a GPU where there is none."""
    devices = [name.split("device:")[-1] for name in strategy.extended.worker_devices]
    lines = [
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
        f"computing on {', '.join(devices)} in {keras.mixed_precision.global_policy().name}",
    ]
    if not tf.config.list_physical_devices("GPU"):
        lines.append("no GPU found; in Colab: Runtime > Change runtime type > T4 GPU")
    return "\n".join(lines)


def device_name():
    """What a result was measured on, for example "CPU, 2 cores, AMD EPYC (AVX-512)" or "Tesla T4"."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
        return ", ".join(names)
    return f"CPU, {os.cpu_count()} cores, {_cpu_model()}"


def _cpu_model():
    """The processor, with its vector instructions: cloud machines of one name differ in them, and in speed."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags]
    return fields.get("model name", platform.machine()) + "".join(f" ({name})" for name in vectors[:1])


def scale_loss(loss, optimizer):
    """Scales a loss before its gradient is taken.

    Optimizers sum the gradients of all replicas, so each replica contributes its share; for float16 the
    optimizer also asks for a factor that keeps small gradients from vanishing.

    Args:
        loss: scalar, a mean over this replica's images.
        optimizer: the Keras optimizer that will apply the gradient.
    """
    return optimizer.scale_loss(loss) / tf.distribute.get_strategy().num_replicas_in_sync


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A SeedGenerator that draws different numbers on each replica of a MirroredStrategy."""

    def next(self, ordered=True):
        seed = super().next(ordered)
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group if context is not None else 0, seed.dtype)
        # The second number counts the draws; this offset keeps the replicas' counts apart.
        return seed + tf.stack([tf.zeros_like(replica), replica * 2**24])
