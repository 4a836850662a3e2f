"""Two training steps of every model and some generated images, without chance: the same on every backend.

`python tests/fingerprints.py FILE` writes what `test_backends.py` compares, on the backend that KERAS_BACKEND names.
"""

import contextlib
import sys
from unittest import mock

import keras
import numpy as np

from trilemma import backend, noise
from trilemma.data import make_dataset
from trilemma.models.classifier import Classifier
from trilemma.models.dcgan import DCGAN
from trilemma.models.ddgan import DDGAN
from trilemma.models.ddpm import DDPM
from trilemma.models.gan import GAN
from trilemma.models.mixture_vae import MixtureVAE, MixtureVAEGAN
from trilemma.models.pixelcnn import PixelCNN, sample_by_fixed_point, sample_by_full_passes
from trilemma.models.student import Student
from trilemma.models.vae import VAE
from trilemma.models.vae_gan import VAEGAN

UNET = dict(num_timesteps=8, widths=(16,))
MODELS = {
    "vae": (VAE, dict(latent_size=2)),
    "mixture_vae": (MixtureVAE, dict(latent_size=2, num_components=3)),
    "dcgan": (DCGAN, dict(latent_size=4, generator_width=8, discriminator_width=8)),
    "ddpm": (DDPM, UNET),
    "cddpm": (DDPM, dict(UNET, num_classes=3)),
    "student": (Student, dict(most_steps=4, **UNET)),
    "ddgan": (
        DDGAN,
        dict(UNET, num_timesteps=2, latent_size=4, discriminator_width=8, minibatch_deviation=True, r1_weight=10.0),
    ),
    "gan": (
        GAN,
        dict(latent_size=4, generator_widths=(8, 16), discriminator_widths=(8, 4), num_blocks=1, penalty_weight=100.0),
    ),
    "vae_gan": (VAEGAN, dict(latent_size=4, width=8, most_ahead=0.95)),
    "mixture_vae_gan": (MixtureVAEGAN, dict(latent_size=4, width=8, num_components=3)),
    "cvae": (VAE, dict(latent_size=2, num_classes=3)),
    "cgan": (
        GAN,
        dict(latent_size=4, generator_widths=(8,), discriminator_widths=(8,), num_blocks=1, num_classes=3),
    ),
    "pixelcnn": (PixelCNN, dict(levels=2, width=8, dilations=(1, 2))),
    "classifier": (Classifier, dict(num_classes=3)),
}
GENERATIVE = [name for name in MODELS if name != "classifier"]
LABELLED = ["cvae", "cgan", "cddpm", "classifier"]
WITH_LIKELIHOOD = ["vae", "mixture_vae", "ddpm", "pixelcnn"]
SCANNED = ["dcgan", "ddpm", "classifier"]


def networks_of(model):
    return [layer for layer in model.layers if isinstance(layer, keras.Model)]


def set_weights(model, scale=0.1):
    """Weights from NumPy, that make all outputs depend on everything; averages start as their networks."""
    random = np.random.default_rng(0)
    for network in networks_of(model):
        for weight in network.weights:
            value = scale * random.standard_normal(weight.shape)
            weight.assign(1 + np.abs(value) if weight.path.endswith(("gamma", "moving_variance")) else value)
    for average, network in getattr(model, "averages", tuple)():
        average.set_weights(network.get_weights())


def build(name, rate=0.05):
    model_class, settings = MODELS[name]
    model = model_class(image_shape=(8, 8, 1), seed=0, **settings)
    set_weights(model)
    if name == "student":
        teacher = DDPM(image_shape=(8, 8, 1), seed=0, **UNET)
        set_weights(teacher, 0.15)
        model.learn_from(teacher)
    if name == "pixelcnn":
        set_weights(model, 0.3)
    if name == "classifier":
        silence(model.network)
    optimizers = {player: keras.optimizers.SGD(rate) for player in model.players()}
    # What takes longest is compiled on JAX, traced on TensorFlow.
    model.compile(optimizers, run_eagerly=keras.backend.backend() == "tensorflow")
    return model


def silence(network):
    """Takes augmentation and dropout, whose random numbers are the backend's, out of a network."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
        if isinstance(layer, keras.layers.RandomTranslation):
            layer.supports_jit = True  # Keras would run the whole step op by op on JAX.
            layer.height_lower = layer.height_upper = layer.width_lower = layer.width_upper = 0.0


@contextlib.contextmanager
def without_chance(model):
    """`keras.random` from NumPy: what is drawn depends on how often it was called in this step alone."""
    calls, compute_losses = [0], model.compute_losses

    def generator():
        calls[0] += 1
        return np.random.default_rng(calls[0])

    def normal(shape, seed=None):
        return keras.ops.convert_to_tensor(generator().standard_normal(shape).astype("float32"))

    def uniform(shape, seed=None):
        return keras.ops.convert_to_tensor(generator().random(shape).astype("float32"))

    def randint(shape, minval, maxval, seed=None):
        return keras.ops.convert_to_tensor(generator().integers(minval, maxval, shape).astype("int32"))

    def counted(images, labels, training):
        calls[0] = 0
        return compute_losses(images, labels, training)

    with (
        mock.patch.multiple(keras.random, normal=normal, uniform=uniform, randint=randint),
        mock.patch.object(model, "compute_losses", counted),
    ):
        yield


def some_data(name, count=4):
    images = np.random.default_rng(5).integers(0, 256, (count, 8, 8, 1), "uint8")
    return (images, np.arange(count) % 3) if name in LABELLED else (images,)


def flat(weights):
    return np.concatenate([np.ravel(weight) for weight in weights])


def weights_of(model):
    return flat([weight for network in networks_of(model) for weight in network.get_weights()])


def two_steps(name):
    """The losses of two steps, (2, losses), and of an evaluation after them; all weights before and after."""
    model = build(name)
    before = weights_of(model)
    with without_chance(model):
        data = make_dataset(*some_data(name), batch_size=4, shuffle=False)
        history = model.fit(data, epochs=2, verbose=0).history
        evaluated = model.evaluate(data, verbose=0, return_dict=True)
    return {
        "losses": np.transpose([history[loss] for loss in model.loss_names]),
        "evaluated": np.array([evaluated[loss] for loss in model.loss_names]),
        "before": before,
        "after": weights_of(model),
    }


def generated(name):
    """Images of one seed; `keras.random` must take no part in them."""
    model, refuse = build(name), mock.Mock(side_effect=AssertionError("generate drew from keras.random"))
    with mock.patch.multiple(keras.random, normal=refuse, uniform=refuse, randint=refuse):
        labels = [2, 1, 0, 1, 2] if name in LABELLED else None
        return model.generate(5, labels, 1.5 if model.takes_guidance else None, seed=11, batch_size=2)


def sampled_otherwise():
    """What `generated("pixelcnn")` draws with caches: by full passes, and by fixed-point iteration."""
    model = build("pixelcnn")
    uniform = noise.uniform_of(noise.standard_normal(11, np.arange(5), 0, model.image_shape))

    def compiled(function):
        return backend.compile_function(function, model.variables, False)(uniform)

    plain = compiled(lambda uniform: sample_by_full_passes(model, uniform))
    iterated, _ = compiled(lambda uniform: sample_by_fixed_point(model, uniform))
    return np.stack([keras.ops.convert_to_numpy(images) for images in (plain, iterated)])


def log_likelihood(name):
    """Of grey images, which are binarised first."""
    return build(name).log_likelihood(*some_data(name), seed=11, batch_size=3)


def scanned(name, many):
    """Weights and the state of the seeds after two epochs of five steps, on JAX in calls of three steps, or of one."""
    from trilemma.backend import jax_backend

    model = build(name, rate=0.01)
    with mock.patch.multiple(jax_backend, scans=lambda: many, STEPS_PER_CALL=3):
        data = make_dataset(*some_data(name, 20), batch_size=4, seed=1)
        model.fit(data, epochs=2, verbose=0, validation_data=data)
        evaluated = model.evaluate(data, verbose=0, return_dict=True)
    return {
        "evaluated": np.array(list(evaluated.values())),
        "weights": weights_of(model),
        "seeds": np.asarray(model.seed_generator.state),
        "iterations": np.array([int(optimizer.iterations) for optimizer in model.optimizers.values()]),
    }


def everything(models=tuple(MODELS)):
    results = {}
    for name in models:
        results |= {f"{name}/{key}": value for key, value in two_steps(name).items()}
        if name in GENERATIVE:
            results[f"{name}/images"] = generated(name)
        if name in WITH_LIKELIHOOD:
            results[f"{name}/log_likelihood"] = log_likelihood(name)
    if "pixelcnn" in models:
        results["pixelcnn/otherwise"] = sampled_otherwise()
    return results


def in_float16(name):
    """The losses of two epochs, and the scale of every player's loss."""
    keras.config.set_dtype_policy("mixed_float16")
    model = build(name)
    keras.config.set_dtype_policy("float32")
    history = model.fit(make_dataset(*some_data(name), batch_size=4, seed=1), epochs=2, verbose=0).history
    scales = [float(optimizer.dynamic_scale) for optimizer in model.optimizers.values()]
    return {"losses": np.array(list(history.values())), "scales": np.array(scales)}


def main(path):
    results = everything()
    results |= {f"float16/{key}": value for key, value in in_float16("dcgan").items()}
    for name in SCANNED:
        for many in (False, True):
            results |= {f"scanned/{name}/{many}/{key}": value for key, value in scanned(name, many).items()}
    np.savez(path, backend=keras.backend.backend(), **results)


if __name__ == "__main__":
    main(sys.argv[1])
