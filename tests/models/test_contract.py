"""The contract that every model keeps."""

import copy
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from trilemma.data import as_float, make_dataset
from trilemma.models.classifier import Classifier
from trilemma.models.contract import GenerativeModel
from trilemma.models.dcgan import DCGAN
from trilemma.models.ddgan import DDGAN
from trilemma.models.ddpm import DDPM
from trilemma.models.gan import GAN
from trilemma.models.mixture_vae import MixtureVAE, MixtureVAEGAN
from trilemma.models.pixelcnn import PixelCNN
from trilemma.models.student import Student
from trilemma.models.vae import VAE
from trilemma.models.vae_gan import VAEGAN

SETTINGS = {
    VAE: {"latent_size": 2},
    MixtureVAE: {"latent_size": 2, "num_components": 3},
    DCGAN: {"latent_size": 4, "generator_width": 8, "discriminator_width": 8},
    DDPM: {"num_timesteps": 3, "widths": (8,)},
    Student: {"num_timesteps": 8, "most_steps": 4, "widths": (8,)},
    DDGAN: {"num_timesteps": 2, "latent_size": 4, "widths": (8,), "discriminator_width": 8},
    GAN: {"latent_size": 4, "generator_widths": (4, 8), "discriminator_widths": (4, 8), "num_blocks": 1},
    VAEGAN: {"latent_size": 4, "width": 8},
    MixtureVAEGAN: {"latent_size": 4, "width": 8, "num_components": 3},
    PixelCNN: {"levels": 16, "width": 8, "dilations": (1, 2)},
    Classifier: {"num_classes": 3},
}
PASSES = {
    VAE: 1, DCGAN: 1, DDPM: 3, Student: 4, DDGAN: 2, GAN: 1, MixtureVAE: 1, VAEGAN: 1, MixtureVAEGAN: 1,
    PixelCNN: 64,
}  # fmt: skip
LIKELIHOODS = {VAE: "lower bound", MixtureVAE: "lower bound", DDPM: "lower bound", PixelCNN: "exact"}
ADVERSARIAL = ("generator_loss", "discriminator_loss")
THREE_PLAYERS = ("encoder_loss", "decoder_loss", "discriminator_loss")
ALL_GENERATIVE = pytest.mark.parametrize("model_class", list(PASSES))
ALL_MODELS = pytest.mark.parametrize("model_class", list(SETTINGS))
AVERAGED = pytest.mark.parametrize("model_class", [DDPM, Student, DDGAN, GAN, VAEGAN, PixelCNN])


def untrained(model_class, image_shape=(8, 8, 1), **settings):
    return model_class(**{"image_shape": image_shape, "seed": 0, **SETTINGS[model_class], **settings})


def build(model_class, image_shape=(8, 8, 1), optimizer=None, settings=None, **compile_arguments):
    model = untrained(model_class, image_shape, **(settings or {}))
    if model_class is Student:
        model.learn_from(DDPM(image_shape=image_shape, num_timesteps=8, widths=(8,), seed=0))
    model.compile(optimizer or model.default_optimizers(1e-2, 20), **{"jit_compile": False, **compile_arguments})
    return model


def sgd(model_class, learning_rate=0.1):
    """Plain gradient descent for every player of a model."""
    several = {**dict.fromkeys((DCGAN, DDGAN, GAN), ADVERSARIAL), VAEGAN: THREE_PLAYERS}
    names = several.get(model_class, ("loss",))
    return {name: keras.optimizers.SGD(learning_rate) for name in names}


def some_images(count=8, image_shape=(8, 8, 1)):
    return np.random.default_rng(0).random((count, *image_shape), "float32")


def some_data(model_class, count=8):
    """Images, and labels for a model that needs them."""
    return (some_images(count), np.arange(count) % 3) if model_class is Classifier else (some_images(count),)


def randomise(model):
    """Weights that make what is drawn depend on everything; untrained networks often draw grey."""
    random = np.random.default_rng(1)
    for networks in model.networks.values():
        weights = [np.abs(0.2 * random.standard_normal(w.shape)) if "variance" in w.path else
                   0.2 * random.standard_normal(w.shape) for w in networks[0].weights]  # fmt: skip
        for network in networks:
            network.set_weights(weights)
    return model


def assert_same_weights(first, second, **tolerance):
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 0, "atol": 1e-6, **tolerance})


def is_public_range(images):
    return images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1


@pytest.fixture(scope="module", params=PASSES, ids=lambda model_class: model_class.__name__)
def trained(request):
    model = build(request.param)
    model.history_of_fit = model.fit(some_images(12), batch_size=4, verbose=0).history
    return model


def test_fit_and_evaluate_report_the_same_finite_losses(trained):
    reported = trained.evaluate(some_images(), batch_size=4, verbose=0, return_dict=True)
    assert set(reported) == set(trained.history_of_fit) == set(trained.trackers) == set(trained.loss_names)
    assert np.all(np.isfinite([*reported.values(), *np.ravel(list(trained.history_of_fit.values()))]))


def test_evaluate_leaves_the_weights_alone(trained):
    before = trained.get_weights()
    trained.evaluate(some_images(), batch_size=4, verbose=0)
    for old, new in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_trackers_average_over_the_batches(trained):
    trained.reset_metrics()
    for value in (1.0, 2.0, 6.0):
        means = trained.update_trackers(dict.fromkeys(trained.trackers, value))
    assert {name: float(mean) for name, mean in means.items()} == dict.fromkeys(trained.trackers, 3.0)


@pytest.mark.parametrize("num_images, batch_size", [(1, 100), (4, 4), (5, 2), (3, 1)])
def test_generate_keeps_shape_and_range(trained, num_images, batch_size):
    images = trained.generate(num_images, batch_size=batch_size)
    assert images.shape == (num_images, 8, 8, 1)
    assert is_public_range(images)
    assert images.std() > 0


def test_every_generated_image_is_another(trained):
    assert len(np.unique(trained.generate(6, seed=0, batch_size=2), axis=0)) == 6


def test_same_seed_gives_the_same_images(trained):
    first = trained.generate(5, seed=7, batch_size=4)
    np.testing.assert_array_equal(trained.generate(5, seed=7, batch_size=4), first)
    assert np.abs(trained.generate(5, seed=8, batch_size=4) - first).max() > 1e-4


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("num_images", [4, 9])
def test_image_of_a_seed_depends_on_its_number_alone(trained, num_images, batch_size):
    reference = trained.generate(9, seed=7, batch_size=4)[:num_images]
    np.testing.assert_allclose(trained.generate(num_images, seed=7, batch_size=batch_size), reference, atol=1e-5)


@pytest.mark.slow
def test_image_of_a_seed_does_not_depend_on_xla(trained):
    plain = trained.generate(4, seed=7)
    trained.jit_compile = True
    try:
        np.testing.assert_allclose(trained.generate(4, seed=7), plain, atol=1e-3)
    finally:
        trained.jit_compile = False


def test_without_a_seed_every_call_draws_new_images(trained):
    assert np.abs(trained.generate(3) - trained.generate(3)).max() > 1e-4


def test_seeded_generation_does_not_disturb_the_other_random_numbers(trained):
    state = trained.seed_generator.state.numpy()
    trained.generate(3, seed=1)
    np.testing.assert_array_equal(trained.seed_generator.state, state)


@pytest.mark.parametrize("count", [0, -1, 2.5, None, float("nan")])
def test_impossible_numbers_of_images_are_refused(trained, count):
    with pytest.raises(ValueError, match=f"num_images is {count}; expected a whole number"):
        trained.generate(count)
    with pytest.raises(ValueError, match=f"batch_size is {count}; expected a whole number"):
        trained.generate(3, batch_size=count)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_impossible_seeds_are_refused(trained, seed):
    with pytest.raises(ValueError, match=f"seed is {seed}; expected a whole number in 0 ... 4294967295"):
        trained.generate(2, seed=seed)


def test_whole_number_of_any_type_is_accepted(trained):
    assert trained.generate(np.int64(2)).shape == trained.generate(2.0).shape == (2, 8, 8, 1)


def test_largest_seed_draws(trained):
    assert np.abs(trained.generate(2, seed=2**32 - 1) - trained.generate(2, seed=2**31 - 1)).max() > 1e-4


def test_unconditional_models_refuse_labels(trained):
    assert trained.num_classes is None
    with pytest.raises(ValueError, match="has no classes, yet labels were given; leave labels out"):
        trained.generate(2, labels=[0, 1])
    with pytest.raises(ValueError, match="takes no guidance, yet guidance was given; leave guidance out"):
        trained.generate(2, guidance=1.0)


@pytest.mark.parametrize("model_class", [VAE, MixtureVAE, VAEGAN, MixtureVAEGAN, PixelCNN, Classifier])
def test_a_model_of_images_takes_them_in_8_bits_too(model_class):
    model, images = randomise(untrained(model_class)), (255 * some_images(3)).astype("uint8")
    answers = ops.convert_to_numpy(model(images)), ops.convert_to_numpy(model(images.astype("float32") / 255))
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert np.std(answers[0]) > 1e-3


def test_likelihood_is_named_or_refused(trained):
    assert trained.likelihood == LIKELIHOODS.get(type(trained))
    if trained.likelihood is None:
        with pytest.raises(ValueError, match=f"{type(trained).__name__} has no likelihood; choose a model"):
            trained.log_likelihood(some_images())


def test_model_describes_itself(trained):
    assert trained.image_shape == (8, 8, 1)
    assert trained.passes_per_image == PASSES[type(trained)]
    lines = []
    trained.summary(print_fn=lines.append)
    assert trained.name in "".join(lines)


def test_saved_model_generates_the_same_images(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.generate(3, seed=1), trained.generate(3, seed=1), atol=1e-5)
    np.testing.assert_array_equal(loaded.seed_generator.state, trained.seed_generator.state)
    assert loaded.get_config() == trained.get_config()
    assert loaded.optimizers.keys() == trained.optimizers.keys()
    for name, optimizer in trained.optimizers.items():
        for one, other in zip(optimizer.variables, loaded.optimizers[name].variables, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-7)
    assert int(loaded.optimizer.iterations) == int(trained.optimizer.iterations) == 3


def test_weights_file_restores_a_model(trained, tmp_path):
    trained.save_weights(tmp_path / "model.weights.h5")
    other = type(trained).from_config({**trained.get_config(), "seed": 99})
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other.generate(3, seed=1), trained.generate(3, seed=1), atol=1e-5)


@ALL_GENERATIVE
def test_same_seed_draws_the_same_training_noise(model_class):
    first, second = (untrained(model_class).seed_generator for _ in range(2))
    np.testing.assert_array_equal(keras.random.normal((4,), seed=first), keras.random.normal((4,), seed=second))
    assert not np.array_equal(keras.random.normal((4,), seed=first), keras.random.normal((4,), seed=first))


@pytest.mark.parametrize("model_class", [each for each in PASSES if each is not PixelCNN])
def test_colour_is_a_matter_of_configuration(model_class):
    model = build(model_class, image_shape=(8, 12, 3), run_eagerly=True)
    losses = model.evaluate(some_images(4, (8, 12, 3)), batch_size=4, verbose=0, return_dict=True)
    assert np.all(np.isfinite(list(losses.values())))
    images = model.generate(2, seed=0)
    assert images.shape == (2, 8, 12, 3)
    assert is_public_range(images)


@pytest.mark.parametrize("model_class", [VAE, DCGAN, DDGAN, VAEGAN])
def test_sides_that_do_not_fit_are_refused(model_class):
    with pytest.raises(ValueError, match="divisible by 4"):
        untrained(model_class, image_shape=(10, 8, 1))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@ALL_GENERATIVE
def test_half_precision_trains_and_generates(model_class, policy):
    keras.mixed_precision.set_global_policy(policy)
    model = build(model_class, run_eagerly=True)  # Tracing takes longer than two steps.
    losses = model.fit(some_images(), batch_size=4, verbose=0).history
    assert np.all(np.isfinite(list(losses.values())))
    assert all(weight.dtype == "float32" for weight in model.trainable_variables)
    assert is_public_range(model.generate(2))


@pytest.mark.slow
@pytest.mark.parametrize("model_class", [VAE, DCGAN, DDPM])  # The others compile for a minute, with no new layer.
def test_xla_trains_and_generates(model_class):
    model = build(model_class, jit_compile=True)
    losses = model.fit(some_images(), batch_size=4, verbose=0).history
    assert np.all(np.isfinite(list(losses.values())))
    first = model.generate(3, seed=0, batch_size=2)
    assert is_public_range(first)
    np.testing.assert_array_equal(model.generate(3, seed=0, batch_size=2), first)
    assert len(np.unique(first, axis=0)) == 3


def one_image_changed(value):
    images = some_images()
    images[5, 3, 3, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (2 * some_images() - 1, r"images lie in \[-0.9\d*, 0.9\d*\]; expected \[0, 1\], or uint8. Rescale or clip"),
        (255 * some_images(), r"images lie in \[0.\d+, 25\d\]; expected \[0, 1\]"),
        (one_image_changed(np.nan), r"not numbers \(NaN\); expected \[0, 1\], or uint8"),
        (one_image_changed(np.inf), r"images lie in \[\S+, inf\]; expected \[0, 1\]"),
        ((255 * some_images()).astype("int64"), r"images are int64; expected uint8, or floats in \[0, 1\]. Convert"),
        (some_images() > 0.5, r"images are bool; expected uint8, or floats in \[0, 1\]. Convert"),
        (some_images()[..., 0], r"the shape \(8, 8, 8\); expected \(num_images, 8, 8, 1\)|height, width, channels"),
        (some_images(8, (8, 8, 3)), r"the shape \(\d, 8, 8, 3\); expected \(num_images, 8, 8, 1\)"),
        (some_images(8, (8, 12, 1)), r"the shape \(\d, 8, 12, 1\); expected \(num_images, 8, 8, 1\)"),
    ],
    ids=["minus one", "255", "nan", "inf", "int64", "bool", "3-d", "colour", "sides"],
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_other_images_are_refused_at_the_door(images, message, method):
    model = build(VAE)
    for given in (images, tf.constant(images)):
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(given, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(some_images(), validation_data=images, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices(images).batch(8)
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(batches, verbose=0)
    assert int(model.optimizer.iterations) == 0  # Validation data are looked at before the training, not after it.


@ALL_GENERATIVE
def test_unconditional_training_refuses_labels(model_class):
    model, labels = build(model_class), np.zeros(8, int)
    message = "has no classes, yet labels were given; leave labels out"
    for given in ((some_images(), labels), (make_dataset(some_images(), labels, 4),)):
        for method in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match=message):
                method(*given, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(some_images(), validation_data=(some_images(), labels), verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(tf.data.Dataset.from_tensor_slices((some_images(), labels)).batch(4), verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"Classifier needs labels, 0 \.\.\. 2; none were given"),
        (np.eye(3, dtype=int)[np.arange(8) % 3], r"the shape \(8, 3\); expected \(8,\), .*one-hot, take argmax"),
        (np.zeros((8, 1), int), r"the shape \(8, 1\); expected \(8,\), one number per image. Take labels\[:, 0\]"),
        (np.zeros(7, int), r"the shape \(7,\); expected \(8,\)"),
        (np.zeros(8), r"labels are float64; expected integers"),
        (np.full(8, 3), r"labels lie in 3 \.\.\. 3; expected 0 \.\.\. 2"),
        (np.arange(-1, 7) % 3 - 1, r"labels lie in -1 \.\.\. 1; expected 0 \.\.\. 2"),
    ],
    ids=["none", "one-hot", "column", "too few", "float", "too large", "negative"],
)
def test_other_labels_are_refused_at_the_door(labels, message):
    model = build(Classifier)
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            method(some_images(), labels, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(some_images(), np.zeros(8, int), validation_data=(some_images(), labels), verbose=0)
    if labels is None or len(labels) == 8:
        parts = some_images() if labels is None else (some_images(), labels)
        with pytest.raises(ValueError, match=message):
            model.fit(tf.data.Dataset.from_tensor_slices(parts).batch(8), verbose=0)


# Images of grey values, which are binarised, so that noise matters to every one of them.
WITH_LIKELIHOOD = pytest.mark.parametrize(
    ("model_class", "settings"),
    [(VAE, {}), (MixtureVAE, {}), (DDPM, {}), (PixelCNN, {"levels": 2}), (PixelCNN, {"levels": 16})],
)


@WITH_LIKELIHOOD
def test_log_likelihood_of_an_image_depends_on_the_seed_and_its_number_alone(model_class, settings):
    model, images = randomise(untrained(model_class, **settings)), some_images(9)
    reference = model.log_likelihood(images, seed=7, batch_size=4)
    assert (reference.shape, reference.dtype) == ((9,), "float32")
    assert len(np.unique(reference)) == 9
    for count, batch_size in [(9, 100), (9, 3), (4, 4), (1, 1)]:
        found = model.log_likelihood(images[:count], seed=7, batch_size=batch_size)
        np.testing.assert_allclose(found, reference[:count], rtol=1e-4)
    drawn = settings != {"levels": 16}
    assert np.array_equal(model.log_likelihood(images, seed=8), model.log_likelihood(images, seed=7)) != drawn
    again = model.log_likelihood(images[:1].repeat(2, axis=0), seed=7)
    assert (again[0] != again[1]) == drawn  # The same image draws other noise in another place.


@WITH_LIKELIHOOD
def test_log_likelihood_takes_images_in_every_form_and_leaves_the_other_random_numbers_alone(model_class, settings):
    model, whole = untrained(model_class, **settings), np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), "uint8")
    state, reference = np.asarray(model.seed_generator.state), model.log_likelihood(whole)
    for images in (as_float(whole), tf.constant(as_float(whole)), as_float(whole).tolist()):
        np.testing.assert_allclose(model.log_likelihood(images), reference, rtol=1e-5)
    np.testing.assert_array_equal(model.seed_generator.state, state)
    assert model.log_likelihood(whole[:0]).shape == (0,)


def test_log_likelihood_follows_the_weights_without_compiling_anew():
    model, images = randomise(untrained(PixelCNN)), some_images(3)
    before = model.log_likelihood(images)
    model.ema_network.set_weights([0 * weight for weight in model.ema_network.get_weights()])
    np.testing.assert_allclose(model.log_likelihood(images), -64 * np.log(16), rtol=1e-5)
    assert np.abs(before + 64 * np.log(16)).min() > 0.01


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (2 * some_images() - 1, {}, r"images lie in \[-0.9\d*, 0.9\d*\]; expected \[0, 1\]"),
        (some_images(8, (8, 12, 1)), {}, r"the shape \(8, 8, 12, 1\); expected \(num_images, 8, 8, 1\)"),
        (some_images(), {"seed": -1}, r"seed is -1; expected a whole number in 0 \.\.\. 4294967295"),
        (some_images(), {"seed": None}, "seed is None; expected a whole number"),
        (some_images(), {"batch_size": 0}, "batch_size is 0; expected a whole number"),
    ],
    ids=["minus one", "sides", "negative seed", "no seed", "no batch"],
)
def test_log_likelihood_refuses_what_it_cannot_take(images, settings, message):
    with pytest.raises(ValueError, match=message):
        untrained(PixelCNN).log_likelihood(images, **settings)


@pytest.mark.parametrize("name", ["sample_weight", "validation_split", "class_weight"])
def test_arguments_that_would_be_ignored_are_refused(name):
    value = {"sample_weight": np.ones(8), "validation_split": 0.5, "class_weight": {0: 2.0}}[name]
    with pytest.raises(ValueError, match=f"{name} is not supported; leave it out"):
        build(VAE).fit(some_images(), **{name: value}, verbose=0)


def test_sample_weights_are_refused_wherever_they_come_from():
    model, labels = build(Classifier), np.zeros(8, int)
    with pytest.raises(ValueError, match="sample"):
        model.evaluate(some_images(), labels, sample_weight=np.ones(8), verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((some_images(), labels, np.ones(8))).batch(4)
    with pytest.raises(ValueError, match="sample weights"):
        model.fit(batches, verbose=0)


def test_labels_and_batch_size_beside_batches_are_refused():
    batches = make_dataset(some_images(), batch_size=4)
    for arguments in ({"y": np.zeros(8, int)}, {"batch_size": 2}):
        with pytest.raises(ValueError, match="stand beside batches; give them to make_dataset"):
            build(VAE).fit(batches, **arguments, verbose=0)


def test_images_are_taken_in_every_form():
    images, weights = some_images(), []
    forms = [images, images.tolist(), tf.constant(images), make_dataset(images, batch_size=4, shuffle=False),
             tf.data.Dataset.from_tensor_slices(images).batch(4, drop_remainder=True)]  # fmt: skip
    for form in forms:
        keras.utils.set_random_seed(0)
        model = build(VAE, optimizer="sgd")
        as_batches = not isinstance(form, np.ndarray | list) and not tf.is_tensor(form)
        model.fit(form, batch_size=None if as_batches else 4, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for others in weights[1:]:
        for one, other in zip(weights[0], others, strict=True):
            np.testing.assert_allclose(other, one, atol=1e-6)


@ALL_MODELS
def test_whole_numbers_train_as_the_floats_they_stand_for(model_class):
    whole = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), "uint8")
    labels, models, losses = some_data(model_class, 4)[1:], [], []
    for images in (whole, as_float(whole)):
        keras.utils.set_random_seed(0)
        models.append(build(model_class, optimizer=sgd(model_class), run_eagerly=True))
        trained = models[-1].fit(images, *labels, batch_size=4, verbose=0).history
        evaluated = models[-1].evaluate(images, *labels, verbose=0, return_dict=True)
        losses.append([[*trained[name], evaluated[name]] for name in models[-1].loss_names])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert_same_weights(*models)


@ALL_MODELS
def test_what_compute_losses_gets_is_float32_from_0_to_1(model_class):
    model, seen = build(model_class, run_eagerly=True), []

    def compute_losses(images, labels, training):
        seen.append((images.dtype, float(np.min(images)), float(np.max(images)), training))
        return dict.fromkeys(model.loss_names, 0.0)

    model.compute_losses = compute_losses
    whole = np.tile(np.array([0, 255], "uint8"), 256).reshape(8, 8, 8, 1)
    model.evaluate(whole, *some_data(model_class)[1:], verbose=0)
    assert seen == [(tf.float32, 0.0, 1.0, False)]


@pytest.mark.parametrize("compiled", [False, True], ids=["never compiled", "compiled"])
@ALL_MODELS
def test_every_model_can_be_saved_and_copied(model_class, compiled, tmp_path):
    model = build(model_class) if compiled else untrained(model_class)
    model.save(tmp_path / "model.keras")
    for other in (keras.saving.load_model(tmp_path / "model.keras"), copy.deepcopy(model)):
        assert type(other) is model_class
        assert other.get_config() == model.get_config()
        assert_same_weights(model, other)
        assert other.optimizers.keys() == (model.players().keys() if compiled else set())
        assert other.compiled == compiled
        other.get_layer(index=0).set_weights([w + 1 for w in other.get_layer(index=0).get_weights()])
        assert not np.array_equal(other.get_weights()[0], model.get_weights()[0])


@ALL_MODELS
def test_name_and_dtype_survive_configuration_and_save(model_class, tmp_path):
    model = untrained(model_class, name="mine", dtype="mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    rebuilt = model_class.from_config(model.get_config())
    for other in (rebuilt, keras.saving.load_model(tmp_path / "model.keras"), copy.deepcopy(model)):
        assert (other.name, other.dtype_policy.name) == ("mine", "mixed_bfloat16")
        networks = [network for group in other.networks.values() for network in group]
        for network in networks:
            # A density is computed in float32 in any case.
            computing = {layer.compute_dtype for layer in network.layers if layer.weights}
            assert ("bfloat16" in computing) == (network.name != "prior")
            assert all(weight.dtype == "float32" for weight in network.weights)
    assert keras.config.dtype_policy().name == "float32"


@ALL_MODELS
def test_model_in_float32_computes_in_it_under_another_policy(model_class):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = untrained(model_class, dtype="float32")
    for networks in model.networks.values():
        assert {layer.compute_dtype for layer in networks[0].layers} == {"float32"}


@pytest.mark.parametrize(
    ("model_class", "sampler", "passes"),
    [
        (DDPM, dict(name="dpm_solver", num_steps=5, power=0.8, eta=0.5), 5),
        (DDPM, dict(name="ddim", num_steps=4, power=2.0, eta=1.0), 4),
        (Student, dict(num_steps=1), 1),
        (Student, dict(num_steps=2), 2),
    ],
)
def test_chosen_sampler_survives_save_and_load(model_class, sampler, passes, tmp_path):
    model = randomise(untrained(model_class, num_timesteps=8)).use_sampler(**sampler)
    model.save(tmp_path / "model.keras")
    images = model.generate(3, seed=5)
    assert len(np.unique(images)) > 10
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.generate(3, seed=5), images, atol=1e-5)
    given, rebuilt = (
        untrained(model_class, num_timesteps=8, sampler=sampler),
        model_class.from_config(model.get_config()),
    )
    for other in (model, loaded, given, rebuilt, copy.deepcopy(model)):
        assert other.passes_per_image == passes
        assert other.get_config()["sampler"].items() >= sampler.items()


@keras.saving.register_keras_serializable("tests")
class WeightedVAE(VAE):
    """A subclass with a variable of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.strength = self.add_weight(shape=(2,), initializer="zeros", name="strength")


def test_own_variable_of_a_subclass_survives_save_and_load(tmp_path):
    model = WeightedVAE(image_shape=(8, 8, 1), seed=0)
    model.strength.assign([3.0, 4.0])
    keras.random.normal((1,), seed=model.seed_generator)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    others = [keras.saving.load_model(tmp_path / "model.keras"), WeightedVAE(image_shape=(8, 8, 1), seed=9)]
    others[1].load_weights(tmp_path / "model.weights.h5")
    for other in others:
        np.testing.assert_array_equal(other.strength, [3, 4])
        np.testing.assert_array_equal(other.seed_generator.state, model.seed_generator.state)


def cosine(rate, steps):
    return lambda step: rate * (1 + math.cos(math.pi * step / steps)) / 2


def warm_up_and_cosine(rate, warm_up, steps):
    falling = cosine(rate, steps - warm_up)
    return lambda step: rate * step / warm_up if step < warm_up else falling(step - warm_up)


OPTIMIZERS = {
    VAE: {"loss": (cosine(1e-3, 1000), 0.9, 0.999)},
    DCGAN: dict.fromkeys(ADVERSARIAL, (lambda step: 1e-3, 0.5, 0.999)),
    DDPM: {"loss": (warm_up_and_cosine(1e-3, 100, 1000), 0.9, 0.999)},
    Student: {"loss": (warm_up_and_cosine(1e-3, 100, 1000), 0.9, 0.999)},
    DDGAN: {
        "generator_loss": (cosine(1e-3, 1000), 0.5, 0.99),
        "discriminator_loss": (cosine(4e-3, 1000), 0.5, 0.99),
    },
    GAN: dict.fromkeys(ADVERSARIAL, (cosine(1e-3, 1000), 0.0, 0.99)),
    MixtureVAE: {"loss": (cosine(1e-3, 1000), 0.9, 0.999)},
    MixtureVAEGAN: {"loss": (cosine(1e-3, 1000), 0.9, 0.999)},
    VAEGAN: {
        **dict.fromkeys(THREE_PLAYERS, (lambda step: 1e-3, 0.5, 0.999)),
        "discriminator_loss": (lambda step: 5e-4, 0.5, 0.999),
    },
    PixelCNN: {"loss": (warm_up_and_cosine(1e-3, 100, 1000), 0.9, 0.999)},
    Classifier: {"loss": (cosine(1e-3, 1000), 0.9, 0.999)},
}


@ALL_MODELS
def test_default_optimizers_are_those_of_the_papers(model_class):
    model = untrained(model_class)
    given, expected = model.default_optimizers(1e-3, 1000), OPTIMIZERS[model_class]
    given = given if isinstance(given, dict) else {"loss": given}
    assert given.keys() == expected.keys() == model.players().keys()
    for name, (rate, beta_1, beta_2) in expected.items():
        optimizer = given[name]
        assert type(optimizer) is keras.optimizers.Adam
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (beta_1, beta_2, 1e-7)
        for step in (0, 1, 50, 99, 100, 101, 400, 700, 999, 1000):
            optimizer.iterations.assign(step)
            assert float(optimizer.learning_rate) == pytest.approx(rate(step), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("decay", [-0.1, 1, 2.0, float("nan")])
@pytest.mark.parametrize("model_class", [DCGAN, DDPM, Student, DDGAN, GAN, VAEGAN, PixelCNN])
def test_a_decay_out_of_range_is_refused(model_class, decay):
    with pytest.raises(ValueError, match=f"ema_decay is {decay}; expected a share of at least 0 and below 1"):
        untrained(model_class, ema_decay=decay)


@AVERAGED
@pytest.mark.parametrize(("ema_decay", "decay"), [(0.999, 2 / 11), (0.05, 0.05)])
def test_average_follows_its_network(model_class, ema_decay, decay):
    model = build(model_class, optimizer=sgd(model_class), settings={"ema_decay": ema_decay}, run_eagerly=True)
    ((average, network),) = model.averages()
    before = [weight.copy() for weight in average.get_weights()]
    model.fit(some_images(4), batch_size=4, verbose=0)
    for old, now, slow in zip(before, network.get_weights(), average.get_weights(), strict=True):
        np.testing.assert_allclose(slow, decay * old + (1 - decay) * now, atol=1e-6)
    assert any(np.abs(now - old).max() > 1e-4 for old, now in zip(before, network.get_weights(), strict=True))


def test_average_follows_moving_statistics_and_decays_at_most_by_its_decay():
    model = untrained(DDPM, ema_decay=0.9)
    model.compile("sgd")
    model.optimizer.iterations.assign(10_000)
    model.ema_network.set_weights([np.ones_like(weight) for weight in model.ema_network.get_weights()])
    model.network.set_weights([np.zeros_like(weight) for weight in model.network.get_weights()])
    model.update_averages()
    for weight in model.ema_network.get_weights():
        np.testing.assert_allclose(weight, 0.9, rtol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("model_class", list(PASSES))
def test_every_network_is_told_whether_it_trains(model_class, training):
    model, told = build(model_class), []
    names = [name for name, value in vars(model).items() if isinstance(value, keras.Model)]
    players = [network for networks in model.players().values() for network in networks]
    trained = {name for name in names if any(getattr(model, name) is network for network in players)}

    def watched(name, network):
        def watching(*arguments, training):
            told.append((name, training))
            return network(*arguments, training=training)

        return watching

    for name in names:
        setattr(model, name, watched(name, getattr(model, name)))
    model.compute_losses(ops.convert_to_tensor(some_images(4)), None, training=training)
    assert told
    assert {flag for name, flag in told if name in trained} <= {training}
    assert {flag for name, flag in told if name not in trained} <= {False}


@pytest.mark.parametrize("model_class", [DCGAN, DDGAN, VAEGAN])
def test_loss_scales_of_several_optimizers_do_not_change_the_step(model_class):
    scaled = {
        name: keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
        for (name, optimizer), scale in zip(sgd(model_class).items(), (2.0**4, 2.0**9, 2.0**6), strict=False)
    }
    models = []
    for optimizer in (sgd(model_class), scaled):
        keras.utils.set_random_seed(0)
        models.append(build(model_class, optimizer=optimizer, run_eagerly=True))
        models[-1].fit(some_images(4), batch_size=4, verbose=0)
    assert_same_weights(*models, atol=1e-6)


@keras.saving.register_keras_serializable("tests")
class Game(GenerativeModel):
    """Three players with one number each; every loss depends on all of them."""

    loss_names = ("first", "second", "third", "sum")

    def __init__(self, image_shape=(2, 2, 1), seed=None, **kwargs):
        super().__init__(image_shape, seed, **kwargs)
        with self.precision():
            for name in self.loss_names[:3]:
                setattr(self, name, keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]))
        self.networks = {name: (getattr(self, name),) for name in self.loss_names[:3]}

    def default_optimizers(self, learning_rate, num_steps):
        return {name: keras.optimizers.Adam(learning_rate) for name in self.players()}

    def players(self):
        return {name: (getattr(self, name),) for name in self.loss_names[:3]}

    def compute_losses(self, images, labels, training):
        one = ops.ones((1, 1))
        a, b, c = (getattr(self, name)(one)[0, 0] for name in self.loss_names[:3])
        return {"first": a * b * c, "second": b * b * a + c, "third": c * a - c * b, "sum": a + b + c}

    def call(self, inputs, training=False):
        return self.first(inputs)

    def sample(self, draw_noise, labels=None, guidance=None):
        total = sum(ops.sum(getattr(self, name).weights[0]) for name in self.loss_names[:3])
        return ops.sigmoid(total * draw_noise(0, self.image_shape))


def game(values=(1.0, 2.0, -3.0), optimizers=None):
    model = Game(seed=0)
    for name, value in zip(Game.loss_names[:3], values, strict=True):
        getattr(model, name).set_weights([np.array([[value]])])
    model.compile(optimizers or {name: keras.optimizers.SGD(0.125) for name in model.players()})
    return model


def standing(model):
    return [float(weight[0, 0]) for weight in model.get_weights()[:3]]


def test_three_players_step_at_once_each_down_its_own_loss():
    model = game()
    history = model.fit(np.zeros((4, 2, 2, 1), "uint8"), batch_size=2, verbose=0).history
    values, losses = np.array([1.0, 2.0, -3.0]), []
    for _ in range(2):
        a, b, c = values
        losses.append([a * b * c, b * b * a + c, c * a - c * b, a + b + c])
        values = values - 0.125 * np.array([b * c, 2 * b * a, a - b])
    assert standing(model) == pytest.approx(values.tolist(), rel=1e-5)
    assert [history[name][0] for name in Game.loss_names] == pytest.approx(np.mean(losses, axis=0).tolist(), rel=1e-5)


def test_loss_scales_of_three_players_do_not_change_the_step():
    scaled = {
        name: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.125), initial_scale=scale)
        for name, scale in zip(Game.loss_names, (2.0, 32.0, 1024.0), strict=False)
    }
    models = [game(), game(optimizers=scaled)]
    for model in models:
        model.fit(np.zeros((2, 2, 2, 1), "uint8"), verbose=0)
    assert standing(models[1]) == standing(models[0])


def test_three_players_keep_the_contract(tmp_path):
    model, images = game(optimizers=Game().default_optimizers(1e-2, 10)), np.zeros((4, 2, 2, 1), "float32")
    reported = model.fit(images, batch_size=2, verbose=0).history
    assert set(reported) == set(Game.loss_names) == set(model.evaluate(images, verbose=0, return_dict=True))
    model.save(tmp_path / "game.keras")
    loaded = keras.saving.load_model(tmp_path / "game.keras")
    np.testing.assert_allclose(loaded.generate(3, seed=1), model.generate(3, seed=1), atol=1e-6)
    for each in (model, loaded):
        assert [int(optimizer.iterations) for optimizer in each.optimizers.values()] == [2, 2, 2]
        each.fit(images, batch_size=2, verbose=0)
    assert standing(loaded) == pytest.approx(standing(model), rel=1e-6)


@keras.saving.register_keras_serializable("tests")
class Painter(GenerativeModel):
    """Paints every class in its mean grey, or in a share of it."""

    takes_guidance = True

    def __init__(self, image_shape=(4, 4, 1), num_classes=3, seed=None, **kwargs):
        super().__init__(image_shape, seed, dict(num_classes=num_classes), **kwargs)
        self.num_classes = num_classes
        with self.precision():
            self.table = keras.Sequential([keras.Input((num_classes,)), keras.layers.Dense(1, use_bias=False)])
        self.networks = {"table": (self.table,)}

    def default_optimizers(self, learning_rate, num_steps):
        return keras.optimizers.SGD(learning_rate)

    def players(self):
        return {"loss": (self.table,)}

    def grey(self, labels):
        return ops.reshape(self.table(ops.one_hot(labels, self.num_classes)), (-1, 1, 1, 1))

    def compute_losses(self, images, labels, training):
        return {"loss": ops.mean(ops.square(images - self.grey(labels)))}

    def call(self, labels, training=False):
        return self.grey(labels)

    def sample(self, draw_noise, labels=None, guidance=None):
        strength = 1.0 if guidance is None else guidance
        return ops.clip(strength * self.grey(labels) + 1e-4 * draw_noise(0, self.image_shape), 0.0, 1.0)


@pytest.fixture(scope="module")
def painter():
    labels = np.arange(30) % 3
    images = np.array([26, 128, 204], "uint8")[labels][:, None, None, None] * np.ones((30, 4, 4, 1), "uint8")
    model = Painter(seed=0)
    model.compile(model.default_optimizers(0.5, 1), run_eagerly=True)
    model.fit(images, labels, batch_size=30, epochs=40, verbose=0)
    return model, images, labels


GREYS = np.array([26, 128, 204]) / 255


def test_conditional_model_learns_each_class_by_its_label(painter):
    model, images, labels = painter
    assert model.evaluate(images, labels, verbose=0) < 1e-4
    assert model.evaluate(images, (labels + 1) % 3, verbose=0) > 0.05


@pytest.mark.parametrize("batch_size", [2, 100])
def test_conditional_model_draws_the_labels_in_their_order(painter, batch_size):
    labels = np.array([2, 0, 1, 1, 2])
    images = painter[0].generate(5, labels=labels, seed=0, batch_size=batch_size)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), GREYS[labels], atol=0.01)
    np.testing.assert_allclose(painter[0].generate(2, labels=1, seed=0).mean(), GREYS[1], atol=0.01)


def test_guidance_reaches_sample_and_may_change_without_compiling_anew(painter):
    model = painter[0]
    for guidance in (0.25, 0.5):
        images = model.generate(3, labels=[0, 1, 2], guidance=guidance, seed=0)
        np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), guidance * GREYS, atol=0.01)


def test_conditional_model_is_saved_and_loaded(painter, tmp_path):
    painter[0].save(tmp_path / "painter.keras")
    loaded = keras.saving.load_model(tmp_path / "painter.keras")
    arguments = dict(labels=[0, 1, 2], guidance=0.5, seed=3)
    np.testing.assert_allclose(loaded.generate(3, **arguments), painter[0].generate(3, **arguments), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"draws by classes; give labels, integers in 0 \.\.\. 2"),
        ([0, 1], r"the shape \(2,\); expected \(3,\)"),
        ([0.0, 1.0, 2.0], "labels are float64; expected integers"),
        ([0, 1, 3], r"labels lie in 0 \.\.\. 3; expected 0 \.\.\. 2"),
        (3, r"labels lie in 3 \.\.\. 3; expected 0 \.\.\. 2"),
    ],
)
def test_conditional_model_refuses_other_labels(painter, labels, message):
    with pytest.raises(ValueError, match=message):
        painter[0].generate(3, labels=labels)


def test_optimizers_that_do_not_match_the_players_are_refused():
    expected = r"expected one for each of \['discriminator_loss', 'generator_loss'\]"
    for given in ({"generator_loss": "adam"}, {**sgd(DCGAN), "loss": "sgd"}):
        with pytest.raises(ValueError, match=rf"optimizers are for .*{expected}"):
            untrained(DCGAN).compile(given)
    shared = keras.optimizers.SGD()
    for given in (shared, dict.fromkeys(ADVERSARIAL, shared)):
        with pytest.raises(ValueError, match="players share an optimizer"):
            untrained(DCGAN).compile(given)
    with pytest.raises(ValueError, match="optimizer of loss has use_ema.*Leave it out"):
        untrained(VAE).compile(keras.optimizers.SGD(use_ema=True))


def test_optimizers_may_be_names():
    model = untrained(DCGAN)
    model.compile({"generator_loss": "adam", "discriminator_loss": "sgd"})
    kinds = {name: type(optimizer) for name, optimizer in model.optimizers.items()}
    assert kinds == {"generator_loss": keras.optimizers.Adam, "discriminator_loss": keras.optimizers.SGD}


def test_losses_of_other_names_are_refused():
    model = build(VAE, run_eagerly=True)
    model.compute_losses = lambda images, labels, training: {"cost": 0.0}
    with pytest.raises(ValueError, match=r"compute_losses returns \['cost'\]; expected loss_names \['kl_loss'"):
        model.evaluate(some_images(), verbose=0)


def test_image_shape_of_two_numbers_is_refused():
    with pytest.raises(ValueError, match=r"image_shape is \(8, 8\); expected \(height, width, channels\)"):
        VAE(image_shape=(8, 8))


def test_a_name_makes_an_optimizer_for_every_player():
    model = untrained(DCGAN)
    model.compile("sgd")
    assert len({id(optimizer) for optimizer in model.optimizers.values()}) == 2


def test_means_over_an_epoch_weigh_every_image_alike():
    model = untrained(VAE)
    model.reset_metrics()
    for num_images, value in ((3, 1.0), (1, 5.0)):
        means = model.update_trackers(dict.fromkeys(model.trackers, value), num_images)
    assert {float(mean) for mean in means.values()} == {2.0}


@pytest.mark.parametrize("settings", [dict(y=np.zeros(4, "int32")), dict(batch_size=2)])
def test_what_would_be_dropped_beside_batches_of_others_is_refused(settings):
    dataset = tf.data.Dataset.from_tensor_slices(some_images(4)).batch(2)
    with pytest.raises(ValueError, match="labels or batch_size stand beside a .*; leave them out"):
        untrained(VAE).evaluate(dataset, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(validation_batch_size=2), "validation_batch_size is not supported"),
        (dict(validation_data=(0, 0, 0)), "validation_data has 3 parts"),
        (dict(batch_size=0), "batch_size is 0; expected a whole number"),
    ],
)
def test_what_fit_does_not_take_is_named(settings, message):
    model = untrained(VAE)
    model.compile("sgd")
    with pytest.raises(ValueError, match=message):
        model.fit(some_images(4), **settings)


@pytest.mark.parametrize("x", [(some_images(4), np.zeros(4)), {"images": some_images(4)}, None])
def test_fit_says_what_it_takes(x):
    model = untrained(VAE)
    model.compile("sgd")
    with pytest.raises(ValueError, match="expected an array"):
        model.fit(x)
