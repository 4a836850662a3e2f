import dataclasses
import json
import types

import keras
import numpy as np
import pytest

from trilemma import device, files
from trilemma.data import Batches, folders
from trilemma.models.classifier import Classifier
from trilemma.models.contract import GenerativeModel
from trilemma.models.dcgan import DCGAN
from trilemma.models.ddpm import DDPM
from trilemma.models.vae import VAE
from trilemma.training import pretrained
from trilemma.training import train as training
from trilemma.training.recipes import Recipe, get_recipe
from trilemma.training.train import discard_checkpoint, minutes_by_device, train

SHAPE = (8, 8, 1)


class Toy(GenerativeModel):
    """A dense layer that turns noise into images: it has all that a training has to keep, and compiles at once."""

    def __init__(self, image_shape, seed=None, **kwargs):
        super().__init__(image_shape, seed, **kwargs)
        self.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(64), keras.layers.Reshape(SHAPE)])
        self.networks = {"network": (self.network,)}

    def call(self, noise, training=False):
        return keras.ops.sigmoid(self.network(noise))

    def default_optimizers(self, learning_rate, num_steps):
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, num_steps))

    def players(self):
        return {"loss": (self.network,)}

    def compute_losses(self, images, labels, training):
        noise = keras.random.normal((keras.ops.shape(images)[0], 2), seed=self.seed_generator)
        return {"loss": keras.ops.mean(keras.ops.square(images - self(noise)))}

    def sample(self, draw_noise, labels=None, guidance=None):
        return self(draw_noise(0, (2,)))


FAMILIES = {
    "toy": Recipe(Toy, dict(image_shape=SHAPE), learning_rate=0.05),
    "vae": Recipe(VAE, dict(image_shape=SHAPE, latent_size=2)),
    "dcgan": Recipe(DCGAN, dict(image_shape=SHAPE, latent_size=4, generator_width=8, discriminator_width=8)),
    "ddpm": Recipe(DDPM, dict(image_shape=SHAPE, num_timesteps=3, widths=(8,))),
    "classifier": Recipe(Classifier, dict(image_shape=SHAPE)),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("classifier", "ddpm")]


class Interruption(Exception):
    """Stands for a machine that is taken away."""


def some_images():
    return np.random.default_rng(0).integers(0, 256, (64, *SHAPE), "uint8"), np.arange(64, dtype="int32") % 10


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    monkeypatch.setattr(training, "load_images", lambda *_: some_images())


@pytest.fixture
def interrupt(monkeypatch):
    """Call with an epoch (from 1): the next training ends when that epoch begins; with None, no training does."""
    last = None
    start_clock = training._Epochs.on_epoch_begin

    def begin(self, epoch, logs=None):
        if last is not None and epoch + 1 == last:
            raise Interruption
        start_clock(self, epoch, logs)

    monkeypatch.setattr(training._Epochs, "on_epoch_begin", begin)

    def set_last(epoch):
        nonlocal last
        last = epoch

    return set_last


@pytest.fixture
def cut_short(interrupt):
    """Trains a tiny recipe in a folder until an epoch begins (from 1)."""

    def train_until(epoch, recipe, folder):
        interrupt(epoch)
        with pytest.raises(Interruption):
            train(recipe, folder, verbose=0)
        interrupt(None)

    return train_until


def tiny_recipe(name, **settings):
    # A batch size that leaves images out of every epoch, so that an order that is repeated changes what is seen.
    return dataclasses.replace(
        FAMILIES[name], data_set="mnist", family=name, **{"epochs": 3, "batch_size": 24, **settings}
    )


def epochs_of(history):
    return [row["epoch"] for row in history]


@pytest.mark.slow
def test_a_student_is_prepared_with_its_teacher():
    model = training.prepare(get_recipe("student_mnist"), 100)
    images = np.random.default_rng(0).random((2, 28, 28, 1), "float32")
    x, t = 2 * images - 1, np.array([150, 20])
    teacher = pretrained.load_pretrained("ddpm_mnist")
    np.testing.assert_allclose(model([x, t, np.array([100, 10])]), teacher([x, t]), atol=1e-4)
    assert np.isfinite(model.evaluate(images[:1], verbose=0))


@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_the_recipe_is_compiled_with_its_learning_rate(name):
    model = training.prepare(tiny_recipe(name, learning_rate=0.01), 10)
    assert [float(each.learning_rate) for each in model.optimizers.values()] == pytest.approx(
        [0.01] * len(model.optimizers)
    )


def test_training_records_every_epoch(tmp_path):
    model, history = train(tiny_recipe("vae"), tmp_path / "new" / "folder", verbose=0)
    assert epochs_of(history) == [1, 2, 3]
    assert all(epoch.keys() >= {"loss", "kl_loss", "reconstruction_loss", "seconds"} for epoch in history)
    assert all(epoch["seconds"] > 0 for epoch in history)
    assert all(epoch["images"] == history[0]["images"] > 0 for epoch in history)
    assert all(epoch["device"] == device.device_name() for epoch in history)
    assert int(model.optimizer.iterations) == 6
    assert newest_history(tmp_path / "new" / "folder") == history


def test_training_keeps_samples_of_every_epoch(tmp_path):
    train(tiny_recipe("toy"), tmp_path, verbose=0)
    names = sorted(tmp_path.glob("epoch_*.npy"))
    assert [file.name for file in names] == ["epoch_001.npy", "epoch_002.npy", "epoch_003.npy"]
    samples = [np.load(file) for file in names]
    assert all((sample.shape, sample.dtype) == ((10, *SHAPE), "uint8") for sample in samples)
    assert np.any(samples[0] != samples[2])


def test_a_classifier_is_trained_with_labels_and_draws_no_samples(tmp_path):
    _, history = train(tiny_recipe("classifier", epochs=1), tmp_path, verbose=0)
    assert history[0].keys() == {"epoch", "loss", "accuracy", "images", "seconds", "device"}
    assert not list(tmp_path.glob("*.npy"))


def test_training_repeats_itself(tmp_path):
    (first, _), (second, _) = (train(tiny_recipe("toy"), tmp_path / name, verbose=0) for name in "ab")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_training_anew_in_the_same_folder_starts_a_new_history(tmp_path):
    train(tiny_recipe("toy"), tmp_path, verbose=0)
    discard_checkpoint(tmp_path)
    _, history = train(tiny_recipe("toy", epochs=2), tmp_path, verbose=0)
    assert epochs_of(history) == [1, 2]
    assert sorted(file.name for file in tmp_path.glob("*.npy")) == ["epoch_001.npy", "epoch_002.npy"]


def test_the_checkpoint_stays_until_it_is_discarded(tmp_path):
    recipe = tiny_recipe("toy")
    model, history = train(recipe, tmp_path, verbose=0)
    names = sorted(file.name for file in tmp_path.glob("*.h5"))
    assert names == ["epoch_002.weights.h5", "epoch_003.weights.h5"]
    again, same = train(recipe, tmp_path, verbose=0)  # There is nothing left to train.
    assert same == history
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    discard_checkpoint(tmp_path)
    assert not list(tmp_path.glob("*.h5"))
    assert len(list(tmp_path.glob("epoch_*.npy"))) == 3
    assert newest_history(tmp_path)


@pytest.mark.parametrize("name", ["toy", *SLOW])
def test_interrupted_training_goes_on_where_it_stopped(name, tmp_path, cut_short):
    recipe = tiny_recipe(name)
    cut_short(2, recipe, tmp_path)
    model, history = train(recipe, tmp_path, verbose=0)
    assert epochs_of(history) == [1, 2, 3]
    losses = [value for row in history for key, value in row.items() if key != "device"]
    assert np.isfinite(losses).all()
    assert [int(each.iterations) for each in model.optimizers.values()] == [6] * len(model.optimizers)


@pytest.fixture
def fed_batches(monkeypatch):
    """The numbers of the images of every batch that is fed from now on."""
    fed, get = [], Batches.__getitem__

    def remember(self, index):
        fed.append((self.epoch, index, self.order()[index * self.batch_size : (index + 1) * self.batch_size].tolist()))
        return get(self, index)

    monkeypatch.setattr(Batches, "__getitem__", remember)
    return fed


@pytest.mark.parametrize(("name", "epoch"), [("toy", 2), ("toy", 4), ("vae", 3), ("dcgan", 3)])
def test_resumed_training_ends_like_one_that_was_never_interrupted(name, epoch, tmp_path, cut_short, fed_batches):
    recipe = tiny_recipe(name, epochs=4)
    whole, history = train(recipe, tmp_path / "whole", verbose=0)
    expected = list(fed_batches)
    fed_batches.clear()
    cut_short(epoch, recipe, tmp_path / "cut")
    resumed, continued = train(recipe, tmp_path / "cut", verbose=0)
    assert len({tuple(numbers) for _, _, numbers in expected}) == 8  # two batches in each of four epochs, all different
    assert fed_batches == expected
    assert [int(each.iterations) for each in resumed.optimizers.values()] == [8] * len(resumed.optimizers)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for row, other in zip(history, continued, strict=True):
        numbers = row.keys() - {"seconds", "device"}
        assert {key: other[key] for key in numbers} == pytest.approx({key: row[key] for key in numbers}, rel=1e-5)


def test_resumed_training_starts_from_the_saved_state(tmp_path, cut_short, monkeypatch):
    seen = {}

    def remember(self, logs=None):
        optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        state = [*self.model.get_weights(), *optimizer, self.model.seed_generator.state.numpy()]
        seen.setdefault("resumed" if "ended" in seen else "began", state)

    def remember_end(self, epoch, logs=None):
        end_epoch(self, epoch, logs)
        optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        seen.setdefault("ended", [*self.model.get_weights(), *optimizer, self.model.seed_generator.state.numpy()])

    end_epoch = training._Epochs.on_epoch_end
    monkeypatch.setattr(training._Epochs, "on_train_begin", remember)
    monkeypatch.setattr(training._Epochs, "on_epoch_end", remember_end)
    cut_short(2, tiny_recipe("toy"), tmp_path)
    train(tiny_recipe("toy"), tmp_path, verbose=0)
    assert np.any(seen["began"][0] != seen["ended"][0])
    for old, new in zip(seen["ended"], seen["resumed"], strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Weights and losses of a toy of three epochs that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "load_images", lambda *_: some_images())
        model, history = train(tiny_recipe("toy"), tmp_path_factory.mktemp("whole"), verbose=0)
    return types.SimpleNamespace(weights=model.get_weights(), losses=[row["loss"] for row in history])


def newest_history(folder):
    """The history that lies beside the newest checkpoint."""
    return json.loads(max(folder.glob("epoch_*.json")).read_text())


def check_like(uninterrupted, folder):
    """Trains on in a folder; the result must be that of a training that was never interrupted."""
    model, history = train(tiny_recipe("toy"), folder, verbose=0)
    assert epochs_of(history) == [1, 2, 3]
    assert epochs_of(newest_history(folder)) == [1, 2, 3]
    assert int(model.optimizer.iterations) == 6
    for one, other in zip(uninterrupted.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert [row["loss"] for row in history] == pytest.approx(uninterrupted.losses, rel=1e-5)


def killed_in_epoch_two(monkeypatch, folder, owner, name, before=lambda *_: None):
    """Trains in a folder until the second call of a method, in whose place `before` runs and the machine goes."""
    calls, original = [], getattr(owner, name)

    def kill(*arguments, **settings):
        calls.append(arguments)
        if len(calls) == 2:
            before(*arguments)
            raise Interruption
        return original(*arguments, **settings)

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(owner, name, kill)
        train(tiny_recipe("toy"), folder, verbose=0)


def test_kill_in_the_middle_of_an_epoch(tmp_path, uninterrupted):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (1, 0):
                raise Interruption

    with pytest.raises(Interruption):
        train(tiny_recipe("toy"), tmp_path, verbose=0, callbacks=[Kill()])
    check_like(uninterrupted, tmp_path)


def test_kill_before_the_history_is_written(tmp_path, monkeypatch, uninterrupted):
    killed_in_epoch_two(monkeypatch, tmp_path, np, "save")
    assert epochs_of(newest_history(tmp_path)) == [1]
    check_like(uninterrupted, tmp_path)


def test_kill_between_history_and_checkpoint(tmp_path, monkeypatch, uninterrupted):
    killed_in_epoch_two(monkeypatch, tmp_path, Toy, "save_weights")
    assert epochs_of(newest_history(tmp_path)) == [1, 2]
    check_like(uninterrupted, tmp_path)


def test_kill_while_the_checkpoint_is_written(tmp_path, monkeypatch, uninterrupted):
    killed_in_epoch_two(
        monkeypatch, tmp_path, Toy, "save_weights", lambda model, file: file.write_bytes(b"\x89HDF\r\n half of it")
    )
    assert (tmp_path / "unfinished.weights.h5").exists()
    check_like(uninterrupted, tmp_path)
    discard_checkpoint(tmp_path)
    assert not list(tmp_path.glob("*.h5"))


def test_kill_before_the_checkpoint_of_two_epochs_ago_is_removed(tmp_path, monkeypatch, uninterrupted):
    path_class = type(tmp_path)
    killed = []
    unlink = path_class.unlink

    def kill(self, missing_ok=False):
        if self.name == "epoch_000.weights.h5" and not killed:
            killed.append(self)
            raise Interruption
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(path_class, "unlink", kill)
        train(tiny_recipe("toy"), tmp_path, verbose=0)
    check_like(uninterrupted, tmp_path)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.999])
def test_cut_checkpoint_gives_way_to_the_one_before(tmp_path, cut_short, uninterrupted, share):
    cut_short(3, tiny_recipe("toy"), tmp_path)
    file = tmp_path / "epoch_002.weights.h5"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match="epoch_002.weights.h5 cannot be read.*earlier one"):
        check_like(uninterrupted, tmp_path)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError, ValueError])
def test_whatever_damage_the_newest_checkpoint_has_training_goes_on(
    tmp_path, cut_short, monkeypatch, uninterrupted, error
):
    """h5py raises each of these on changed bytes."""
    cut_short(3, tiny_recipe("toy"), tmp_path)
    load = Toy.load_weights

    def fail(self, file):
        if file.name == "epoch_002.weights.h5":
            raise error("damaged")
        load(self, file)

    monkeypatch.setattr(Toy, "load_weights", fail)
    with pytest.warns(UserWarning, match="epoch_002.weights.h5 cannot be read.*earlier one"):
        check_like(uninterrupted, tmp_path)


def test_checkpoints_of_which_none_can_be_read_are_kept_and_named(tmp_path):
    (tmp_path / "epoch_001.weights.h5").write_bytes(b"cut")
    with (
        pytest.warns(UserWarning, match="epoch_001.weights.h5 cannot be read"),
        pytest.raises(ValueError, match=f"no checkpoint in {tmp_path} can be read; delete the folder"),
    ):
        train(tiny_recipe("toy"), tmp_path, verbose=0)
    assert (tmp_path / "epoch_001.weights.h5").read_bytes() == b"cut"


@pytest.mark.parametrize("share", [0, 0.5, None])
def test_cut_or_missing_history_gives_way_to_the_epoch_before(tmp_path, cut_short, uninterrupted, share):
    cut_short(3, tiny_recipe("toy"), tmp_path)
    history = tmp_path / "epoch_002.json"
    content = history.read_text()
    if share is None:
        history.unlink()
    else:
        history.write_text(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match="cannot be read"):
        check_like(uninterrupted, tmp_path)


def test_checkpoint_beyond_its_history_gives_way_to_the_one_before(tmp_path, cut_short, uninterrupted):
    cut_short(3, tiny_recipe("toy"), tmp_path)
    (tmp_path / "epoch_002.json").write_text((tmp_path / "epoch_001.json").read_text())
    with pytest.warns(UserWarning, match="lacks epochs before 2"):
        check_like(uninterrupted, tmp_path)


def test_training_on_other_images_is_another_training(tmp_path, cut_short, monkeypatch):
    cut_short(2, tiny_recipe("toy"), tmp_path)
    images, labels = some_images()
    monkeypatch.setattr(training, "load_images", lambda *_: (images[:-1], labels[:-1]))
    with pytest.raises(ValueError, match=f"on {len(images)} images .*expected .*on {len(images) - 1} images"):
        train(tiny_recipe("toy"), tmp_path, verbose=0)


def test_training_in_another_precision_is_another_training(tmp_path, cut_short):
    cut_short(2, tiny_recipe("toy"), tmp_path)
    with pytest.raises(ValueError, match="images in float32; expected .* images in bfloat16. Delete"):
        train(tiny_recipe("toy"), tmp_path, verbose=0, precision="bfloat16")


@pytest.mark.parametrize("name", ["vae", "dcgan", pytest.param("ddpm", marks=pytest.mark.slow)])
def test_lower_precision_computes_in_it_and_learns_in_float32(tmp_path, name):
    model, history = train(tiny_recipe(name), tmp_path, verbose=0, precision="bfloat16")
    layers = [layer for networks in model.networks.values() for layer in networks[0].layers if layer.weights]
    assert {layer.compute_dtype for layer in layers} >= {"bfloat16"}
    assert {weight.dtype for weight in model.weights if "seed" not in weight.path} == {"float32"}
    assert all(row["device"] == f"{device.device_name()}, bfloat16" for row in history)
    assert all(np.isfinite([row[key] for key in model.loss_names]).all() for row in history)


def test_a_precision_that_was_chosen_for_all_models_holds_for_trainings_too(monkeypatch):
    monkeypatch.setattr(training.keras.config, "dtype_policy", lambda: keras.DTypePolicy("mixed_bfloat16"))
    assert training.prepare(tiny_recipe("vae"), 10).compute_dtype == "bfloat16"
    assert training.prepare(tiny_recipe("vae"), 10, "float32").compute_dtype == "float32"


def test_checkpoint_of_another_recipe_is_refused(tmp_path, cut_short):
    cut_short(2, tiny_recipe("toy"), tmp_path)
    with pytest.raises(ValueError, match="another recipe.*learning_rate=0.05.*expected.*learning_rate=0.001"):
        train(tiny_recipe("toy", learning_rate=0.001), tmp_path, verbose=0)


def test_a_second_training_in_the_same_folder_is_refused_by_name(tmp_path):
    refused = []

    class Second(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with pytest.raises(ValueError, match="another process is at work in") as caught:
                train(tiny_recipe("toy"), tmp_path, verbose=0)
            refused.append(str(caught.value))

    _, history = train(tiny_recipe("toy"), tmp_path, verbose=0, callbacks=[Second()])
    assert epochs_of(history) == [1, 2, 3]
    assert len(refused) == 3
    assert all(str(tmp_path) in message for message in refused)
    with files.locked(tmp_path, wait=False):  # The lock ended with the training.
        pass


def test_history_is_what_fit_reported(tmp_path):
    reported = []

    class Listen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            reported.append(dict(logs))

    _, history = train(tiny_recipe("dcgan"), tmp_path, verbose=0, callbacks=[Listen()])
    for epoch, (row, logs) in enumerate(zip(history, reported, strict=True)):
        row = {key: value for key, value in row.items() if key not in ("images", "seconds", "device")}
        assert row == pytest.approx({"epoch": epoch + 1, **logs}, rel=1e-5)


def test_minutes_of_different_devices_are_never_added():
    rows = [("CPU", 60), ("Tesla T4", 30), ("CPU", 120), ("Tesla T4", 6)]
    history = [{"epoch": number, "seconds": seconds, "device": name} for number, (name, seconds) in enumerate(rows, 1)]
    assert minutes_by_device(history) == {"CPU": 3.0, "Tesla T4": 0.6}


def test_a_training_that_moves_keeps_the_minutes_of_both_machines(tmp_path, cut_short, monkeypatch):
    monkeypatch.setattr(device, "device_name", lambda: "first machine")
    cut_short(3, tiny_recipe("toy"), tmp_path)
    monkeypatch.setattr(device, "device_name", lambda: "second machine")
    _, history = train(tiny_recipe("toy"), tmp_path, verbose=0)
    assert [row["device"] for row in history] == ["first machine", "first machine", "second machine"]
    assert minutes_by_device(history).keys() == {"first machine", "second machine"}


def test_images_of_a_folder_on_disk_are_trained_on(tmp_path, monkeypatch, random):
    for number in range(48):
        folders.save_image(tmp_path / f"{number:02d}.png", random.integers(0, 256, SHAPE, "uint8"))
    paths, labels, _ = folders.find_images(tmp_path)
    monkeypatch.setattr(training, "load_images", lambda *_: (folders.ImageFiles(paths, SHAPE), labels))
    _, history = train(tiny_recipe("toy", epochs=1), tmp_path / "checkpoint", verbose=0)
    assert np.isfinite(history[0]["loss"])
