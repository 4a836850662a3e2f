"""Points the badges and set-up cells of the notebooks to a repository."""

import pathlib
import re
import subprocess

_REMEDY = "Name it: make colab REPO=owner/name."


def stamp(repository=None):
    """Replaces the repository that pyproject.toml names, there and in the README and the notebooks; returns the new.

    Args:
        repository: OWNER/NAME on GitHub; None takes that of the git remote "origin".

    Raises:
        ValueError: `repository` is not OWNER/NAME, or "origin" is none on GitHub.
    """
    if repository is None:
        repository = origin()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"repository is {repository!r}; expected OWNER/NAME.")
    project = pathlib.Path("pyproject.toml")
    known = re.search(r"github\.com/([\w.-]+/[\w.-]+)\"", project.read_text())[1]
    for path in [project, pathlib.Path("README.md"), *pathlib.Path("notebooks").glob("*.ipynb")]:
        text = path.read_text()
        for before in ("github.com/", "/github/"):
            text = text.replace(before + known, before + repository)
        path.write_text(text)
    return repository


def origin():
    """OWNER/NAME of the git remote "origin" of the working folder.

    Raises:
        ValueError: there is no git, no remote of that name, or one that is not on GitHub, which Colab opens.
    """
    command = ["git", "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ValueError(f"git is not installed, so the repository is not known. {_REMEDY}") from error
    if done.returncode:
        raise ValueError(f"`{' '.join(command)}` found no repository ({done.stderr.strip()}). {_REMEDY}")
    url = done.stdout.strip()
    # https://github.com/ada/x.git, ssh://git@github.com/ada/x, git@github.com:ada/x.git, with or without a user.
    found = re.fullmatch(
        r"(?:(?:https?|ssh|git)://)?(?:[^@/]+@)?github\.com(?::\d+)?[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?", url
    )
    if found is None:
        shown = re.sub(r"//[^@/]+@", "//", url)  # a password may stand there
        raise ValueError(f"the remote origin is {shown!r}; expected a repository on github.com. {_REMEDY}")
    return found[1]
