"""Reads from executed notebooks how long they ran; writes results/notebook_minutes.json.

make notebooks && python benchmarks/notebook_minutes.py

`make notebooks` leaves them in build/; the committed ones hold no times.
"""

import datetime
import pathlib

import nbformat

from trilemma.records import environment, update_results

for path in sorted(pathlib.Path("build").glob("*.ipynb")):
    cells = nbformat.read(path, as_version=4).cells
    times = [cell.metadata.execution for cell in cells if cell.cell_type == "code"]
    start, end = (
        datetime.datetime.fromisoformat(text)
        for text in (times[0]["iopub.status.busy"], times[-1]["shell.execute_reply"])
    )
    minutes = (end - start).total_seconds() / 60
    row = {"command": "python benchmarks/notebook_minutes.py", "minutes": minutes, **environment()}
    update_results("notebook_minutes", {path.stem: row})
    print(f"{path.stem}: {minutes:.1f} minutes")
