import pathlib

import pytest

from study import tables
from trilemma.training.pretrained import weights_table

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("first", tables.TABLES)
def test_tables_are_those_that_the_study_writes(first):
    table = tables.TABLES[first]()
    assert table.startswith(f"| {first} |")
    assert f"\n\n{table}\n\n" in (ROOT / "README.md").read_text()


def test_table_of_the_weights_is_the_one_that_the_command_line_prints():
    assert (ROOT / "trilemma" / "weights" / "README.md").read_text() == weights_table() + "\n"


@pytest.fixture
def readme(monkeypatch, tmp_path):
    """A working folder with a README of two short tables, and figures that nobody draws."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trilemma" / "weights").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(tables, "TABLES", {"model": lambda: "| model | new |\n| --- | --- |\n| a | 1 |"})
    monkeypatch.setattr(tables, "weights_table", lambda: "the weights")
    return tmp_path / "README.md"


def test_a_table_is_replaced_where_it_stands(readme, tmp_path):
    readme.write_text("before\n\n| model | old |\n| --- | --- |\n| b | 2 |\n\nafter\n\n| claim | other |\n\n")
    tables.write()
    assert readme.read_text() == (
        "before\n\n| model | new |\n| --- | --- |\n| a | 1 |\n\nafter\n\n| claim | other |\n\n"
    )
    assert (tmp_path / "trilemma" / "weights" / "README.md").read_text() == "the weights\n"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "trilemma_fashion_mnist.png", "trilemma_mnist.png",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "count"), [("no table", 0), ("| model |\n\n| model |\n\n", 2)])
def test_a_table_that_is_not_there_once_is_an_error_and_nothing_is_written(readme, text, count):
    readme.write_text(text)
    with pytest.raises(ValueError, match=f"README.md has {count} tables that begin with '. model .'; expected one"):
        tables.write()
    assert readme.read_text() == text
