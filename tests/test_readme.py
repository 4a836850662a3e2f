import pathlib
import runpy

ROOT = pathlib.Path(__file__).parent.parent


def test_results_table_is_the_one_that_its_script_writes():
    table = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))["results_table"]()
    assert table in (ROOT / "README.md").read_text()
