import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A Python that only says its version and makes a .venv of itself, whose tools do nothing.
PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then echo {version}; exit; fi
echo "venv {version}" >> log
mkdir -p .venv/bin
cp "$0" .venv/bin/python
for tool in pip ruff; do printf '#!/bin/sh\\n' > .venv/bin/$tool; chmod +x .venv/bin/$tool; done
"""


@pytest.fixture
def make(tmp_path):
    """Runs `make lint` with a Python of this version; returns what it printed."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "constraints-ci.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")

    def run(version):
        python = tmp_path / f"python{version}"
        python.write_text(PYTHON.format(version=version))
        python.chmod(0o755)
        words = ["make", "lint", f"PYTHON={python}"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    return run


def made(tmp_path):
    return (tmp_path / "log").read_text().split("\n")[:-1]


def test_a_venv_is_kept_for_its_own_python_and_made_anew_for_another(make, tmp_path):
    make("3.11")
    (tmp_path / ".venv" / "mark").touch()
    assert "anew" not in make("3.11")
    assert made(tmp_path) == ["venv 3.11"]
    assert (tmp_path / ".venv" / "mark").exists()
    assert "making .venv anew, for Python 3.13" in make("3.13")
    assert made(tmp_path) == ["venv 3.11", "venv 3.13"]
    assert not (tmp_path / ".venv" / "mark").exists()
    make("3.11")
    assert made(tmp_path) == ["venv 3.11", "venv 3.13", "venv 3.11"]


def test_new_requirements_are_installed_into_the_venv_that_is_there(make, tmp_path):
    make("3.12")
    (tmp_path / ".venv" / "mark").touch()
    newer = (tmp_path / ".venv" / "installed-3.12").stat().st_mtime + 10
    os.utime(tmp_path / "requirements.txt", (newer, newer))
    make("3.12")
    assert made(tmp_path) == ["venv 3.12", "venv 3.12"]
    assert (tmp_path / ".venv" / "mark").exists()


def test_a_venv_whose_python_is_gone_is_made_anew(make, tmp_path):
    make("3.12")
    (tmp_path / ".venv" / "installed-3.12").unlink()
    (tmp_path / ".venv" / "bin" / "python").unlink()
    (tmp_path / ".venv" / "mark").touch()
    assert "anew" in make("3.12")
    assert not (tmp_path / ".venv" / "mark").exists()


def test_a_python_that_does_not_run_is_named(make, tmp_path):
    done = subprocess.run(["make", "lint", "PYTHON=python9.9"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert 'PYTHON is "python9.9", which does not run; expected Python 3.11, 3.12 or 3.13' in done.stderr
