import pathlib

import pytest

from study import tables
from trilemma.training.pretrained import weights_table

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "first"), [(name, first) for name in tables.TABLES for first in tables.TABLES[name]])
def test_tables_are_those_that_the_study_writes(name, first):
    table = tables.TABLES[name][first]()
    assert table.startswith(f"| {first} |")
    assert f"\n\n{table}\n\n" in (ROOT / name).read_text()


def test_table_of_the_weights_is_the_one_that_the_command_line_prints():
    assert (ROOT / "trilemma" / "weights" / "README.md").read_text() == weights_table() + "\n"


@pytest.fixture
def texts(monkeypatch, tmp_path):
    """A working folder with two files of one short table each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trilemma" / "weights").mkdir(parents=True)
    short = {
        "README.md": {"family": lambda: "| family | short |\n| --- | --- |\n| a | 0 |"},
        "RESULTS.md": {"model": lambda: "| model | new |\n| --- | --- |\n| a | 1 |"},
    }
    monkeypatch.setattr(tables, "TABLES", short)
    monkeypatch.setattr(tables, "weights_table", lambda: "the weights")
    (tmp_path / "README.md").write_text("one\n\n| family | old |\n\ntwo\n")

    def write(results):
        (tmp_path / "RESULTS.md").write_text(results)
        return lambda: [(tmp_path / name).read_text() for name in ("README.md", "RESULTS.md")]

    return write


def test_a_table_is_replaced_where_it_stands(texts, tmp_path):
    read = texts("before\n\n| model | old |\n| --- | --- |\n| b | 2 |\n\nafter\n\n| claim | other |\n\n")
    tables.write()
    assert read() == [
        "one\n\n| family | short |\n| --- | --- |\n| a | 0 |\n\ntwo\n",
        "before\n\n| model | new |\n| --- | --- |\n| a | 1 |\n\nafter\n\n| claim | other |\n\n",
    ]
    assert (tmp_path / "trilemma" / "weights" / "README.md").read_text() == "the weights\n"


@pytest.mark.parametrize(("text", "count"), [("no table", 0), ("| model |\n\n| model |\n\n", 2)])
def test_a_table_that_is_not_there_once_is_an_error_and_nothing_is_written(texts, tmp_path, text, count):
    read = texts(text)
    before = read()
    with pytest.raises(ValueError, match=f"RESULTS.md has {count} tables that begin with '. model .'; expected one"):
        tables.write()
    assert read() == before
    assert not (tmp_path / "trilemma" / "weights" / "README.md").exists()


def test_the_headline_is_short_and_has_the_numbers_of_the_scoreboard():
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.headline_table().splitlines()]
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    assert 5 <= len(shown) <= 7
    results = tables.records.load_results("scoreboard_1000")
    for name, row in shown.items():
        for data_set in ("mnist", "fashion_mnist"):
            recorded = results[f"{name}_{data_set}"]
            mean, spread = (float(number) for number in row[f"frechet_distance {data_set}"].split(" ± "))
            assert mean == pytest.approx(recorded["frechet_distance"], abs=0.05)
            assert spread == pytest.approx(recorded["spread"]["frechet_distance"], abs=0.05)
            assert row["passes_per_image"] == str(recorded.get("passes_per_image") or "–")
