"""Points the badges and set-up cells of the notebooks to a repository."""

import pathlib
import re


def stamp(repository):
    """Replaces the repository that pyproject.toml names, there and in the README and the notebooks.

    Raises:
        ValueError: `repository` is not OWNER/NAME.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"repository is {repository!r}; expected OWNER/NAME.")
    project = pathlib.Path("pyproject.toml")
    known = re.search(r"github\.com/([\w.-]+/[\w.-]+)\"", project.read_text())[1]
    for path in [project, pathlib.Path("README.md"), *pathlib.Path("notebooks").glob("*.ipynb")]:
        text = path.read_text()
        for before in ("github.com/", "/github/"):
            text = text.replace(before + known, before + repository)
        path.write_text(text)
