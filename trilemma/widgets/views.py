"""What all widgets share: pictures as PNG, and a picture for viewers that run nothing."""

import base64
import io
import json
import pathlib

import ipywidgets
import numpy as np
import PIL.Image
from IPython.display import display

from trilemma.data import as_float

VIEW = "application/vnd.jupyter.widget-view+json"


def as_png(picture):
    """A picture as PNG, small ones enlarged by whole pixels, so that no browser blurs them.

    Args:
        picture: array (height, width, 1 or 3), uint8 or floats in [0, 1]; or a figure of Matplotlib.

    Returns:
        bytes. An array is enlarged up to eightfold, as long as no side exceeds 600 pixels.

    Raises:
        ValueError: another shape, type or range.
    """
    file = io.BytesIO()
    if hasattr(picture, "savefig"):
        picture.savefig(file, format="png")
        return file.getvalue()
    shape = np.shape(picture)
    if len(shape) != 3 or shape[-1] not in (1, 3) or 0 in shape:
        raise ValueError(
            f"a picture has the shape {shape}; expected (height, width, 1 or 3) or a figure of Matplotlib. "
            "Give one image at a time, with a last axis for its channels."
        )
    pixels = np.round(255 * as_float(np.asarray(picture)[None])[0]).astype("uint8")
    factor = int(np.clip(600 // max(shape[:2]), 1, 8))
    pixels = np.repeat(pixels, 3 // shape[-1], axis=-1).repeat(factor, axis=0).repeat(factor, axis=1)
    PIL.Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


class StillView:
    """Gives a widget a picture and a constant text for viewers that run nothing; put it before the widget's class."""

    def set_still(self, text, draw):
        """Says what is shown where nothing runs.

        Args:
            text: the plain text, the same on every run.
            draw: function () -> PNG; called when the widget is displayed.

        Returns:
            the widget.
        """
        self._still = text, draw
        return self

    def bundle(self):
        """The output of a cell that shows the widget: MIME type -> content; viewers take the best that they know."""
        text, draw = self._still
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: view, "image/png": base64.b64encode(draw()).decode(), "text/plain": text}

    def _ipython_display_(self, **kwargs):
        # Not _repr_mimebundle_: ipywidgets 7, which Colab has, would pass it over, and Colab marks only what is
        # published in this way as a view that holds a widget of anywidget.
        display(self.bundle(), raw=True)


class Box(StillView, ipywidgets.VBox):
    """Widgets one below the other; pictures keep their size."""

    def __init__(self, children):
        super().__init__(children, layout={"align_items": "flex-start"})


def _stands_alone(data):
    return "image/png" in data or not "".join(data.get("text/plain", "view"))


def drop_views(path):
    """Takes the live views out of an executed notebook, so that its pictures show where nothing runs.

    Only outputs that hold a picture too are touched, and bars of `show_progress`. A running notebook puts the live
    views back.

    Args:
        path: notebook file; written only if something was dropped.

    Returns:
        number of views that were dropped.
    """
    path = pathlib.Path(path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    dropped = [data.pop(VIEW) for data in outputs if VIEW in data and _stands_alone(data)]
    if dropped:
        if not any(VIEW in data for data in outputs):
            notebook["metadata"].pop("widgets", None)
        text = json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
    return len(dropped)
