import math
import pathlib
import re

import nbformat
import pytest

from trilemma import records

NOTEBOOKS = sorted((pathlib.Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request):
    notebook = nbformat.read(request.param, as_version=4)
    notebook.path = request.param
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_notebooks_are_the_lessons_and_the_appendices():
    lessons = ["01_vae", "02_gan", "03_ddpm", "04_fast_sampling", "05_comparison"]
    assert [path.stem for path in NOTEBOOKS] == [*lessons, "A1_claims", "A2_speed"]


def test_every_code_cell_has_been_executed_without_an_error(notebook):
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert not [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"]


def test_most_printing_cells_are_compared(notebook):
    printing = [cell for cell in code_cells(notebook) if cell.outputs]
    compared = [cell for cell in printing if "NBVAL_IGNORE_OUTPUT" not in cell.source]
    assert len(compared) > len(printing) / 2
    assert "NBVAL_SKIP" not in "".join(cell.source for cell in code_cells(notebook))


def test_one_heading_and_a_link_to_its_own_path(notebook):
    assert len(re.findall(r"^# ", prose(notebook), re.MULTILINE)) == 1
    links = re.findall(r"colab\.research\.google\.com/github/[^/]+/[^/]+/blob/main/([^)]+)\)", prose(notebook))
    assert links == [f"notebooks/{notebook.path.name}"]


def test_title_states_the_measured_run_time(notebook):
    minutes = records.load_results("notebook_minutes")[notebook.path.stem]["minutes"]
    text = f"{math.ceil(minutes)} minutes" if minutes > 1 else f"{10 * math.ceil(6 * minutes)} seconds"
    assert f"It runs in about {text} on two CPU cores" in notebook.cells[0].source


def test_size_limits(notebook):
    lines = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert len(notebook.cells) <= 45
    assert sum(lines) <= 300
    assert max(lines) <= 40
    assert notebook.path.stat().st_size < 2**20
    assert max(len(str(output)) for cell in code_cells(notebook) for output in cell.outputs) < 200_000


def test_training_is_off(notebook):
    assert "TRAIN = True" not in "".join(cell.source for cell in code_cells(notebook))


def test_output_names_no_machine(notebook):
    outputs = "".join(str(cell.outputs) for cell in code_cells(notebook))
    assert not re.findall(r"/(?:home|root|work|Users|content)/[\w.]+", outputs)
