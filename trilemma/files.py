"""Files that are written whole or not at all, by one process at a time."""

import contextlib
import os
import pathlib
import tempfile

import filelock


def write_safely(path, content):
    """Replaces a file at once: a kill at any moment leaves the old file or the new one.

    Args:
        path: of the file; its folder must exist.
        content: bytes, or str, written as UTF-8.
    """
    path = pathlib.Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(folder, wait=True):
    """Holds the lock of a folder, so that of several processes one at a time changes what lies in it.

    Args:
        folder: is made if it does not exist.
        wait: for as long as another process holds the lock; else that is an error.

    Raises:
        ValueError: another process holds the lock.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=-1 if wait else 0):
            yield
    except filelock.Timeout as error:
        raise ValueError(f"another process is at work in {folder}; wait until it has ended.") from error


def is_writable(folder):
    """Whether files can be made in this folder, tried with one; the folder is made if it does not exist."""
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
