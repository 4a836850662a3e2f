import pathlib
import runpy

from trilemma.__main__ import weights_table

ROOT = pathlib.Path(__file__).parent.parent


def test_tables_are_those_that_their_script_writes():
    script = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))
    for table in script["TABLES"].values():
        assert f"\n\n{table()}\n\n" in (ROOT / "README.md").read_text()


def test_table_of_the_weights_is_the_one_that_the_command_line_prints():
    assert (ROOT / "trilemma" / "weights" / "README.md").read_text() == weights_table() + "\n"
