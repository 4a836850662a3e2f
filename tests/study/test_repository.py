import sys

import pytest

from study import __main__ as command_line
from study import tables


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the command line of the study with the given words, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_words(*words):
        monkeypatch.setattr(sys, "argv", ["study", *words])
        command_line.main()

    return run_words


@pytest.fixture
def files(tmp_path):
    """Every file that names the repository."""
    texts = {
        "pyproject.toml": 'Repository = "https://github.com/OWNER/trilemma"',
        "README.md": "OWNER's https://github.com/OWNER/trilemma",
        "notebooks/01_vae.ipynb": "research.google.com/github/OWNER/trilemma/blob",
    }
    (tmp_path / "notebooks").mkdir()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return lambda: {name: (tmp_path / name).read_text() for name in texts}


def test_colab_replaces_the_repository_everywhere(run, files):
    run("colab", "ada/lovelace")
    stamped = {
        "pyproject.toml": 'Repository = "https://github.com/ada/lovelace"',
        "README.md": "OWNER's https://github.com/ada/lovelace",
        "notebooks/01_vae.ipynb": "research.google.com/github/ada/lovelace/blob",
    }
    assert files() == stamped
    run("colab", "OWNER/trilemma")
    run("colab", "ada/lovelace")
    assert files() == stamped


@pytest.mark.parametrize("name", ["lovelace", "ada/lovelace/x", "ada lovelace/x", "https://github.com/ada/x", ""])
def test_what_is_no_repository_is_refused_in_one_line(run, files, capsys, name):
    before = files()
    with pytest.raises(SystemExit) as exit_info:
        run("colab", name)
    assert exit_info.value.code == 2
    assert f"repository is {name!r}; expected OWNER/NAME" in capsys.readouterr().err.splitlines()[-1]
    assert files() == before


def test_tables_are_written_by_their_command(run, monkeypatch):
    written = []
    monkeypatch.setattr(tables, "write", lambda: written.append(True))
    run("tables")
    assert written == [True]


@pytest.mark.parametrize(
    ("words", "message"), [([], "required"), (["paint"], "invalid choice"), (["colab"], "OWNER/NAME")]
)
def test_mistakes_end_with_one_line(run, capsys, words, message):
    with pytest.raises(SystemExit) as exit_info:
        run(*words)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_help_names_every_command(run, capsys):
    with pytest.raises(SystemExit) as exit_info:
        run("--help")
    assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("tables", "colab"))
