"""A family of models and a data set that are not of this package: one entry each, and everything works with them."""

import dataclasses
import json
import math
import sys

import keras
import matplotlib.image
import numpy as np
import pytest

from trilemma import __main__ as command_line
from trilemma.data import DATA_SETS, DataSet, folders, load_images
from trilemma.evaluation.evaluators import evaluator_of
from trilemma.models.contract import GenerativeModel
from trilemma.training import recipes
from trilemma.training.pretrained import list_pretrained, load_pretrained, pretrained_index
from trilemma.training.recipes import Recipe, get_recipe

SHAPE = (16, 12, 3)


@keras.saving.register_keras_serializable("tests")
class OneLayer(GenerativeModel):
    """A dense layer that learns the mean image."""

    def __init__(self, image_shape=SHAPE, latent_size=3, seed=None, **kwargs):
        super().__init__(image_shape, seed, dict(latent_size=latent_size), **kwargs)
        self.latent_size = latent_size
        with self.precision():
            layers = [
                keras.Input((latent_size,)),
                keras.layers.Dense(math.prod(image_shape), "sigmoid", dtype="float32"),
            ]
            self.network = keras.Sequential([*layers, keras.layers.Reshape(self.image_shape)])
        self.networks = {"network": (self.network,)}

    def call(self, latents, training=False):
        return self.network(latents)

    def default_optimizers(self, learning_rate, num_steps):
        return keras.optimizers.Adam(learning_rate)

    def players(self):
        return {"loss": (self.network,)}

    def compute_losses(self, images, labels, training):
        latents = keras.random.normal((keras.ops.shape(images)[0], self.latent_size), seed=self.seed_generator)
        return {"loss": keras.ops.mean(keras.ops.square(images - self.network(latents)))}

    def sample(self, draw_noise, labels=None, guidance=None):
        return self.network(draw_noise(0, (self.latent_size,)))


@keras.saving.register_keras_serializable("tests")
class OneLayerOfClasses(OneLayer):
    """The same, with a latent number that is the class."""

    def __init__(self, image_shape=SHAPE, num_classes=2, seed=None, **kwargs):
        super().__init__(image_shape, 1, seed, **kwargs)
        self.num_classes = num_classes
        self.config = {"image_shape": self.image_shape, "num_classes": num_classes, "seed": seed}

    def latents_of(self, labels):
        return keras.ops.cast(labels, "float32")[:, None] * 2 - 1

    def compute_losses(self, images, labels, training):
        return {"loss": keras.ops.mean(keras.ops.square(images - self.network(self.latents_of(labels))))}

    def sample(self, draw_noise, labels=None, guidance=None):
        return self.network(self.latents_of(labels)) + 0 * draw_noise(0, (1,))[:, :, None, None]


@pytest.fixture
def extended(monkeypatch, tmp_path, weights_dir):
    """Forty images of two classes, left half bright and right half bright, in an empty folder to work in."""
    random = np.random.default_rng(0)
    for number in range(40):
        split, name = ("train", "test")[number % 2], ("left", "right")[number // 2 % 2]
        image = random.integers(0, 60, SHAPE, "uint8")
        image[:, :6] += 190 if name == "left" else 0
        image[:, 6:] += 190 if name == "right" else 0
        folder = tmp_path / "halves" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        folders.save_image(folder / f"{number}.png", image)
    monkeypatch.chdir(tmp_path)
    halves = DataSet("halves", SHAPE, ("left", "right"), folder=str(tmp_path / "halves"))
    monkeypatch.setitem(DATA_SETS, "halves", halves)
    monkeypatch.setitem(recipes.RECIPES, "one_layer", Recipe(OneLayer, epochs=3, batch_size=10, learning_rate=0.05))
    return tmp_path


@pytest.fixture
def run(monkeypatch):
    """Runs the command line with the given words."""

    def run_words(*words):
        monkeypatch.setattr(sys, "argv", ["trilemma", *words])
        command_line.main()

    return run_words


def test_the_images_of_the_new_data_set(extended):
    for split in ("train", "test"):
        images, labels = load_images("halves", split)
        assert (images.shape, images.dtype) == ((20, *SHAPE), "uint8")
        assert labels.tolist() == [0] * 10 + [1] * 10
    model = get_recipe("vae2_halves").build()
    assert (model.image_shape, get_recipe("classifier_halves").build().num_classes) == (SHAPE, 2)


def test_before_its_classifier_is_trained_scores_say_what_is_missing(extended, run, capsys):
    with pytest.raises(SystemExit):
        run("score", "real_halves", "--num-images", "12")
    assert "python -m trilemma train classifier_halves" in capsys.readouterr().err.splitlines()[-1]


def test_a_new_family_and_a_new_data_set_do_all_that_the_others_do(extended, run, capsys):
    run("train", "classifier_halves", "--epochs", "25", "--verbose", "2")
    assert set(pretrained_index()) == {"classifier_halves", "reference_halves"}
    assert evaluator_of("halves").most_images == 20
    run("train", "one_layer_halves", "--verbose", "2")
    assert list_pretrained() == ["classifier_halves", "one_layer_halves"]
    training = json.loads((extended / "results" / "training.json").read_text())
    assert training["classifier_halves"]["test_accuracy"] > 0.9
    assert training["one_layer_halves"]["recipe"]["model"] == "OneLayer"
    losses = [row["loss"] for row in training["one_layer_halves"]["history"]]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert (extended / "results" / "epochs_one_layer_halves.png").exists()

    run("generate", "one_layer_halves", "--num-images", "4", "--out", "drawn")
    names = sorted(path.name for path in (extended / "drawn").iterdir())
    assert names == [f"one_layer_halves_{number:05d}.png" for number in range(4)] + ["one_layer_halves_sheet.png"]
    assert matplotlib.image.imread(extended / "drawn" / names[0]).shape == SHAPE

    rows = ["one_layer_halves", "real_halves", "gaussian_halves"]
    run("score", *rows, "--num-images", "12", "--seeds", "0", "1")
    board = json.loads((extended / "results" / "scoreboard_12.json").read_text())
    assert set(board) == set(rows)
    assert all(row["seeds"] == [0, 1] and row["data_set"] == "halves" for row in board.values())
    assert board["real_halves"]["frechet_distance"] < board["gaussian_halves"]["frechet_distance"]
    assert board["one_layer_halves"]["passes_per_image"] == 1
    run("score", "--num-images", "12", "--seeds", "2")
    board = json.loads((extended / "results" / "scoreboard_12.json").read_text())
    assert [board[name]["seeds"] for name in rows] == [[0, 1, 2]] * 3
    capsys.readouterr()
    run("list")
    assert "models: classifier_halves, one_layer_halves\n" in capsys.readouterr().out

    model = load_pretrained("one_layer_halves")
    model.save(extended / "model.keras")
    again = keras.saving.load_model(extended / "model.keras")
    np.testing.assert_allclose(again.generate(3, seed=1), model.generate(3, seed=1), atol=1e-6)


def test_other_families_train_on_the_new_data_set(extended, run, monkeypatch):
    short = dataclasses.replace(recipes.RECIPES["vae2"], batch_size=10, epochs=1)
    monkeypatch.setitem(recipes.CHANGES, ("vae2", "halves"), short)
    run("train", "vae2_halves", "--verbose", "2")
    assert load_pretrained("vae2_halves").generate(2, seed=0).shape == (2, *SHAPE)


def test_the_new_family_trains_on_known_data_sets(extended, run, monkeypatch):
    images, labels = np.zeros((20, 28, 28), "uint8"), np.arange(20) % 10
    np.savez(extended / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    run("train", "one_layer_mnist", "--data-dir", str(extended), "--epochs", "1")
    assert load_pretrained("one_layer_mnist").generate(1, seed=0).shape == (1, 28, 28, 1)


def test_a_new_family_that_draws_by_classes(extended, run, monkeypatch):
    recipe = Recipe(OneLayerOfClasses, epochs=20, batch_size=10, learning_rate=0.1)
    monkeypatch.setitem(recipes.RECIPES, "by_class", recipe)
    run("train", "by_class_halves", "--verbose", "2")
    run("generate", "by_class_halves", "--num-images", "2", "--labels", "0", "1")
    for label in (0, 1):
        picture = matplotlib.image.imread(extended / "generated" / f"by_class_halves_{label:05d}.png")
        halves = picture[:, :6].mean(), picture[:, 6:].mean()
        assert np.argmax(halves) == label
    history = json.loads((extended / "results" / "training.json").read_text())["by_class_halves"]["history"]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
