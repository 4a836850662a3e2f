#!/usr/bin/env bash
# ipykernel 7.4.0, jupyter_client 8.10.0: a cell that displays 50,000 short texts runs without an error, and most of the
# texts never arrive. nbclient 0.11.0 (jupyter nbconvert --execute) saves the cell with some of its outputs and says
# nothing. nbval 0.11.0 fails the cell, with a timeout that is not the cell's own. The sockets between kernel and reader
# keep some thousand messages and drop what comes beyond; nbval reads only after the cell has ended, so that the message
# that the kernel is idle may be among the lost ones. Moves of a progress bar are messages too, so that a cell of many of
# them may pass on a fast machine and fail on a slow one.
#
# Seen: nbclient: 17442 of 50000 outputs; nbval: 100 displays 1 passed, 50000 displays 1 failed, Timeout of 5 seconds exceeded waiting for output.
# Fails if nbclient saves all outputs, or if what nbval says changes; the number of outputs differs from run to run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nbval==0.11.0 ipykernel==7.4.0 \
	jupyter_client==8.10.0 nbclient==0.11.0 nbformat==5.11.1 pytest==9.2.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import re
import subprocess
import sys

import nbclient
import nbformat

# The kernel of this environment, not one that is registered elsewhere.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
seen = {}
for number in (100, 50_000):
    source = f"# NBVAL_IGNORE_OUTPUT\nfor i in range({number}):\n    display(i)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, execution_count=1)])
    nbformat.write(notebook, "displays.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", "displays.ipynb"]
    printed = subprocess.run(command, capture_output=True, text=True).stdout
    seen[number] = re.findall(r"1 (?:passed|failed)", printed)[-1:] + re.findall(r"Timeout of [^.]*\.", printed)[:1]
nbclient.execute(notebook)
outputs = len(notebook.cells[0].outputs)
told = "; nbval: " + ", ".join(f"{number} displays {', '.join(said)}" for number, said in seen.items())
print(f"nbclient: {outputs} of {number} outputs{told}")
assert 0 < outputs < number, outputs
assert seen == {100: ["1 passed"], 50_000: ["1 failed", "Timeout of 5 seconds exceeded waiting for output."]}, seen
PYTHON
