import subprocess
import sys

import pytest

from study import __main__ as command_line
from study import figures, tables


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


def set_origin(*words):
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "remote", "add", "origin", *words], check=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/ada/lovelace",
        "https://github.com/ada/lovelace.git",
        "https://github.com/ada/lovelace/",
        "https://ada:secret@github.com/ada/lovelace.git",
        "http://github.com/ada/lovelace",
        "git://github.com/ada/lovelace.git",
        "ssh://git@github.com/ada/lovelace.git",
        "ssh://git@github.com:22/ada/lovelace",
        "git@github.com:ada/lovelace.git",
        "git@github.com:ada/lovelace",
        "github.com:ada/lovelace.git",
    ],
)
def test_without_a_name_colab_takes_that_of_the_remote(run, files, capsys, url):
    set_origin(url)
    run("colab")
    assert files()["README.md"] == "OWNER's https://github.com/ada/lovelace"
    assert files()["notebooks/01_vae.ipynb"] == "research.google.com/github/ada/lovelace/blob"
    assert capsys.readouterr().out == "Badges and set-up cells name ada/lovelace.\n"


def test_names_may_hold_dots_and_hyphens(run, files):
    set_origin("git@github.com:ada-l/analytical.engine.git")
    run("colab")
    assert files()["pyproject.toml"] == 'Repository = "https://github.com/ada-l/analytical.engine"'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/srv/git/trilemma.git", "/srv/git/trilemma.git"),
        ("../trilemma", "../trilemma"),
        ("C:/git/trilemma", "C:/git/trilemma"),
        ("https://gitlab.com/ada/lovelace.git", "https://gitlab.com/ada/lovelace.git"),
        ("https://ada:secret@example.org/ada/lovelace", "https://example.org/ada/lovelace"),
        ("https://notgithub.com/ada/lovelace", "https://notgithub.com/ada/lovelace"),
        ("https://github.com/lovelace", "https://github.com/lovelace"),
        ("https://github.com/ada/lovelace/tree", "https://github.com/ada/lovelace/tree"),
    ],
)
def test_a_remote_that_colab_cannot_open_is_named_with_the_remedy(run, files, capsys, url, shown):
    set_origin(url)
    before = files()
    with pytest.raises(SystemExit):
        run("colab")
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"the remote origin is {shown!r}; expected a repository on github.com." in message
    assert message.endswith("make colab REPO=owner/name.")
    assert files() == before


@pytest.mark.parametrize("is_repository", [True, False])
def test_no_remote_is_an_error_with_the_remedy(run, files, capsys, monkeypatch, tmp_path, is_repository):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if is_repository:
        subprocess.run(["git", "init", "--quiet"], check=True)
    before = files()
    with pytest.raises(SystemExit):
        run("colab")
    message = capsys.readouterr().err.splitlines()[-1]
    assert "`git remote get-url origin` found no repository (" in message
    assert message.endswith("make colab REPO=owner/name.")
    assert files() == before


def test_no_git_is_an_error_with_the_remedy(run, files, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit):
        run("colab")
    assert "git is not installed" in capsys.readouterr().err.splitlines()[-1]


def test_tables_and_figures_are_written_by_their_command(run, monkeypatch):
    written = []
    monkeypatch.setattr(tables, "write", lambda: written.append("tables"))
    monkeypatch.setattr(figures, "write", lambda: written.append("figures"))
    run("tables")
    assert written == ["tables", "figures"]


@pytest.mark.parametrize(
    ("words", "message"), [([], "required"), (["paint"], "invalid choice"), (["colab", "a/b", "c/d"], "c/d")]
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
