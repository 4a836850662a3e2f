import pathlib
import runpy

from trilemma.__main__ import weights_table

ROOT = pathlib.Path(__file__).parent.parent


def test_results_table_is_the_one_that_its_script_writes():
    table = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))["results_table"]()
    assert table in (ROOT / "README.md").read_text()


def test_table_of_the_weights_is_the_one_that_the_command_line_prints():
    assert (ROOT / "trilemma" / "weights" / "README.md").read_text() == weights_table() + "\n"
