"""The contract that every generative model keeps."""

import keras
import numpy as np
import pytest

from trilemma.dcgan import DCGAN
from trilemma.ddgan import DDGAN
from trilemma.ddpm import DDPM
from trilemma.distillation import Student
from trilemma.vae import VAE

SETTINGS = {
    VAE: {"latent_size": 2},
    DCGAN: {"latent_size": 4, "generator_width": 8, "discriminator_width": 8},
    DDPM: {"num_timesteps": 3, "widths": (8,)},
    Student: {"num_timesteps": 8, "most_steps": 4, "widths": (8,)},
    DDGAN: {"num_timesteps": 2, "latent_size": 4, "widths": (8,), "discriminator_width": 8},
}
PASSES = {VAE: 1, DCGAN: 1, DDPM: 3, Student: 4, DDGAN: 2}
ALL_MODELS = pytest.mark.parametrize("model_class", list(SETTINGS))


def build(model_class, image_shape=(8, 8, 1), **compile_arguments):
    model = model_class(image_shape=image_shape, seed=0, **SETTINGS[model_class])
    if model_class is Student:
        model.learn_from(DDPM(image_shape=image_shape, num_timesteps=8, widths=(8,), seed=0))
    model.compile(**model.default_optimizers(1e-2, 20), **{"jit_compile": False, **compile_arguments})
    return model


def some_images(count=8, image_shape=(8, 8, 1)):
    return np.random.default_rng(0).random((count, *image_shape), "float32")


def is_public_range(images):
    return images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda model_class: model_class.__name__)
def trained(request):
    model = build(request.param)
    model.history_of_fit = model.fit(some_images(12), batch_size=4, verbose=0).history
    return model


def test_fit_and_evaluate_report_the_same_finite_losses(trained):
    reported = trained.evaluate(some_images(), batch_size=4, verbose=0, return_dict=True)
    assert set(reported) == set(trained.history_of_fit) == set(trained.trackers)
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


def test_whole_number_of_any_type_is_accepted(trained):
    assert trained.generate(np.int64(2)).shape == trained.generate(2.0).shape == (2, 8, 8, 1)


def test_unconditional_models_refuse_labels(trained):
    assert trained.num_classes is None
    with pytest.raises(ValueError, match="no classes"):
        trained.generate(2, labels=[0, 1])


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
    assert int(loaded.optimizer.iterations) == int(trained.optimizer.iterations)


def test_weights_file_restores_a_model(trained, tmp_path):
    trained.save_weights(tmp_path / "model.weights.h5")
    other = type(trained)(**{**trained.get_config(), "seed": 99})
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other.generate(3, seed=1), trained.generate(3, seed=1), atol=1e-5)


@ALL_MODELS
def test_same_seed_draws_the_same_training_noise(model_class):
    first, second = (build(model_class).seed_generator for _ in range(2))
    np.testing.assert_array_equal(keras.random.normal((4,), seed=first), keras.random.normal((4,), seed=second))
    assert not np.array_equal(keras.random.normal((4,), seed=first), keras.random.normal((4,), seed=first))


@ALL_MODELS
def test_colour_is_a_matter_of_configuration(model_class):
    model = build(model_class, image_shape=(8, 12, 3))
    losses = model.evaluate(some_images(4, (8, 12, 3)), batch_size=4, verbose=0, return_dict=True)
    assert np.all(np.isfinite(list(losses.values())))
    images = model.generate(2, seed=0)
    assert images.shape == (2, 8, 12, 3)
    assert is_public_range(images)


@pytest.mark.parametrize("model_class", [VAE, DCGAN, DDGAN])
def test_sides_that_do_not_fit_are_refused(model_class):
    with pytest.raises(ValueError, match="divisible by 4"):
        build(model_class, image_shape=(10, 8, 1))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@ALL_MODELS
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
