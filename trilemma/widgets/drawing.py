"""A pad on which one draws a digit, and what models do with it."""

import base64
import io
import pathlib

import anywidget
import ipywidgets
import numpy as np
import PIL.Image
import traitlets

from trilemma.data import as_float
from trilemma.plotting import plot_images
from trilemma.widgets.views import Box, StillView, as_png

PAD_SIZE = 280  # A digit of MNIST tenfold, so that a start image keeps its pixels.


def as_digit(picture):
    """Prepares a picture of one digit as MNIST's were: 20 pixels long, its centre of mass in the middle of 28 x 28.

    Dark ink on light ground is inverted; the ground is told by the picture's edge. The digit's bounding box is cut
    out and scaled by the means of areas (LeCun et al. 1998).

    Args:
        picture: array (height, width), (height, width, 1 or 3), uint8 or in [0, 1], or a picture of Pillow.

    Returns:
        float32 (1, 28, 28, 1) in [0, 1], white ink on black.

    Raises:
        ValueError: another shape, type or range, or a blank picture.
    """
    if isinstance(picture, PIL.Image.Image):
        picture = np.asarray(picture.convert("RGB"))
    picture = np.asarray(picture)
    picture = picture[..., None] if picture.ndim == 2 else picture
    if picture.ndim != 3 or picture.shape[-1] not in (1, 3) or 0 in picture.shape:
        raise ValueError(
            f"the picture has the shape {picture.shape}; expected (height, width) or (height, width, 1 or 3). "
            "Give one picture, not a batch."
        )
    ink = as_float(picture[None])[0].mean(axis=-1)
    ground = np.median(np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]))
    if ground > 0.5:
        ink, ground = 1 - ink, 1 - ground
    ink = np.clip(ink - ground, 0, None)
    if ink.max() < 0.1:
        raise ValueError(
            "the picture is blank; expected one digit. Draw a digit on the pad by mouse or finger, or load an image "
            "file, then run this again."
        )
    ink /= ink.max()
    rows, columns = (np.flatnonzero((ink > 0.1).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * length / max(ink.shape))) for length in ink.shape)
    small = np.asarray(PIL.Image.fromarray(ink).resize((width, height), PIL.Image.Resampling.BOX))
    digit = np.zeros((28, 28), "float32")
    top = _first_pixel(small.sum(axis=1))
    left = _first_pixel(small.sum(axis=0))
    digit[top : top + height, left : left + width] = small / small.max()
    return digit[None, ..., None]


def _first_pixel(mass):
    """Where a row of masses begins in 28 pixels if its centre lies on pixel 14, as in MNIST."""
    centre = mass @ np.arange(len(mass)) / mass.sum()
    return int(np.clip(round(14 - centre), 0, 28 - len(mass)))


class DrawingPad(StillView, anywidget.AnyWidget):
    """A pad on which one draws a digit by mouse or finger, white on black, or loads an image file.

    Where nothing runs, the last drawing is shown as a picture.

    Args:
        start: what is on the pad before one draws, a picture as of `as_digit`; None leaves it black. A notebook that
            runs without a person needs one.

    Attributes:
        drawing: the drawing as a data URL of a PNG; empty for a blank pad.
    """

    _esm = (pathlib.Path(__file__).parent / "drawing_pad.js").read_text(encoding="utf-8")
    size = traitlets.Int(PAD_SIZE).tag(sync=True)
    drawing = traitlets.Unicode("").tag(sync=True)

    def __init__(self, start=None):
        super().__init__()
        self.set_still("A pad to draw a digit on; run the notebook to draw.", lambda: as_png(self.picture()[..., None]))
        if start is not None:
            large = as_digit(start)[0].repeat(10, axis=0).repeat(10, axis=1)
            self.drawing = "data:image/png;base64," + base64.b64encode(as_png(large)).decode()

    def picture(self):
        """The drawing itself, uint8 (280, 280)."""
        if not self.drawing:
            return np.zeros((PAD_SIZE, PAD_SIZE), "uint8")
        file = io.BytesIO(base64.b64decode(self.drawing.partition(",")[2]))
        return np.asarray(PIL.Image.open(file).convert("L"))

    def image(self):
        """The digit as the models know it, float32 (1, 28, 28, 1) in [0, 1]; ValueError while the pad is blank."""
        return as_digit(self.picture())


def show_digit_lab(pad, actions):
    """Shows a pad with one button per action; a click draws what the action makes of the digit.

    The first action is done at once if there is something on the pad.

    Args:
        pad: DrawingPad.
        actions: name -> function image (1, 28, 28, 1) in [0, 1] -> (images, row_names): images (n, height, width,
            channels) row by row, and one name per row, or None for rows of ten without names.

    Returns:
        ipywidgets.Widget; where nothing runs, a picture of the last result, or of the pad before the first.

    Raises:
        ValueError: no action; or the first action's error. Errors of later clicks are written below the buttons.
    """
    if not actions:
        raise ValueError("actions is empty; expected name -> function of an image. Give at least one action.")
    seen = ipywidgets.Image(format="png")
    message = ipywidgets.HTML()
    result = ipywidgets.Image(format="png", layout={"display": "none"})  # Browsers mark an empty image as broken.

    def do(name):
        result.value = as_png(_plot_result(name, actions[name](pad.image())))
        message.value, result.layout.display = f"<b>{_escape(name)}</b>", None

    def clicked(button):
        try:
            do(button.description)
        except Exception as error:  # Jupyter would write it to a log that nobody sees.
            message.value = f"<b>{button.description}</b>: {_escape(f'{type(error).__name__}: {error}')}"

    def drawn(change=None):
        try:
            seen.value = as_png(pad.image()[0])
        except ValueError:
            seen.value = as_png(np.zeros((28, 28, 1)))

    buttons = [ipywidgets.Button(description=name, layout={"width": "auto"}) for name in actions]
    for button in buttons:
        button.on_click(clicked)
    pad.observe(drawn, "drawing")
    drawn()
    if pad.drawing:
        do(next(iter(actions)))
    preview = Box([ipywidgets.Label("what the models see"), seen])
    box = Box([ipywidgets.HBox([pad, preview], layout={"grid_gap": "12px"}), ipywidgets.HBox(buttons), message, result])
    text = f"A pad to draw a digit on, then: {', '.join(actions)}; run the notebook to draw."
    return box.set_still(text, lambda: result.value or as_png(pad.picture()[..., None]))


def _plot_result(name, answer):
    """Draws what an action returned."""
    try:
        images, row_names = answer
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} returned a {type(answer).__name__}; expected two values. Return (images, row_names)."
        ) from None
    images = np.asarray(images)
    num_rows = len(row_names) if row_names else -(-len(images) // 10)
    if num_rows == 0 or (row_names and len(images) % num_rows):
        raise ValueError(
            f"{name} returned {len(images)} images for {num_rows} rows; expected as many images in every row."
        )
    return plot_images(
        images,
        columns=min(10, len(images)) if not row_names else len(images) // num_rows,
        row_names=row_names,
    )


def _escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")
