import json
import multiprocessing

import keras
import matplotlib.image
import numpy as np
import pytest

from trilemma import records


@pytest.fixture
def results_dir(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RESULTS_DIR", tmp_path / "results")
    return tmp_path / "results"


def test_results_are_merged_into_the_known_ones(results_dir):
    records.update_results("speed", {"vae": {"seconds": 1}, "ddpm": {"seconds": 2}})
    records.update_results("speed", {"vae": {"seconds": 3}})
    known = json.loads((results_dir / "speed.json").read_text())
    assert known == {"vae": {"seconds": 3}, "ddpm": {"seconds": 2}}


def test_environment_tells_device_and_versions():
    assert set(records.environment()) == {"device", keras.backend.backend(), "keras"}


def test_results_are_changed_as_a_whole(results_dir):
    assert records.read_results("speed") == {}
    records.update_results("speed", {"vae": 1, "ddpm": 2})
    records.change_results("speed", lambda known: {name: 2 * value for name, value in known.items()})
    assert records.read_results("speed") == {"vae": 2, "ddpm": 4}
    assert [path.name for path in sorted(results_dir.iterdir())] == [".lock", "speed.json"]


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_hundred_updates_of_two_processes_lose_none(results_dir):
    def update_often(name):
        for number in range(100):
            records.update_results("speed", {f"{name} {number}": {"seconds": number}})
            json.loads((results_dir / "speed.json").read_text())  # Whoever reads meanwhile finds a whole file.

    processes = [multiprocessing.get_context("fork").Process(target=update_often, args=(name,)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(records.read_results("speed")) == 200
    assert not list(results_dir.glob(".speed*"))


@pytest.mark.parametrize("text", ["", "{", '{"vae": {"seconds": 1}', "<<<<<<< HEAD"])
def test_a_damaged_file_is_named_and_left_alone(results_dir, text):
    results_dir.mkdir()
    (results_dir / "speed.json").write_text(text)
    for use in (lambda: records.read_results("speed"), lambda: records.update_results("speed", {"vae": 1})):
        with pytest.raises(
            ValueError, match="results/speed.json is damaged.*restore it from the repository, or delete"
        ):
            use()
    assert (results_dir / "speed.json").read_text() == text


def test_what_is_no_json_leaves_the_file_as_it_was(results_dir):
    records.update_results("speed", {"vae": 1})
    with pytest.raises(TypeError):
        records.update_results("speed", {"ddpm": np.float32(1)})
    assert records.read_results("speed") == {"vae": 1}


def test_markdown_table_formats_and_marks_gaps():
    rows = [{"model": "vae", "precision": 0.12345}, {"model": "dcgan", "precision": None, "unused": 1}]
    assert records.markdown_table(rows, {"model": "", "precision": ".2f"}).splitlines() == [
        "| model | precision |",
        "| --- | --- |",
        "| vae | 0.12 |",
        "| dcgan | – |",
    ]


def test_markdown_table_puts_the_spread_behind_its_mean():
    rows = [{"model": "vae", "precision": 0.5, "spread": {"precision": 0.0123}}]
    assert records.markdown_table(rows, {"model": "", "precision": ".2f"}).endswith("| vae | 0.50 ± 0.01 |")


def test_results_come_from_the_repository_or_else_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_PACKAGE_DIR", tmp_path / "trilemma")
    with pytest.raises(FileNotFoundError, match="results/scoreboard_1000.json does not exist"):
        records.load_results("scoreboard_1000")
    for folder, text in [(tmp_path / "trilemma" / "results", '{"a": 1}'), (tmp_path / "results", '{"a": 2}')]:
        folder.mkdir(parents=True)
        (folder / "scoreboard_1000.json").write_text(text)
        assert records.load_results("scoreboard_1000") == json.loads(text)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_by_epoch_are_read_as_they_were_written(tmp_path, monkeypatch, channels):
    monkeypatch.setattr(records, "RESULTS_DIR", tmp_path / "results")
    monkeypatch.setattr(records, "_PACKAGE_DIR", tmp_path / "trilemma")
    samples = np.random.default_rng(0).integers(0, 256, (2, 10, 3, 4, channels)).astype("uint8")
    for epoch, images in enumerate(samples):
        np.save(tmp_path / f"epoch_{epoch + 1:03d}.npy", images)
    records.save_epoch_samples("vae", tmp_path)
    picture = matplotlib.image.imread(tmp_path / "results" / "epochs_vae.png")
    assert picture.shape[:2] == (2 * 3, 10 * 4)
    np.testing.assert_allclose(picture[3:6, 8:12, :channels], samples[1, 2] / 255, atol=1e-6)
    np.testing.assert_allclose(records.load_epoch_samples("vae", (3, 4, channels)), samples / 255, atol=1e-6)
