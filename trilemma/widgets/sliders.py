"""Sliders: through pictures that are at hand, and over the plane of two latents."""

import functools
import io

import ipywidgets
import numpy as np
import PIL.Image
from matplotlib.figure import Figure

from trilemma.plotting import plot_images
from trilemma.widgets.views import Box, as_png


def show_slider(pictures, names=None, description=""):
    """Shows one of many pictures at a time, chosen by a slider.

    Args:
        pictures: list of arrays (height, width, 1 or 3), uint8 or in [0, 1], or of figures of Matplotlib.
        names: one text per picture, shown beside the slider; None numbers them from 1.
        description: what the slider moves, for example "t".

    Returns:
        ipywidgets.Widget; where nothing runs, a picture of up to four of the pictures, from the first to the last.

    Raises:
        ValueError: no picture, another number of names, or no picture in `as_png`'s sense.
    """
    pictures = list(pictures)
    names = [str(name) for name in (range(1, len(pictures) + 1) if names is None else names)]
    if not pictures:
        raise ValueError("pictures is empty; expected at least one picture. Compute them first.")
    if len(names) != len(pictures):
        raise ValueError(f"names has {len(names)} entries; expected {len(pictures)}, one per picture.")
    draw = functools.cache(lambda i: as_png(pictures[i]))
    for i, picture in enumerate(pictures):
        if not hasattr(picture, "savefig"):
            draw(i)  # Refuses a wrong array now; figures cost more and are drawn when they are first looked at.
    picture = ipywidgets.Image(format="png", value=draw(0))
    slider = ipywidgets.IntSlider(max=len(pictures) - 1, description=description, readout=False)
    name = ipywidgets.Label(names[0])

    def moved(change):
        picture.value, name.value = draw(change.new), names[change.new]

    slider.observe(moved, "value")
    text = f"{len(pictures)} pictures, from {names[0]} to {names[-1]}; run the notebook to move through them."
    chosen = np.unique(np.linspace(0, len(pictures) - 1, 4).round().astype(int))
    box = Box([ipywidgets.HBox([slider, name]), picture])
    return box.set_still(text, lambda: _contact_sheet([draw(i) for i in chosen], [names[i] for i in chosen]))


def _contact_sheet(pngs, names):
    """Named pictures in a row, or wide ones below each other, as one PNG."""
    pictures = [np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs]
    height, width = pictures[0].shape[:2]
    if width > 1.5 * height:
        figure = Figure((6, len(pictures) * (6 * height / width + 0.3)), layout="constrained")
        axes = figure.subplots(len(pictures), squeeze=False).flat
    else:
        figure = Figure((2 * len(pictures), 2 * height / width + 0.3), layout="constrained")
        axes = figure.subplots(1, len(pictures), squeeze=False).flat
    for each, picture, name in zip(axes, pictures, names, strict=True):
        each.imshow(picture)
        each.set_title(name, fontsize=9)
        each.set_axis_off()
    return as_png(figure)


def show_plane(decode, low=-2.5, high=2.5, names=("first latent", "second latent")):
    """Moves through the plane of two latents by two sliders and shows what every point decodes to.

    Args:
        decode: function latents (n, 2) float32 -> images (n, height, width, channels) in [0, 1].
        low: least value of both latents.
        high: greatest value.
        names: what the two latents are.

    Returns:
        ipywidgets.Widget; where nothing runs, a picture of 7 x 7 points of the plane.

    Raises:
        ValueError: low is not below high, or decode does not return one image per row of its latents.
    """
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}; expected low < high. Exchange them.")

    def images_at(latents):
        images = np.asarray(decode(np.array(latents, "float32")))
        if images.ndim != 4 or len(images) != len(latents):
            raise ValueError(
                f"decode returned the shape {images.shape} for {len(latents)} latents; "
                f"expected ({len(latents)}, height, width, channels). Return one image per row."
            )
        return images

    middle, step = (low + high) / 2, (high - low) / 50
    style = {"description_width": "90px"}
    sliders = [
        ipywidgets.FloatSlider(middle, min=low, max=high, step=step, description=name, style=style) for name in names
    ]
    picture = ipywidgets.Image(format="png")

    def redraw(change=None):
        picture.value = as_png(images_at([[slider.value for slider in sliders]])[0])

    for slider in sliders:
        slider.observe(redraw, "value")
    redraw()

    def draw_grid():
        points = np.linspace(low, high, 7)
        figure = plot_images(images_at([(x, y) for y in points[::-1] for x in points]), columns=7)
        axes = figure.axes[0]
        axes.set_xlabel(f"{names[0]}, {low:g} to {high:g}")
        axes.set_ylabel(f"{names[1]}, {low:g} to {high:g}")
        return as_png(figure)

    text = f"The plane of two latents, {low:g} to {high:g}; run the notebook to move through it."
    return Box([*sliders, picture]).set_still(text, draw_grid)
