import os
import pathlib
import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

from trilemma import backend, device
from trilemma.backend import SeedGenerator
from trilemma.data import make_dataset
from trilemma.device import describe_device, device_name, setup_device
from trilemma.models.classifier import Classifier
from trilemma.models.contract import TrainableModel
from trilemma.models.dcgan import DCGAN
from trilemma.models.ddgan import DDGAN
from trilemma.models.ddpm import DDPM
from trilemma.models.vae import VAE

TWO_CPUS = ["CPU:0", "CPU:1"]


@pytest.fixture(scope="module")
def two_cpus():
    # One for all tests: TensorFlow takes the collective operations of a second one for those of the first.
    return setup_device(devices=TWO_CPUS)


class Regression(TrainableModel):
    """A linear model of images of four pixels without randomness: the first three tell the last."""

    def __init__(self):
        super().__init__((1, 1, 4))
        self.dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])

    def players(self):
        return {"loss": (self.dense,)}

    def compute_losses(self, images, labels, training):
        pixels = keras.ops.reshape(images, (-1, 4))
        return {"loss": keras.ops.mean(keras.ops.square(self.dense(pixels[:, :3]) - pixels[:, 3:]))}


@pytest.fixture
def pixels(random):
    return random.random((8, 1, 1, 4), "float32")


def fitted(strategy, build, *data, steps=1, **fit_arguments):
    with strategy.scope():
        model = build()
        model.fit(*data, batch_size=8, epochs=steps, shuffle=False, verbose=0, **fit_arguments)
    return model


def test_default_is_one_device_in_float32():
    strategy = setup_device()
    assert strategy.num_replicas_in_sync == 1
    assert keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.parametrize("precision, policy", [("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")])
def test_precision_sets_the_policy_of_new_layers(precision, policy):
    setup_device(precision)
    layer = keras.layers.Dense(1)
    assert layer.dtype_policy.name == policy
    assert layer.variable_dtype == "float32"


def test_several_devices_are_mirrored(two_cpus):
    assert isinstance(two_cpus, tf.distribute.MirroredStrategy)
    assert two_cpus.num_replicas_in_sync == 2


def test_variables_live_on_the_chosen_device():
    with setup_device(devices=["CPU:1"]).scope():
        assert "CPU:1" in keras.Variable(1.0).value.device


def test_unknown_precision_lists_the_known_ones():
    with pytest.raises(ValueError, match="'half'.*bfloat16.*float16.*float32"):
        setup_device("half")


def test_unknown_device_lists_those_of_the_machine():
    with pytest.raises(ValueError, match="'TPU:7'.*CPU:0.*CPU:1"):
        setup_device("bfloat16", devices=["CPU:0", "TPU:7"])
    assert keras.mixed_precision.global_policy().name == "float32"


def test_no_device_at_all_is_an_error():
    with pytest.raises(ValueError, match="device"):
        setup_device(devices=[])


def test_description_names_devices_and_precision():
    description = describe_device(setup_device("bfloat16", devices=TWO_CPUS))
    assert "CPU:0, CPU:1 in mixed_bfloat16" in description
    assert keras.__version__ in description


def test_device_name_is_one_short_line():
    assert "\n" not in device_name()
    assert len(device_name()) > 3


@pytest.mark.parametrize(
    "cpuinfo, name",
    [
        ("processor\t: 0\nmodel name\t: Xeon @ 2 GHz\nflags\t\t: fpu avx2 avx512f\n\n", "Xeon @ 2 GHz (AVX-512)"),
        ("processor\t: 0\nmodel name\t: EPYC\nflags\t\t: fpu avx avx2\n\nprocessor\t: 1\n", "EPYC (AVX2)"),
        ("processor\t: 0\nmodel name\t: Atom\nflags\t\t: fpu avx\n", "Atom"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "aarch64"),
    ],
)
def test_device_name_tells_processors_of_one_name_apart(monkeypatch, cpuinfo, name):
    monkeypatch.setattr(pathlib.Path, "exists", lambda _: True)
    monkeypatch.setattr(pathlib.Path, "read_text", lambda _: cpuinfo)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert device_name() == f"CPU, {os.cpu_count()} cores, {name}"


def test_device_name_follows_the_chosen_device(monkeypatch):
    monkeypatch.setattr(device, "_chosen", None)
    monkeypatch.setattr(backend, "accelerators", lambda: {"GPU:0": "Tesla T4", "GPU:1": "Tesla P4"})
    assert device_name() == "Tesla T4, Tesla P4"
    setup_device(devices=["CPU:0"])
    assert device_name().startswith(f"CPU, {os.cpu_count()} cores")
    monkeypatch.setattr(device, "_chosen", ["GPU:1"])
    assert device_name() == "Tesla P4"


def test_all_gpus_are_taken_where_there_are_some(monkeypatch):
    taken = []
    monkeypatch.setattr(backend, "list_devices", lambda: ["CPU:0", "GPU:0", "GPU:1"])
    monkeypatch.setattr(backend, "make_strategy", taken.append)
    monkeypatch.setattr(device, "_chosen", None)
    setup_device()
    assert taken == [["GPU:0", "GPU:1"]]


def test_last_batch_smaller_than_the_replicas_is_refused_by_name(two_cpus, random):
    images = random.random((9, 8, 8, 1), "float32")
    message = (
        "the last batch holds 1 of 9 images, fewer than the 2 replicas; choose another batch_size, or make_dataset"
    )
    with two_cpus.scope():
        model = VAE(image_shape=(8, 8, 1), seed=0)
        model.compile("sgd", run_eagerly=False)
        for method in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=message):
                method(images, batch_size=4, verbose=0)
        with pytest.raises(ValueError, match=message):
            model.fit(images[:8], batch_size=4, validation_data=images, verbose=0)
        model.evaluate(make_dataset(images, batch_size=4, drop_remainder=True), verbose=0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_replicas_take_the_step_of_one_device(optimizer, two_cpus, pixels):
    def build():
        model = Regression()
        model.compile(optimizer)
        return model

    one, two = (fitted(strategy, build, pixels, steps=3) for strategy in (setup_device(), two_cpus))
    for single, mirrored in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(mirrored, single, rtol=1e-5, atol=1e-7)


def test_mirrored_step_is_the_gradient_of_the_mean_over_all_images(two_cpus, pixels):
    inputs, targets = pixels[:, 0, 0, :3], pixels[:, 0, 0, 3:]

    def build():
        model = Regression()
        model.compile(keras.optimizers.SGD(0.1))
        return model

    kernel, bias = fitted(two_cpus, build, pixels).dense.get_weights()
    errors = inputs.sum(axis=1, keepdims=True) - targets
    np.testing.assert_allclose(kernel, 1 - 0.1 * 2 * inputs.T @ errors / 8, rtol=1e-5)
    np.testing.assert_allclose(bias, [-0.1 * 2 * errors.mean()], rtol=1e-5)


class CertainVAE(VAE):
    """A VAE that draws nothing."""

    def binarise(self, images):
        return images

    def sample_latents(self, mean, log_variance):
        return mean


def test_two_replicas_take_the_step_of_one_device_with_a_model_of_the_package(two_cpus, random):
    images = random.random((8, 8, 8, 1), "float32")

    def build():
        keras.utils.set_random_seed(0)
        model = CertainVAE(image_shape=(8, 8, 1), latent_size=2)
        model.compile(keras.optimizers.SGD(1e-3))
        return model

    one, two = (fitted(strategy, build, images) for strategy in (setup_device(), two_cpus))
    with setup_device().scope():
        untrained = build()
    for before, single, mirrored in zip(*(model.get_weights() for model in (untrained, one, two)), strict=True):
        np.testing.assert_allclose(mirrored - before, single - before, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_float16_scaling_does_not_change_the_step(mirrored, two_cpus, pixels):
    def build(wrap):
        model = Regression()
        model.compile(wrap(keras.optimizers.SGD(0.1)))
        return model

    plain, scaled = (
        fitted(two_cpus if mirrored else setup_device(), lambda wrap=wrap: build(wrap), pixels)
        for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer)
    )
    assert np.abs(plain.dense.get_weights()[0] - 1).max() > 0.01
    np.testing.assert_allclose(scaled.dense.get_weights()[0], plain.dense.get_weights()[0], rtol=1e-5)


def test_replicas_draw_different_noise(two_cpus):
    with two_cpus.scope():
        seed = DDPM(image_shape=(8, 8, 1), num_timesteps=3, widths=(8,), seed=0).seed_generator
    draws = [
        np.asarray(value)
        for _ in range(10)
        for value in two_cpus.experimental_local_results(
            two_cpus.run(tf.function(lambda: keras.random.normal((50,), seed=seed)))
        )
    ]
    assert len(np.unique(np.concatenate(draws))) == 20 * 50
    assert np.abs(np.corrcoef(draws)[np.triu_indices(20, 1)]).max() < 0.6


def test_replicas_count_their_draws_so_far_apart_that_no_training_lets_them_meet(two_cpus):
    with two_cpus.scope():
        seed = SeedGenerator(0)
    counts = two_cpus.experimental_local_results(two_cpus.run(tf.function(seed.next)))
    assert int(counts[0][0]) == int(counts[1][0])
    assert int(counts[1][1]) - int(counts[0][1]) > 10_000_000


def test_single_replica_draws_as_a_plain_seed_generator_does():
    ours, plain = SeedGenerator(3), keras.random.SeedGenerator(3)
    for _ in range(2):
        np.testing.assert_array_equal(keras.random.normal((4,), seed=ours), keras.random.normal((4,), seed=plain))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_class, settings",
    [
        (VAE, {"latent_size": 2}),
        (DCGAN, {"latent_size": 4, "generator_width": 8, "discriminator_width": 8}),
        (DDPM, {"num_timesteps": 3, "widths": (8,)}),
        (DDGAN, {"num_timesteps": 2, "latent_size": 4, "widths": (8,), "discriminator_width": 8}),
    ],
)
def test_models_train_on_two_replicas(model_class, settings, two_cpus, random):
    def build():
        model = model_class(image_shape=(8, 8, 1), seed=0, **settings)
        model.compile(model.default_optimizers(1e-3, 20))
        return model

    model = fitted(two_cpus, build, random.random((16, 8, 8, 1), "float32"))
    assert keras.ops.convert_to_numpy(model.optimizer.iterations) == 2
    assert np.all(np.isfinite(list(model.history.history.values())))
    for variable in model.variables:
        if "moving_" in variable.path:
            continue  # each replica normalises its own share of the batch
        copies = [np.asarray(copy) for copy in variable.value.values]
        np.testing.assert_allclose(copies[1], copies[0], atol=1e-6, err_msg=variable.path)
    images = model.generate(3, seed=0)
    assert images.shape == (3, 8, 8, 1)
    np.testing.assert_array_equal(model.generate(3, seed=0), images)


@pytest.mark.slow
def test_classifier_trains_on_two_replicas(two_cpus, random):
    def build():
        model = Classifier(image_shape=(8, 8, 1), num_classes=2)
        model.compile(model.default_optimizers(1e-3, 20))
        return model

    model = fitted(two_cpus, build, random.random((8, 8, 8, 1), "float32"), np.arange(8) % 2)
    assert keras.ops.convert_to_numpy(model.optimizer.iterations) == 1
    assert np.isfinite(model.history.history["loss"][0])
