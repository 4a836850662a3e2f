import os
import pathlib
import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

from trilemma.classifier import Classifier
from trilemma.dcgan import DCGAN
from trilemma.ddgan import DDGAN
from trilemma.ddpm import DDPM
from trilemma.device import ReplicaSeedGenerator, describe_device, device_name, scale_loss, setup_device
from trilemma.vae import VAE

TWO_CPUS = ["CPU:0", "CPU:1"]


@pytest.fixture(scope="module")
def two_cpus():
    # One for all tests: TensorFlow takes the collective operations of a second one for those of the first.
    return setup_device(devices=TWO_CPUS)


class Regression(keras.Model):
    """A linear model without randomness, trained as all models of the package are."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")
        self.dense.build((None, 3))
        self.built = True

    def train_step(self, batch):
        inputs, targets = batch
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(self.dense(inputs) - targets))
            scaled_loss = scale_loss(loss, self.optimizer)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


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


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_replicas_take_the_step_of_one_device(optimizer, two_cpus, random):
    inputs, targets = random.standard_normal((8, 3)).astype("float32"), random.standard_normal((8, 1)).astype("float32")

    def build():
        model = Regression()
        model.compile(optimizer=optimizer)
        return model

    one, two = (fitted(strategy, build, inputs, targets, steps=3) for strategy in (setup_device(), two_cpus))
    for single, mirrored in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(mirrored, single, rtol=1e-5, atol=1e-7)


def test_mirrored_step_is_the_gradient_of_the_mean_over_all_images(two_cpus, random):
    inputs, targets = random.standard_normal((8, 3)).astype("float32"), random.standard_normal((8, 1)).astype("float32")

    def build():
        model = Regression()
        model.compile(optimizer=keras.optimizers.SGD(0.1))
        return model

    kernel, bias = fitted(two_cpus, build, inputs, targets).get_weights()
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
        model.compile(optimizer=keras.optimizers.SGD(1e-3))
        return model

    one, two = (fitted(strategy, build, images) for strategy in (setup_device(), two_cpus))
    with setup_device().scope():
        untrained = build()
    for before, single, mirrored in zip(*(model.get_weights() for model in (untrained, one, two)), strict=True):
        np.testing.assert_allclose(mirrored - before, single - before, rtol=1e-3, atol=1e-6)


def test_float16_scaling_does_not_change_the_step(random):
    inputs, targets = random.standard_normal((8, 3)).astype("float32"), random.standard_normal((8, 1)).astype("float32")

    def build(wrap):
        model = Regression()
        model.compile(optimizer=wrap(keras.optimizers.SGD(0.1)))
        return model

    plain, scaled = (
        fitted(setup_device(), lambda wrap=wrap: build(wrap), inputs, targets)
        for wrap in (lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer)
    )
    np.testing.assert_allclose(scaled.get_weights()[0], plain.get_weights()[0], rtol=1e-5)


def test_replicas_draw_different_noise(two_cpus):
    with two_cpus.scope():
        seed = DDPM(image_shape=(8, 8, 1), num_timesteps=3, widths=(8,), seed=0).seed_generator
    draws = [
        np.asarray(value)
        for _ in range(3)
        for value in two_cpus.experimental_local_results(
            two_cpus.run(tf.function(lambda: keras.random.normal((50,), seed=seed)))
        )
    ]
    assert len(np.unique(np.concatenate(draws))) == 6 * 50
    assert np.abs(np.corrcoef(draws)[np.triu_indices(6, 1)]).max() < 0.6


def test_single_replica_draws_as_a_plain_seed_generator_does():
    ours, plain = ReplicaSeedGenerator(3), keras.random.SeedGenerator(3)
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
        model.compile(**model.default_optimizers(1e-3, 20))
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
        model.compile(**model.default_optimizers(1e-3, 20))
        return model

    model = fitted(two_cpus, build, random.random((8, 8, 8, 1), "float32"), np.arange(8) % 2)
    assert keras.ops.convert_to_numpy(model.optimizer.iterations) == 1
    assert np.isfinite(model.history.history["loss"][0])
