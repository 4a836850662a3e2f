import json
import sys
import warnings

import numpy as np
import pytest

from trilemma import __main__ as command_line
from trilemma import data, device, pretrained, recipes, records, scoreboard
from trilemma.recipes import Recipe


@pytest.fixture
def run(monkeypatch):
    """Runs the command line with the given words."""

    def run_words(*words):
        monkeypatch.setattr(sys, "argv", ["trilemma", *words])
        command_line.main()

    return run_words


@pytest.fixture
def workplace(monkeypatch, tmp_path, weights_dir):
    """An empty folder to work in, few images to train on, and recipes of seconds."""
    images, labels = np.random.default_rng(0).random((64, 28, 28, 1), "float32"), np.arange(64, dtype="int32") % 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(data, "load_images", lambda *_: (images, labels))
    for name, settings in {
        "vae_mnist": dict(model="vae.VAE"),
        "classifier_mnist": dict(model="classifier.Classifier", labelled=True),
    }.items():
        monkeypatch.setitem(recipes.RECIPES, name, Recipe(data_set="mnist", epochs=2, batch_size=32, **settings))
    return tmp_path


def result(workplace, name):
    return json.loads((workplace / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", "biggan"], "unknown model 'biggan'"),
        (["train", "vae_mnist", "biggan"], "unknown model 'biggan'"),
        (["train", "vae_mnist", "--data-dir", "nowhere"], "nowhere/mnist.npz does not exist"),
        (["score", "vae_mnist", "biggan"], "unknown row 'biggan'; expected one of ['real_mnist', 'gaussian_mnist'"),
        (["score", "classifier_mnist"], "unknown row 'classifier_mnist'"),
        (["train"], "NAME"),
        (["paint"], "invalid choice"),
        ([], "required"),
    ],
)
def test_mistakes_end_with_one_line_and_no_files(run, monkeypatch, tmp_path, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        run(*words)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_help_names_every_command(run, capsys):
    with pytest.raises(SystemExit) as exit_info:
        run("--help")
    assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("train", "score", "list", "colab"))


def test_sample_of_images_does_not_replace_shipped_weights(run, workplace, monkeypatch, capsys):
    def load_sample(*_):
        warnings.warn("mnist could not be downloaded.", data.SampleWarning, stacklevel=1)

    monkeypatch.setattr(data, "load_images", load_sample)
    with pytest.raises(SystemExit):
        run("train", "vae_mnist")
    assert "could not be downloaded" in capsys.readouterr().err.splitlines()[-1]
    assert not list(workplace.rglob("*.safetensors"))


def test_colab_replaces_the_repository_everywhere(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text('Repository = "https://github.com/OWNER/trilemma"')
    (tmp_path / "README.md").write_text("OWNER's https://github.com/OWNER/trilemma")
    (tmp_path / "notebooks" / "01_vae.ipynb").write_text("research.google.com/github/OWNER/trilemma/blob")
    run("colab", "ada/lovelace")
    assert (tmp_path / "pyproject.toml").read_text() == 'Repository = "https://github.com/ada/lovelace"'
    assert (tmp_path / "README.md").read_text() == "OWNER's https://github.com/ada/lovelace"
    text = (tmp_path / "notebooks" / "01_vae.ipynb").read_text()
    assert text == "research.google.com/github/ada/lovelace/blob"


def test_list_is_a_markdown_table_of_the_weights(run, workplace, capsys):
    pretrained.save_arrays("reference_mnist", {"labels": np.zeros(1000, "uint8")})
    run("list")
    header, _, row = capsys.readouterr().out.splitlines()
    assert header == "| file | bytes | parameters | minutes | command | sha256 |"
    sha256 = pretrained.pretrained_index()["reference_mnist"]["sha256"]
    assert row.startswith("| reference_mnist | 1,0")
    assert row.endswith(f"| – | – | – | {sha256[:12]} |")


def test_minutes_of_a_student_include_its_teachers(workplace, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "student_mnist", Recipe("vae.VAE", "mnist", teacher="vae"))
    for name, minutes in [("vae_mnist", 5.0), ("student_mnist", 3.0)]:
        pretrained.save_arrays(name, {"weights": np.zeros(1, "float32")}, minutes=minutes)
    assert command_line.training_minutes("vae_mnist") == 5.0
    assert command_line.training_minutes("student_mnist") == 8.0
    assert command_line.training_minutes("real_mnist") is None


@pytest.mark.slow
def test_train_ships_weights_and_writes_their_history(run, workplace):
    run("train", "vae_mnist", "--verbose", "2")
    assert pretrained.list_pretrained() == ["vae_mnist"]
    record = result(workplace, "training")["vae_mnist"]
    assert record["command"] == pretrained.pretrained_index()["vae_mnist"]["command"]
    assert record["command"] == "python -m trilemma train vae_mnist"
    assert [epoch["epoch"] for epoch in record["history"]] == [1, 2]
    assert record["minutes"] == round(sum(epoch["seconds"] for epoch in record["history"]) / 60, 1)
    assert (workplace / "results" / "epochs_vae_mnist.png").stat().st_size > 0


@pytest.mark.slow
def test_models_are_scored_against_the_trained_classifier(run, workplace, monkeypatch):
    run("train", "classifier_mnist", "vae_mnist")
    assert {"reference_mnist", "classifier_mnist", "vae_mnist"} == pretrained.pretrained_index().keys()
    assert 0 <= result(workplace, "training")["classifier_mnist"]["test_accuracy"] <= 1
    # After two steps the classifier may not choose every class, yet the real labels must hold all of them.
    reference = pretrained.load_arrays("reference_mnist")
    pretrained.save_arrays("reference_mnist", {**reference, "labels": np.arange(64, dtype="uint8") % 10})
    scoreboard._classifier.cache_clear()
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


@pytest.mark.slow
def test_a_row_gathers_its_seeds_until_weights_or_sampler_change(run, workplace, monkeypatch):
    run("train", "classifier_mnist", "vae_mnist")
    reference = pretrained.load_arrays("reference_mnist")
    pretrained.save_arrays("reference_mnist", {**reference, "labels": np.arange(64, dtype="uint8") % 10})
    scoreboard._classifier.cache_clear()

    def seeds_after(*seeds):
        run("score", "vae_mnist", "--num-images", "20", "--seeds", *seeds)
        return result(workplace, "scoreboard_20")["vae_mnist"]

    first, both, again = seeds_after("0"), seeds_after("1"), seeds_after("0")
    assert (first["seeds"], both["seeds"], again["seeds"]) == ([0], [0, 1], [0, 1])
    assert first["runs"][0]["images_sha256"] == again["runs"][0]["images_sha256"] != again["runs"][1]["images_sha256"]
    assert first["spread"] == {} != both["spread"]
    pretrained.save_pretrained("vae_mnist", recipes.get_recipe("vae_mnist").build(), minutes=0.0)
    assert seeds_after("2")["seeds"] == [2]
    row = result(workplace, "scoreboard_20")["vae_mnist"]
    assert row["sampler"] is None
    records.update_results("scoreboard_20", {"vae_mnist": row | {"sampler": {"num_steps": 3}}})
    assert seeds_after("4")["seeds"] == [4]
    one_machine = row["runs"][0]["device"]
    monkeypatch.setattr(device, "device_name", lambda: "another machine")
    row = seeds_after("3")
    assert [(run["seed"], run["device"]) for run in row["runs"]] == [(3, "another machine"), (4, one_machine)]
    assert "images_per_second" not in row.keys() | row["runs"][0].keys()
