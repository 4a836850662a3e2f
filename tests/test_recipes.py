import dataclasses

import keras
import numpy as np
import pytest

from trilemma import data, pretrained, recipes
from trilemma.recipes import RECIPES, Recipe, get_recipe, train

MODELS = {
    "vae": dict(model="vae.VAE", arguments=dict(latent_size=2)),
    "dcgan": dict(model="dcgan.DCGAN", arguments=dict(latent_size=4, generator_width=8, discriminator_width=8)),
    "ddpm": dict(model="ddpm.DDPM", arguments=dict(num_timesteps=3, widths=(8,))),
    "classifier": dict(model="classifier.Classifier", labelled=True),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("classifier", "ddpm")]


class Interruption(Exception):
    """Stands for a machine that is taken away."""


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    random = np.random.default_rng(0)
    images, labels = random.random((64, 28, 28, 1), "float32"), np.arange(64, dtype="int32") % 10
    monkeypatch.setattr(data, "load_images", lambda *_: (images, labels))


@pytest.fixture
def interrupt(monkeypatch):
    """Call with an epoch (from 1): the next training ends when that epoch begins; with None, no training does."""
    last = None
    start_clock = recipes._EpochSeconds.on_epoch_begin

    def begin(self, epoch, logs=None):
        if last is not None and epoch + 1 == last:
            raise Interruption
        start_clock(self, epoch, logs)

    monkeypatch.setattr(recipes._EpochSeconds, "on_epoch_begin", begin)

    def set_last(epoch):
        nonlocal last
        last = epoch

    return set_last


def tiny_recipe(name, **settings):
    return Recipe(data_set="mnist", **{"epochs": 3, "batch_size": 32, **MODELS[name], **settings})


def optimizers_of(model):
    return [model.optimizer, *([model.discriminator_optimizer] if hasattr(model, "discriminator_optimizer") else [])]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="'biggan'.*classifier_mnist.*vae_fashion_mnist"):
        get_recipe("biggan")


def test_every_kind_of_model_has_a_recipe_for_both_data_sets():
    kinds = {name.removesuffix("_fashion_mnist") for name in RECIPES if name.endswith("_fashion_mnist")}
    assert {"classifier", "vae", "vae2", "dcgan", "dcgan2", "ddpm", "student", "ddgan"} <= kinds
    for kind in kinds:
        mnist, fashion = get_recipe(f"{kind}_mnist"), get_recipe(f"{kind}_fashion_mnist")
        assert dataclasses.replace(mnist, data_set="fashion_mnist") == fashion


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_recipe("vae_mnist").epochs = 1


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.endswith("_fashion_mnist")])
def test_recipe_builds_its_model(name):
    recipe = get_recipe(name)
    model = recipe.build()
    assert model.image_shape == ((28, 28, 3) if recipe.data_set == "stacked_mnist" else (28, 28, 1))
    assert model.seed == recipe.seed
    for key, value in recipe.arguments.items():
        assert model.get_config()[key] == value


def test_a_student_is_prepared_with_its_teacher():
    model = get_recipe("student_mnist").prepare(100)
    images = np.random.default_rng(0).random((2, 28, 28, 1), "float32")
    x, t = 2 * images - 1, np.array([150, 20])
    teacher = pretrained.load_pretrained("ddpm_mnist")
    np.testing.assert_allclose(model([x, t, np.array([100, 10])]), teacher([x, t]), atol=1e-4)
    assert np.isfinite(model.evaluate(images[:1], verbose=0))


def test_training_records_every_epoch(tmp_path):
    model, history = train(tiny_recipe("vae"), tmp_path / "new" / "folder", verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert all(epoch.keys() >= {"loss", "kl_loss", "reconstruction_loss", "seconds"} for epoch in history)
    assert all(epoch["seconds"] > 0 for epoch in history)
    assert int(model.optimizer.iterations) == 6


def test_training_keeps_samples_of_every_epoch(tmp_path):
    train(tiny_recipe("vae"), tmp_path, verbose=0)
    files = sorted(tmp_path.glob("epoch_*.npy"))
    assert [file.name for file in files] == ["epoch_001.npy", "epoch_002.npy", "epoch_003.npy"]
    samples = [np.load(file) for file in files]
    assert all((sample.shape, sample.dtype) == ((10, 28, 28, 1), "uint8") for sample in samples)
    assert np.any(samples[0] != samples[2])


def test_training_repeats_itself(tmp_path):
    (first, _), (second, _) = (train(tiny_recipe("vae"), tmp_path / name, verbose=0) for name in "ab")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_training_anew_in_the_same_folder_starts_a_new_history(tmp_path):
    train(tiny_recipe("vae"), tmp_path, verbose=0)
    _, history = train(tiny_recipe("vae", epochs=2), tmp_path, verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2]


@pytest.mark.parametrize("name", ["vae", "dcgan", *SLOW])
def test_interrupted_training_goes_on_where_it_stopped(name, tmp_path, interrupt):
    recipe = tiny_recipe(name)
    interrupt(2)
    with pytest.raises(Interruption):
        train(recipe, tmp_path, verbose=0)
    interrupt(None)
    model, history = train(recipe, tmp_path, verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert all(np.isfinite(list(epoch.values())).all() for epoch in history)
    assert [int(optimizer.iterations) for optimizer in optimizers_of(model)] == [6] * len(optimizers_of(model))


def test_epoch_that_was_cut_before_its_checkpoint_is_done_again(tmp_path, monkeypatch):
    def cut(self, epoch, logs=None):
        if epoch == 1:
            raise Interruption

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(recipes._EpochSamples, "on_epoch_end", cut)
        train(tiny_recipe("vae"), tmp_path, verbose=0)
    assert not list(tmp_path.glob("epoch_*.npy"))
    _, history = train(tiny_recipe("vae"), tmp_path, verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert [file.name for file in sorted(tmp_path.glob("epoch_*.npy"))] == ["epoch_002.npy", "epoch_003.npy"]


def test_cut_checkpoint_gives_way_to_the_one_before(tmp_path, interrupt):
    interrupt(3)
    with pytest.raises(Interruption):
        train(tiny_recipe("vae"), tmp_path, verbose=0)
    interrupt(None)
    file = tmp_path / "backup" / "latest.weights.h5"
    file.write_bytes(file.read_bytes()[:1000])
    model, history = train(tiny_recipe("vae"), tmp_path, verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert int(model.optimizer.iterations) == 6


def test_cut_first_checkpoint_means_starting_anew(tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "latest.weights.h5").write_bytes(b"cut")
    _, history = train(tiny_recipe("vae"), tmp_path, verbose=0)
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]


def test_checkpoint_of_another_recipe_is_refused(tmp_path, interrupt):
    interrupt(2)
    with pytest.raises(Interruption):
        train(tiny_recipe("vae"), tmp_path, verbose=0)
    interrupt(None)
    with pytest.raises(ValueError, match="another recipe.*learning_rate=0.001.*expected.*learning_rate=0.05"):
        train(tiny_recipe("vae", learning_rate=0.05), tmp_path, verbose=0)


def test_history_is_what_fit_reported(tmp_path):
    reported = []

    class Listen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            reported.append(dict(logs))

    _, history = train(tiny_recipe("dcgan"), tmp_path, verbose=0, callbacks=[Listen()])
    for epoch, (row, logs) in enumerate(zip(history, reported, strict=True)):
        assert row == pytest.approx({"epoch": epoch + 1, **logs}, rel=1e-5)


def test_resumed_training_starts_from_the_saved_state(tmp_path, interrupt, monkeypatch):
    seen = []

    def remember(self, epoch, logs=None):
        optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        seen.append([*self.model.get_weights(), *optimizer, self.model.seed_generator.state.numpy()])

    monkeypatch.setattr(recipes._EpochSamples, "on_epoch_end", remember)
    monkeypatch.setattr(recipes._EpochSamples, "on_epoch_begin", remember)
    interrupt(2)
    with pytest.raises(Interruption):
        train(tiny_recipe("vae"), tmp_path, verbose=0)
    interrupt(None)
    train(tiny_recipe("vae"), tmp_path, verbose=0)
    first_epoch_begins, first_epoch_ends, resumed = seen[0], seen[1], seen[2]
    assert np.any(first_epoch_begins[0] != first_epoch_ends[0])
    for old, new in zip(first_epoch_ends, resumed, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)
