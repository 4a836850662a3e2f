"""Reads from the copies that `make notebooks` executed how long each took; writes results/notebooks.json.

make notebooks && python benchmarks/notebook_minutes.py
"""

import datetime
import pathlib

import nbformat

from trilemma.__main__ import environment, update_results


def minutes(path):
    """Minutes from the first message of the kernel to the last, without its start."""
    stamps = [
        datetime.datetime.fromisoformat(stamp)
        for cell in nbformat.read(path, as_version=4).cells
        for stamp in cell.metadata.get("execution", {}).values()
    ]
    return (max(stamps) - min(stamps)).total_seconds() / 60


if __name__ == "__main__":
    command = "make notebooks && python benchmarks/notebook_minutes.py"
    for path in sorted(pathlib.Path("build").glob("*.ipynb")):
        record = {"command": command, "minutes": round(minutes(path), 1), **environment()}
        update_results("notebooks", {path.stem: record})
        print(path.stem, record["minutes"])
