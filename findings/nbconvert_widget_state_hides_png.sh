#!/usr/bin/env bash
# nbconvert 7.17.2: a widget's output may hold a PNG beside the live view, for viewers that run nothing. `jupyter
# nbconvert --to html` shows that PNG only as long as the notebook's metadata holds no state of the widget. With the
# state, which executing by nbconvert or nbclient stores by itself, the page holds the live view alone, and a reader
# whose page loads no scripts sees nothing, although the PNG is in the file.
#
# Seen: PNG in the page: without state 1, with state 0; live view in the page: without state 0, with state 1
# Fails if any of the four numbers changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nbconvert==7.17.2 nbformat==5.11.1 ipywidgets==8.1.9
"$folder/venv/bin/python" - <<'PYTHON'
import base64

import nbformat
from nbconvert import HTMLExporter

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
# One pixel.
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
        "0000000a49444154789c63f80f0001010100b5b5c5ee0000000049454e44ae426082"
    )
).decode()
slider = {
    "model_module": "@jupyter-widgets/controls",
    "model_module_version": "2.0.0",
    "model_name": "IntSliderModel",
    "state": {"value": 3},
}

seen = {}
for name, metadata in {
    "without": {},
    "with": {"widgets": {STATE: {"state": {"a": slider}, "version_major": 2, "version_minor": 0}}},
}.items():
    data = {VIEW: {"model_id": "a", "version_major": 2, "version_minor": 0}, "image/png": PNG, "text/plain": "slider"}
    cell = nbformat.v4.new_code_cell("slider", outputs=[nbformat.v4.new_output("display_data", data)])
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell], metadata=metadata))
    seen[name] = page.count(f"data:image/png;base64,{PNG}"), page.count('"model_id": "a"')
print("PNG in the page: without state {}, with state {}".format(*(seen[name][0] for name in seen)), end="; ")
print("live view in the page: without state {}, with state {}".format(*(seen[name][1] for name in seen)))
assert seen == {"without": (1, 0), "with": (0, 1)}, seen
PYTHON
