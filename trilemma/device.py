"""The one place that chooses devices and precision."""

import os
import pathlib
import platform

import keras

from trilemma import backend

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_chosen = None  # names of the devices of the latest `setup_device`


def setup_device(precision="float32", devices=None):
    """Prepares the accelerators, or the CPU, before the first model is built.

    Args:
        precision: "float32", "bfloat16" or "float16": the Keras policy for models built from now on. Weights
            stay float32.
        devices: device names such as ["CPU:0", "CPU:1"]; None takes all GPUs (on JAX the first GPU or TPU), or the
            CPU if there is none.

    Returns:
        A tf.distribute.Strategy: OneDeviceStrategy, or MirroredStrategy over several devices; on JAX an object with
        the same `scope`. Build, compile and `fit` models inside `with strategy.scope():`.

    Raises:
        ValueError: unknown precision or device.
    """
    global _chosen
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; expected one of {sorted(PRECISIONS)}.")
    known = backend.list_devices()
    if devices is None:
        gpus = [name for name in known if name.startswith("GPU")]
        devices = known[:1] if keras.backend.backend() == "jax" else gpus or ["CPU:0"]
    if isinstance(devices, str) or not devices or not set(devices) <= set(known):
        raise ValueError(f"devices are {devices!r}; expected a list of at least one of {known}.")
    strategy = backend.make_strategy(list(devices))
    keras.mixed_precision.set_global_policy(PRECISIONS[precision])
    _chosen = list(devices)
    return strategy


def describe_device(strategy):
    """A short text for people: devices, precision, and how to get a GPU where there is none."""
    names = {"tensorflow": "TensorFlow", "jax": "JAX", "keras": "Keras"}
    lines = [
        ", ".join(f"{names[library]} {version}" for library, version in backend.versions().items()),
        f"computing on {', '.join(backend.devices_of(strategy))} in {keras.mixed_precision.global_policy().name}",
    ]
    if not backend.accelerators():
        lines.append("no GPU found; in Colab: Runtime > Change runtime type > T4 GPU")
    return "\n".join(lines)


def device_name():
    """What a result was measured on, for example "CPU, 2 cores, AMD EPYC (AVX-512)" or "Tesla T4".

    The devices that `setup_device` chose last, or would choose by itself.
    """
    names = [name for device, name in backend.accelerators().items() if _chosen is None or device in _chosen]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores, {_cpu_model()}"


def _cpu_model():
    """The processor, with its vector instructions: cloud machines of one name differ in them, and in speed."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags]
    return fields.get("model name", platform.machine()) + "".join(f" ({name})" for name in vectors[:1])
