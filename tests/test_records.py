import json

import matplotlib.image
import numpy as np
import pytest

from trilemma import records


def test_results_are_merged_into_the_known_ones(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RESULTS_DIR", tmp_path / "results")
    records.update_results("speed", {"vae": {"seconds": 1}, "ddpm": {"seconds": 2}})
    records.update_results("speed", {"vae": {"seconds": 3}})
    known = json.loads((tmp_path / "results" / "speed.json").read_text())
    assert known == {"vae": {"seconds": 3}, "ddpm": {"seconds": 2}}


def test_environment_tells_device_and_versions():
    assert set(records.environment()) == {"device", "tensorflow", "keras"}


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


def test_samples_by_epoch_are_read_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_PACKAGE_DIR", tmp_path / "trilemma")
    (tmp_path / "results").mkdir()
    samples = np.random.default_rng(0).integers(0, 256, (2, 10, 3, 4, 1)) / 255
    rows = [[samples[epoch, i, row] for i in range(10)] for epoch in range(2) for row in range(3)]
    strip = np.repeat(np.reshape(rows, (6, 40, 1)), 3, axis=-1)
    matplotlib.image.imsave(tmp_path / "results" / "epochs_vae.png", strip)
    np.testing.assert_allclose(records.load_epoch_samples("vae", (3, 4, 1)), samples, atol=1e-6)
