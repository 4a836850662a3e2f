import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # As `import trilemma` sets it, which comes after TensorFlow here.

import keras
import numpy as np
import pytest
import tensorflow as tf

# Two logical CPUs let MirroredStrategy run on any machine; only possible before TensorFlow initialises.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("TRILEMMA_DATA", raising=False)
    keras.utils.set_random_seed(0)  # Untrained networks are the same in every run.
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def weights_dir(monkeypatch, tmp_path):
    """An empty folder in place of the shipped weights, and no weights in the working folder."""
    from trilemma.training import pretrained

    monkeypatch.setattr(pretrained, "WEIGHTS_DIR", tmp_path / "weights")
    monkeypatch.setattr(pretrained, "WORKING_DIR", tmp_path / "trilemma_weights")
    return tmp_path / "weights"


@pytest.fixture
def change_reference():
    """Puts other arrays into the reference of a data set, as of its present classifier."""

    def change(name, **arrays):
        from trilemma.training import pretrained

        known = pretrained.load_arrays(f"reference_{name}")
        made_by = pretrained.pretrained_index()[f"classifier_{name}"]["sha256"]
        pretrained.save_arrays(f"reference_{name}", {**known, **arrays}, classifier_sha256=made_by)

    return change
