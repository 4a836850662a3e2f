import json
import sys

import keras
import matplotlib.image
import numpy as np
import pytest

from trilemma import __main__ as command_line
from trilemma import device, files, records
from trilemma.evaluation import rows, scoreboard
from trilemma.models.classifier import Classifier
from trilemma.models.contract import GenerativeModel
from trilemma.models.vae import VAE
from trilemma.training import pretrained, recipes
from trilemma.training import train as training
from trilemma.training.recipes import Recipe, get_recipe


class Toy(GenerativeModel):
    """A dense layer that turns noise into images; its sampler makes them brighter or darker."""

    def __init__(self, image_shape, sampler=None, seed=None, **kwargs):
        super().__init__(image_shape, seed, dict(sampler=sampler), **kwargs)
        self.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(28 * 28)])
        self.networks = {"network": (self.network,)}
        self.brightness = (sampler or {}).get("brightness", 0.0)

    def call(self, noise, training=False):
        return keras.ops.sigmoid(keras.ops.reshape(self.network(noise), (-1, 28, 28, 1)) + self.brightness)

    def default_optimizers(self, learning_rate, num_steps):
        return keras.optimizers.Adam(learning_rate)

    def players(self):
        return {"loss": (self.network,)}

    def compute_losses(self, images, labels, training):
        noise = keras.random.normal((keras.ops.shape(images)[0], 2), seed=self.seed_generator)
        return {"loss": keras.ops.mean(keras.ops.square(images - self(noise)))}

    def sample(self, draw_noise, labels=None, guidance=None):
        return self(draw_noise(0, (2,)))


class ToyOfClasses(Toy):
    """Draws images as bright as their class."""

    def __init__(self, image_shape, num_classes=10, seed=None, **kwargs):
        super().__init__(image_shape, seed=seed, **kwargs)
        self.num_classes = num_classes

    def sample(self, draw_noise, labels=None, guidance=None):
        brightness = keras.ops.cast(labels, "float32")[:, None, None, None] / 10
        return brightness + 0 * self(draw_noise(0, (2,)))


@pytest.fixture
def run(monkeypatch):
    """Runs the command line with the given words."""

    def run_words(*words):
        monkeypatch.setattr(sys, "argv", ["trilemma", *words])
        command_line.main()

    return run_words


@pytest.fixture
def fails(run, capsys):
    """Runs the command line with the given words, which it must refuse; returns its last line."""

    def run_words(*words):
        with pytest.raises(SystemExit) as exit_info:
            run(*words)
        assert exit_info.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run_words


@pytest.fixture
def no_network(monkeypatch):
    def fail():
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)


@pytest.fixture
def workplace(monkeypatch, tmp_path, weights_dir, no_network):
    """An empty folder to work in, few images to train on, and recipes of seconds."""
    images, labels = np.random.default_rng(0).integers(0, 256, (64, 28, 28), "uint8"), np.arange(64) % 10
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for family, recipe in {
        "toy": Recipe(Toy, epochs=2, batch_size=32),
        "bright": Recipe(Toy, dict(sampler=dict(brightness=1.0)), weights="toy", epochs=2, batch_size=32),
        "vae": Recipe(VAE, epochs=2, batch_size=32),
        "classifier": Recipe(Classifier, epochs=2, batch_size=32),
    }.items():
        monkeypatch.setitem(recipes.RECIPES, family, recipe)
    return tmp_path


@pytest.fixture
def evaluator(workplace):
    """A classifier with random weights, its reference of 64 images, and the weights of a toy."""
    save_classifier(1)
    save_toy()
    return workplace


def save_classifier(seed):
    keras.utils.set_random_seed(seed)
    pretrained.save_pretrained("classifier_mnist", Classifier(), minutes={"a test": 1.0})
    save_reference(0)


def save_reference(shift):
    features = np.random.default_rng(2).random((64, 128)) + shift
    # Random weights may never choose a class, yet the real labels must hold all of them.
    arrays = {"features": features, "labels": np.arange(64, dtype="uint8") % 10}
    made_by = pretrained.pretrained_index()["classifier_mnist"]["sha256"]
    pretrained.save_arrays("reference_mnist", arrays, classifier_sha256=made_by)


def save_toy(shift=0.0):
    model = get_recipe("toy_mnist").build()
    model.set_weights([weight + shift for weight in model.get_weights()])
    pretrained.save_pretrained("toy_mnist", model, minutes={"a test": 2.0}, epoch=2)


def result(workplace, name):
    return json.loads((workplace / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", "biggan"], "unknown model 'biggan'"),
        (["train", "vae_mnist", "biggan"], "unknown model 'biggan'"),
        (["train", "vae_mnist", "--data-dir", "nowhere"], "nowhere/mnist.npz does not exist"),
        (["train", "vae_mnist", "solver20_mnist"], "solver20_mnist draws with the weights of ddpm_mnist; train that"),
        (["train", "vae_mnist", "--epochs", "0"], "--epochs is 0; expected at least 1"),
        (["train", "vae_mnist", "--epochs", "many"], "invalid int value: 'many'"),
        (["score", "vae_mnist", "biggan"], "unknown row 'biggan'; expected one of ['real_mnist', 'gaussian_mnist'"),
        (["score", "classifier_mnist"], "unknown row 'classifier_mnist'"),
        (["score", "real_cifar10"], "no evaluator of cifar10 yet"),
        (["score", "vae_mnist", "--num-images", "9"], "num_images is 9; a score of mnist needs 10 to 10,000"),
        (["generate", "biggan"], "unknown model 'biggan'; expected <family>_<data set>"),
        (["generate", "classifier_mnist"], "classifier_mnist tells images apart, and draws none"),
        (["generate", "vae_mnist", "--labels", "3"], "has no classes, yet labels were given"),
        (["generate", "vae_mnist", "--num-images", "0"], "num_images is 0"),
        (["generate", "vae_mnist", "--batch-size", "0"], "batch_size is 0"),
        (["generate", "vae_mnist", "--seed", "-1"], "seed is -1; expected a whole number in 0"),
        (["train"], "NAME"),
        (["generate"], "NAME"),
        (["paint"], "invalid choice"),
        ([], "required"),
    ],
)
def test_mistakes_end_with_one_line_and_no_files(fails, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(*words)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".safetensors", ".json", ".png", ".h5")]


def test_help_names_every_command(run, capsys):
    with pytest.raises(SystemExit) as exit_info:
        run("--help")
    assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("train", "score", "generate", "list"))


def test_sample_of_images_does_not_replace_shipped_weights(fails, workplace, monkeypatch):
    monkeypatch.delenv("TRILEMMA_DATA")
    line = fails("train", "toy_mnist")
    assert "could not be downloaded (URL fetch failure on https://example.org)" in line
    assert "5000 train images that ship" in line
    assert not list(workplace.rglob("*.safetensors"))
    assert not list(workplace.rglob("*.h5"))


def test_list_names_models_and_weights(run, workplace, capsys):
    pretrained.save_arrays("reference_mnist", {"labels": np.zeros(1000, "uint8")})
    pretrained.save_arrays("toy_mnist", {"w": np.zeros(1)}, minutes={"a CPU": 2.0, "a GPU": 0.5}, epoch=7, command="x")
    run("list")
    models, empty, header, _, row, toy, _, note = capsys.readouterr().out.splitlines()
    assert (models, empty) == ("models: bright_mnist, toy_mnist", "")
    assert header == "| file | bytes | parameters | epoch | minutes | command | sha256 |"
    sha256 = pretrained.pretrained_index()["reference_mnist"]["sha256"]
    assert row.startswith("| reference_mnist | 1,0")
    assert row.endswith(f"| – | – | – | – | {sha256[:12]} |")
    assert "| – | 7 | 2.0 (a CPU), 0.5 (a GPU) | x |" in toy
    assert "now it is `KERAS_BACKEND=jax python -m trilemma train NAME`" in note


def test_minutes_of_a_student_include_its_teachers_by_device(workplace, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "student", Recipe(VAE, teacher="vae"))
    for name, minutes in [("vae_mnist", {"a CPU": 5.0, "a GPU": 1.0}), ("student_mnist", {"a CPU": 3.0})]:
        pretrained.save_arrays(name, {"weights": np.zeros(1, "float32")}, minutes=minutes)
    assert rows.training_minutes(get_recipe("vae_mnist")) == {"a CPU": 5.0, "a GPU": 1.0}
    assert rows.training_minutes(get_recipe("student_mnist")) == {"a CPU": 8.0, "a GPU": 1.0}
    assert pretrained.pretrained_index()["student_mnist"]["minutes"] == {"a CPU": 3.0}
    assert rows.training_minutes(None) is None


def test_train_ships_weights_and_writes_their_history(run, workplace, capsys):
    run("train", "toy_mnist", "--verbose", "2")
    assert pretrained.list_pretrained() == ["bright_mnist", "toy_mnist"]
    record, entry = result(workplace, "training")["toy_mnist"], pretrained.pretrained_index()["toy_mnist"]
    assert {key: record[key] for key in entry.keys() - {"sha256", "bytes", "parameters"}} == {
        key: entry[key] for key in entry.keys() - {"sha256", "bytes", "parameters"}
    }
    assert record["command"] == "python -m trilemma train toy_mnist"
    assert (record["epoch"], record["recipe"]) == (2, json.loads(json.dumps(get_recipe("toy_mnist").describe())))
    assert [epoch["epoch"] for epoch in record["history"]] == [1, 2]
    assert record["minutes"] == training.minutes_by_device(record["history"])
    assert record["device"] == device.device_name()
    assert (workplace / "results" / "epochs_toy_mnist.png").stat().st_size > 0
    assert not list(workplace.rglob("*.h5"))
    assert f"weights: {pretrained.WEIGHTS_DIR / 'toy_mnist'}.safetensors" in capsys.readouterr().out


def test_other_epochs_are_part_of_what_weights_tell(run, workplace):
    run("train", "toy_mnist", "--epochs", "1")
    entry = pretrained.pretrained_index()["toy_mnist"]
    assert entry["command"] == "python -m trilemma train toy_mnist --epochs 1"
    assert (entry["epoch"], entry["recipe"]["epochs"]) == (1, 1)


def test_precision_of_a_training_is_part_of_what_weights_tell(run, workplace, monkeypatch):
    trained = []

    def watched(*arguments, **options):
        trained.append(training.train(*arguments, **options))
        return trained[-1]

    monkeypatch.setattr(command_line, "train", watched)
    run("train", "toy_mnist", "--precision", "bfloat16")
    entry = pretrained.pretrained_index()["toy_mnist"]
    assert entry["command"] == "python -m trilemma train toy_mnist --precision bfloat16"
    assert list(entry["minutes"]) == [f"{device.device_name()}, bfloat16"]
    assert trained[0][0].compute_dtype == "bfloat16"
    assert {array.dtype.name for array in pretrained.load_arrays("toy_mnist").values()} == {"float32"}
    assert pretrained.load_pretrained("toy_mnist").compute_dtype == "float32"


class Interruption(Exception):
    """Stands for a machine that is taken away."""


def test_an_interrupted_training_goes_on_by_the_same_command(run, workplace, monkeypatch):
    def cut(self, epoch, logs=None):
        if epoch == 1:
            raise Interruption

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(training._Epochs, "on_epoch_begin", cut)
        patch.setattr(training._Epochs, "start", 0.0, raising=False)
        run("train", "toy_mnist")
    assert not list(workplace.rglob("*.safetensors"))
    run("train", "toy_mnist")
    assert [row["epoch"] for row in result(workplace, "training")["toy_mnist"]["history"]] == [1, 2]
    assert not list(workplace.rglob("*.h5"))


@pytest.mark.parametrize(
    ("owner", "name"), [(pretrained, "save_pretrained"), (records, "save_epoch_samples"), (records, "update_results")]
)
def test_the_checkpoint_stays_until_weights_and_results_are_safe(run, workplace, monkeypatch, owner, name):
    def fail(*_, **__):
        raise Interruption

    with monkeypatch.context() as patch, pytest.raises(Interruption):
        patch.setattr(owner, name, fail)
        run("train", "toy_mnist")
    folder = workplace / "build" / "checkpoints" / "toy_mnist"
    checkpoint = (folder / "epoch_002.weights.h5").read_bytes()
    assert checkpoint
    monkeypatch.setattr(Toy, "train_step", None)  # Nothing is left to train.
    run("train", "toy_mnist")
    assert pretrained.pretrained_index()["toy_mnist"]["epoch"] == 2
    assert not list(folder.glob("*.h5"))


def test_an_unwritable_results_folder_ends_the_training_before_its_first_epoch(fails, workplace, monkeypatch):
    (workplace / "results").write_text("a file where the folder should be")
    monkeypatch.setattr(training, "prepare", None)
    assert f"{workplace / 'results'} cannot be written; start in a folder" in fails("train", "toy_mnist")
    assert not (workplace / "build").exists()


def test_unwritable_weights_folders_end_the_training_before_its_first_epoch(fails, workplace, monkeypatch):
    monkeypatch.setattr(files, "is_writable", lambda folder: folder == records.RESULTS_DIR)
    monkeypatch.setattr(training, "prepare", None)
    assert "weights can be written neither to" in fails("train", "toy_mnist")


def test_a_damaged_results_file_is_named(fails, evaluator):
    (evaluator / "results").mkdir()
    (evaluator / "results" / "scoreboard_20.json").write_text('{"toy_mnist": {"seeds": [1')
    line = fails("score", "toy_mnist", "--num-images", "20")
    assert "results/scoreboard_20.json is damaged" in line
    assert "restore it from the repository, or delete it" in line


@pytest.mark.slow
def test_models_are_scored_against_the_trained_classifier(run, workplace, change_reference):
    run("train", "classifier_mnist", "vae_mnist")
    assert {"reference_mnist", "classifier_mnist", "vae_mnist"} == pretrained.pretrained_index().keys()
    record = result(workplace, "training")["classifier_mnist"]
    assert 0 <= record["test_accuracy"] <= 1
    assert record["num_test_images"] == 64
    # After two steps the classifier may not choose every class, yet the real labels must hold all of them.
    change_reference("mnist", labels=np.arange(64, dtype="uint8") % 10)
    names = ["real_mnist", "gaussian_mnist", "vae_mnist"]
    run("score", *names, "--num-images", "20", "--seeds", "5", "1")
    rows = result(workplace, "scoreboard_20")
    assert set(rows) == set(names)
    assert rows["vae_mnist"]["training_minutes"] == pretrained.pretrained_index()["vae_mnist"]["minutes"]
    for name, row in rows.items():
        assert row["num_images"] == 20
        assert row["data_set"] == "mnist"
        assert row["command"] == f"python -m trilemma score {name} --num-images 20 --seeds 1 5"
        assert [each["seed"] for each in row["runs"]] == row["seeds"] == [1, 5]
        assert row["precision"] == pytest.approx(np.mean([each["precision"] for each in row["runs"]]))


@pytest.fixture
def seeds_after(run, evaluator):
    """Scores a row with some seeds; returns the seeds that it then holds."""

    def score(name, *words):
        run("score", name, "--num-images", "20", "--seeds", *words)
        row = result(evaluator, "scoreboard_20")[name]
        assert [each["seed"] for each in row["runs"]] == row["seeds"]
        return row["seeds"]

    return score


def test_a_row_gathers_its_seeds(seeds_after, evaluator, monkeypatch):
    def row():
        return result(evaluator, "scoreboard_20")["toy_mnist"]

    assert seeds_after("toy_mnist", "0") == [0]
    first = row()
    assert seeds_after("toy_mnist", "1") == [0, 1]
    both = row()
    monkeypatch.setattr(device, "device_name", lambda: "another machine")
    assert seeds_after("toy_mnist", "0") == [0, 1]
    again = row()
    assert first["runs"][0]["images_sha256"] == again["runs"][0]["images_sha256"] != again["runs"][1]["images_sha256"]
    assert first["spread"] == {} != both["spread"]
    assert [run["device"] for run in again["runs"]] == ["another machine", both["runs"][1]["device"]]
    assert "images_per_second" not in again.keys() | again["runs"][0].keys()
    assert again["files_sha256"] == {
        name: pretrained.pretrained_index()[name]["sha256"]
        for name in ("classifier_mnist", "reference_mnist", "toy_mnist")
    }
    assert (again["sampler"], again["noise"], again["images"]) == (None, scoreboard.NOISE, "all")


CHANGES = {
    "weights": lambda patch: save_toy(0.1),
    "classifier": lambda patch: save_classifier(7),
    "reference": lambda patch: save_reference(0.1),
    "noise": lambda patch: patch.setattr(scoreboard, "NOISE", "another"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_drops_its_runs_when_what_they_come_from_changes(seeds_after, monkeypatch, change):
    assert seeds_after("toy_mnist", "0") == [0]
    CHANGES[change](monkeypatch)
    assert seeds_after("toy_mnist", "1") == [1]


def test_a_row_drops_its_runs_when_its_sampler_changes(seeds_after, evaluator, monkeypatch):
    assert seeds_after("bright_mnist", "0") == [0]
    assert seeds_after("bright_mnist", "1") == [0, 1]
    other = Recipe(Toy, dict(sampler=dict(brightness=2.0)), weights="toy")
    monkeypatch.setitem(recipes.RECIPES, "bright", other)
    assert seeds_after("bright_mnist", "2") == [2]
    row = result(evaluator, "scoreboard_20")["bright_mnist"]
    assert row["sampler"] == {"brightness": 2.0}
    assert row["training_minutes"] == {"a test": 2.0}


@pytest.mark.parametrize("name", ["real_mnist", "gaussian_mnist"])
def test_a_bounding_row_drops_its_runs_when_its_images_change(seeds_after, evaluator, name):
    assert seeds_after(name, "0") == [0]
    assert result(evaluator, "scoreboard_20")[name]["images"] == "all"
    assert seeds_after(name, "1", "--sample") == [1]
    row = result(evaluator, "scoreboard_20")[name]
    assert row["images"] == "the sample that ships"
    assert row["command"] == f"python -m trilemma score {name} --num-images 20 --seeds 1 --sample"
    assert (row["noise"], row["sampler"], row["training_minutes"]) == (None, None, None)
    assert row["files_sha256"].keys() == {"classifier_mnist", "reference_mnist"}
    assert seeds_after(name, "2") == [2]


@pytest.mark.parametrize("name", ["real_mnist", "gaussian_mnist"])
def test_bounds_are_never_drawn_from_the_sample_unasked(fails, run, evaluator, monkeypatch, name):
    monkeypatch.delenv("TRILEMMA_DATA")
    line = fails("score", name, "--num-images", "20")
    assert "5000 train images that ship" in line
    run("score", name, "--num-images", "20", "--sample")
    assert result(evaluator, "scoreboard_20")[name]["images"] == "the sample that ships"


def test_without_names_all_models_and_bounds_of_trained_evaluators_are_scored(run, evaluator, monkeypatch):
    scored = []
    monkeypatch.setattr(rows.Row, "score", lambda row, *_: scored.append(row.name))
    run("score", "--num-images", "20")
    assert scored == ["real_mnist", "gaussian_mnist", "bright_mnist", "toy_mnist"]


def test_generate_writes_a_file_per_image_and_a_sheet(run, evaluator, capsys):
    run("generate", "toy_mnist", "--num-images", "5", "--seed", "3", "--out", "some/where")
    folder = evaluator / "some" / "where"
    names = [f"toy_mnist_{number:05d}.png" for number in range(5)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "toy_mnist_sheet.png"]
    assert f"5 images and toy_mnist_sheet.png in {folder}" in capsys.readouterr().out
    images = pretrained.load_pretrained("toy_mnist").generate(5, seed=3)
    sheet = matplotlib.image.imread(folder / "toy_mnist_sheet.png")
    assert sheet.shape[:2] == (2 * 29 - 1, 3 * 29 - 1)
    for number, name in enumerate(names):
        picture = matplotlib.image.imread(folder / name)
        np.testing.assert_allclose(picture, images[number, :, :, 0], atol=0.6 / 255)
        top, left = 29 * (number // 3), 29 * (number % 3)
        np.testing.assert_array_equal(sheet[top : top + 28, left : left + 28, 0], picture)


def test_the_batch_size_changes_no_picture(run, evaluator):
    for size in ("3", "100"):
        run("generate", "toy_mnist", "--num-images", "7", "--batch-size", size, "--out", size)
    for one in (evaluator / "3").iterdir():
        levels = [np.round(255 * matplotlib.image.imread(evaluator / size / one.name)) for size in ("3", "100")]
        assert np.abs(levels[0] - levels[1]).max() <= 1


def test_another_seed_draws_other_pictures(run, evaluator):
    for seed in ("0", "1"):
        run("generate", "toy_mnist", "--num-images", "2", "--seed", seed, "--out", seed)
    name = "toy_mnist_00000.png"
    assert (evaluator / "0" / name).read_bytes() != (evaluator / "1" / name).read_bytes()


@pytest.mark.parametrize(("words", "labels"), [(["4"], [4, 4, 4]), (["1", "9", "5"], [1, 9, 5])])
def test_a_model_of_classes_draws_the_labels_that_are_asked_for(run, evaluator, monkeypatch, words, labels):
    monkeypatch.setitem(recipes.RECIPES, "shades", Recipe(ToyOfClasses))
    pretrained.save_pretrained("shades_mnist", get_recipe("shades_mnist").build())
    count = ["--num-images", "3"] if len(words) == 1 else []
    run("generate", "shades_mnist", *count, "--labels", *words)
    for number, label in enumerate(labels):
        picture = matplotlib.image.imread(evaluator / "generated" / f"shades_mnist_{number:05d}.png")
        np.testing.assert_allclose(picture, label / 10, atol=0.6 / 255)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "draws by classes; give labels, integers in 0 ... 9"),
        (["--labels", "10"], "labels lie in 10 ... 10; expected 0 ... 9"),
        (["--labels", "1", "2"], "labels have the shape (2,); expected (3,)"),
        (["--labels", "1", "--guidance", "1"], "takes no guidance, yet guidance was given"),
    ],
)
def test_wrong_labels_end_with_one_line(fails, evaluator, monkeypatch, words, message):
    monkeypatch.setitem(recipes.RECIPES, "shades", Recipe(ToyOfClasses))
    pretrained.save_pretrained("shades_mnist", get_recipe("shades_mnist").build())
    assert message in fails("generate", "shades_mnist", "--num-images", "3", *words)


def test_every_data_set_has_two_bounding_rows(evaluator):
    known = rows.known_rows()
    assert known["real_stacked_mnist"].data_set == "stacked_mnist"
    assert known["real_stacked_mnist"].bound is scoreboard.score_real
    assert known["gaussian_mnist"].bound is scoreboard.score_gaussian
    assert (known["bright_mnist"].bound, known["bright_mnist"].recipe) == (None, get_recipe("bright_mnist"))
    assert "classifier_mnist" not in known


def test_an_interruption_by_a_person_ends_without_a_traceback(run, workplace, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "train", interrupt)
    with pytest.raises(SystemExit) as exit_info:
        run("train", "toy_mnist")
    assert exit_info.value.code == 130
    assert "by the same command" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named_before_images_are_drawn(fails, evaluator, monkeypatch):
    (evaluator / "taken").write_text("a file")
    monkeypatch.setattr(GenerativeModel, "generate", lambda *_, **__: pytest.fail("drew images"))
    assert "--out is 'taken'; expected a folder" in fails("generate", "toy_mnist", "--out", "taken")
    monkeypatch.setattr(records, "RESULTS_DIR", evaluator / "taken")
    assert "cannot be written; start in a folder" in fails("score", "toy_mnist", "--num-images", "20")
