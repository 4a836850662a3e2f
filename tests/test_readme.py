import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = {name: (ROOT / name).read_text() for name in ("README.md", "RESULTS.md")}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_and_picture_is_in_the_repository(name):
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target.split("#")[0]).exists()] == []


def test_every_notebook_is_linked_once_by_its_name():
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    links = re.findall(r"\[(\w+)\]\(notebooks/(\w+)\.ipynb\)", TEXTS["README.md"])
    assert sorted(links) == [(name, name) for name in notebooks]


def test_the_first_screen_has_one_picture_and_the_two_commands():
    first = TEXTS["README.md"].partition("\n## ")[0]
    assert len(re.findall(r"!\[", TEXTS["README.md"])) == len(re.findall(r"!\[", first)) == 1
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make notebooks", "make test"]
    assert len(first.splitlines()) <= 25


def test_long_tables_stand_in_the_results():
    tables = re.findall(r"(?:^\|.*\n)+", TEXTS["README.md"], re.MULTILINE)
    numbers = [table for table in tables if "±" in table]
    assert len(numbers) == 1
    assert len(numbers[0].splitlines()) <= 2 + 7


def test_the_versions_of_python_are_those_of_the_package():
    """The oldest version that is named is the one that the package asks for; it names the same ones to pip."""
    project = (ROOT / "pyproject.toml").read_text()
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    (oldest,) = re.findall(r"requires-python = \">=(3\.\d+)\"", project)
    assert named[0] == oldest
    sentence = re.search(r"Python (3\.\d+), (3\.\d+) or (3\.\d+)", TEXTS["README.md"])
    assert list(sentence.groups()) == named
