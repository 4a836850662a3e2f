"""The same training steps and images on both backends, and the ones they have always been."""

import os
import pathlib
import subprocess
import sys

import fingerprints
import keras
import numpy as np
import pytest
import tensorflow as tf

from trilemma import backend
from trilemma.data import make_dataset

SCRIPT = pathlib.Path(fingerprints.__file__)
ALL_MODELS = pytest.mark.parametrize("name", list(fingerprints.MODELS))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def on_tensorflow():
    return fingerprints.everything()


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    pytest.importorskip("jax")
    path = tmp_path_factory.mktemp("jax") / "results.npz"
    # Compiling takes most of the time, and these few steps gain nothing from its optimisations.
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment["PYTHONPATH"] = str(SCRIPT.parent.parent)
    command = [sys.executable, str(SCRIPT), str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(path))


def test_both_backends_ran(on_jax):
    assert keras.backend.backend() == "tensorflow"
    assert str(on_jax["backend"]) == "jax"


@ALL_MODELS
def test_both_backends_start_from_the_same_weights(on_tensorflow, on_jax, name):
    np.testing.assert_array_equal(on_jax[f"{name}/before"], on_tensorflow[f"{name}/before"])


@ALL_MODELS
def test_two_training_steps_are_the_same_on_both_backends(on_tensorflow, on_jax, name):
    for key in (f"{name}/losses", f"{name}/evaluated"):
        np.testing.assert_allclose(on_jax[key], on_tensorflow[key], rtol=1e-4, atol=1e-6)
    moved, moved_on_jax = (results[f"{name}/after"] - results[f"{name}/before"] for results in (on_tensorflow, on_jax))
    largest = np.abs(moved).max()
    assert largest > 1e-3
    np.testing.assert_allclose(moved_on_jax, moved, rtol=1e-3, atol=2e-4 * largest)


@pytest.mark.parametrize("name", fingerprints.GENERATIVE)
def test_one_seed_draws_the_same_images_on_both_backends(on_tensorflow, on_jax, name):
    images = on_tensorflow[f"{name}/images"]
    assert images.std() > 0.01
    np.testing.assert_allclose(on_jax[f"{name}/images"], images, atol=1e-3)


def test_all_ways_of_sampling_a_pixelcnn_draw_the_same_pixels_on_both_backends(on_tensorflow, on_jax):
    for results in (on_tensorflow, on_jax):
        for images in results["pixelcnn/otherwise"]:
            np.testing.assert_array_equal(images, results["pixelcnn/images"])


@pytest.mark.parametrize("name", fingerprints.WITH_LIKELIHOOD)
def test_log_likelihood_is_the_same_on_both_backends(on_tensorflow, on_jax, name):
    log_likelihoods = on_tensorflow[f"{name}/log_likelihood"]
    assert np.all(log_likelihoods < -1)
    np.testing.assert_allclose(on_jax[f"{name}/log_likelihood"], log_likelihoods, rtol=1e-4)


@pytest.mark.parametrize("name", fingerprints.SCANNED)
def test_many_steps_in_one_call_are_the_steps_one_by_one(on_jax, name):
    stepwise, scanned = (
        {key: on_jax[f"scanned/{name}/{many}/{key}"] for key in ("weights", "seeds", "iterations")}
        for many in (False, True)
    )
    np.testing.assert_allclose(scanned["weights"], stepwise["weights"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(scanned["seeds"], stepwise["seeds"])
    assert set(scanned["iterations"]) == set(stepwise["iterations"]) == {10}


@pytest.mark.parametrize("name", fingerprints.SCANNED)
def test_evaluation_is_the_same_where_training_takes_many_steps_in_one_call(on_jax, name):
    stepwise, scanned = (on_jax[f"scanned/{name}/{many}/evaluated"] for many in (False, True))
    assert np.all(np.isfinite(scanned))
    np.testing.assert_allclose(scanned, stepwise, rtol=1e-3, atol=1e-4)


def test_many_steps_in_one_call_are_for_whole_batches_that_fit_into_memory(monkeypatch):
    pytest.importorskip("jax")
    from trilemma.backend import jax_backend

    monkeypatch.setattr(jax_backend, "scans", lambda: True)
    images = np.zeros((10, 2, 2, 1), "uint8")
    whole, with_rest = (make_dataset(images, batch_size=4, drop_remainder=drop) for drop in (True, False))
    assert isinstance(jax_backend.fit_data(whole), jax_backend._Scanned)
    assert jax_backend.fit_data(with_rest) is with_rest
    assert jax_backend.fit_data(whole, training=False) is whole
    monkeypatch.setattr(jax_backend, "SCAN_BYTES", images.nbytes - 1)
    assert jax_backend.fit_data(whole) is whole


def test_xla_compiles_where_it_is_asked_to():
    def function(x):
        return tf.strings.to_number(tf.strings.as_string(x))  # XLA knows no strings.

    assert float(backend.compile_function(function, [], False)(tf.constant(2.0))) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="XLA"):
        backend.compile_function(function, [], True)(tf.constant(2.0))


def test_half_precision_trains_on_jax_with_a_scale_for_every_loss(on_jax):
    assert np.all(np.isfinite(on_jax["float16/losses"]))
    assert on_jax["float16/scales"].tolist() == [2.0**15] * 2


def checksum(weights):
    """Sum and sum of squares."""
    return [float(np.sum(weights, dtype="float64")), float(np.sum(np.square(weights, dtype="float64")))]


# Losses of both steps; sum, and sum of squares, of what the steps added to the weights.
FROZEN = {
    "vae": ([[44.3414, 44.3206, 0.020824], [43.8147, 43.7993, 0.0154585]], [-0.61982, 0.08169639]),
    "dcgan": (
        [[0.847027, 1.25545, 0.694153, 0.561292, 0.25, 0.0], [0.78306, 1.18176, 0.557951, 0.623811, 1.0, 0.25]],
        [-0.7130037, 0.1383558],
    ),
    "ddpm": ([[0.206354], [0.200671]], [-0.06356604, 0.001931393]),
    "student": ([[0.157088], [0.15328]], [-0.1246598, 0.003384565]),
    "ddgan": (
        [[0.728867, 1.4052, 0.727625, 0.658703, 0.0, 0.0], [0.727764, 1.38306, 0.723336, 0.659729, 0.0, 0.0]],
        [0.02853529, 0.000739517],
    ),
    "gan": (
        [[0.694974, 0.717422, 0.691342, 0.0260806, 0.5], [0.695428, 0.714014, 0.690892, 0.0231218, 0.5]],
        [0.02270145, 0.001051616],
    ),
    "mixture_vae": ([[44.2, 44.3206, -0.120564], [44.1828, 44.3206, -0.13776]], [-0.1196435, 0.003370062]),
    "mixture_vae_gan": ([[0.257399], [0.218266]], [0.3592446, 0.00780929]),
    "vae_gan": (
        [
            [1.19409, 0.941973, 0.619172, 0.0221035, 1.17198, 0.824775, 0.75],
            [1.12494, 1.07815, 0.516348, 0.0221281, 1.10281, 0.967866, 0.875],
        ],
        [-0.9258303, 0.09136704],
    ),
    "cvae": ([[44.5538, 44.5208, 0.0329702], [44.0229, 43.995, 0.0278427]], [-0.6169679, 0.08783093]),
    "cgan": (
        [[0.705039, 1.05397, 0.750283, 0.303685, 0.5], [0.790202, 0.880454, 0.643638, 0.236816, 0.75]],
        [1.254491, 0.03307112],
    ),
    "cddpm": ([[0.216755], [0.210636]], [-0.1771153, 0.00207306]),
    "pixelcnn": ([[44.6147], [55.3389]], [3.048275, 14.52761]),
    "classifier": ([[1.24392, 0.5], [1.55161, 0.5]], [-5.234406, 0.8563186]),
}


@ALL_MODELS
def test_training_steps_are_those_they_have_always_been(on_tensorflow, name):
    """Whoever changes a step on purpose writes the new numbers down here."""
    losses, moved = FROZEN[name]
    np.testing.assert_allclose(on_tensorflow[f"{name}/losses"], losses, rtol=1e-4, atol=1e-6)
    update = on_tensorflow[f"{name}/after"] - on_tensorflow[f"{name}/before"]
    # The sum of many small numbers of both signs is known to within a share of their sizes.
    sum_of_sizes = np.abs(update).sum(dtype="float64")
    now = checksum(update)
    assert now[0] == pytest.approx(moved[0], abs=1e-4 * sum_of_sizes)
    assert now[1] == pytest.approx(moved[1], rel=1e-4)
