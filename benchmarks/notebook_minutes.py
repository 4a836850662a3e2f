"""Reads the run times that `make notebooks` leaves in the executed copies; writes results/notebook_minutes.json.

make notebooks && python benchmarks/notebook_minutes.py
"""

import datetime
import pathlib

import nbformat

from trilemma.__main__ import environment, update_results


def minutes(path):
    """Time from the start of the first code cell to the end of the last one."""
    times = [cell.metadata.execution for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    start, end = times[0]["iopub.status.busy"], times[-1]["iopub.status.idle"]
    return (datetime.datetime.fromisoformat(end) - datetime.datetime.fromisoformat(start)).total_seconds() / 60


if __name__ == "__main__":
    for path in sorted(pathlib.Path("build").glob("*.ipynb")):
        row = {"minutes": minutes(path), "command": "make notebooks && python benchmarks/notebook_minutes.py"}
        update_results("notebook_minutes", {path.stem: {**row, **environment()}})
        print(path.stem, row["minutes"])
