"""The first picture: quality against network passes, with images of every family beside its point."""

from matplotlib.figure import Figure
from matplotlib.offsetbox import OffsetImage, TextArea, VPacker

from trilemma.plotting.frontier import PANELS, _set_log_axis, _styles
from trilemma.plotting.images import tile_images
from trilemma.plotting.labels import FONT_SIZE, Labels, around

PIXEL = 0.75  # points per pixel of an image


def plot_overview(families, real, title=None):
    """Draws the Fréchet distance against network passes per image, both logarithmic; best is the lower left corner.

    Args:
        families: name -> (rows of a scoreboard, images): the rows are of one family in different numbers of passes,
            the images (n, height, width, channels), uint8 or in [0, 1], are drawn in a row next to a point of it. At
            most seven names.
        real: (row, images) of real images, a dashed line.
        title: optional.
    """
    styles = _styles(families)
    figure = Figure((8.8, 4.8), layout="constrained")
    axes, passes, distances = figure.subplots(), [], [real[0]["frechet_distance"]]
    for name, (rows, _) in families.items():
        values = sorted((row["passes_per_image"], row["frechet_distance"]) for row in rows)
        color, marker = styles[name]
        axes.plot(*zip(*values, strict=True), color=color, marker=marker, markersize=8, label=name)
        passes += [value[0] for value in values]
        distances += [value[1] for value in values]
    axes.axhline(real[0]["frechet_distance"], color="dimgray", linestyle="--", linewidth=1)
    _set_log_axis(axes, "x", passes, PANELS["passes_per_image"])
    _set_log_axis(axes, "y", distances, "Fréchet distance (lower is better)")
    if title:
        axes.set_title(title, fontsize=10)
    labels = Labels(axes)
    # From the top down, so that points above each other get rows of images in the same order.
    for line in sorted(axes.lines[:-1], key=lambda line: -max(line.get_ydata())):
        name, color = line.get_label(), line.get_color()
        labels.add_picture(_row(name, families[name][1], color), color, line.get_xydata(), around)
    end = (axes.get_xlim()[1], real[0]["frechet_distance"])
    labels.add_picture(_row("real images", real[1], "dimgray"), "dimgray", [end], around)
    return figure


def _row(name, images, color):
    """A name above a row of images."""
    picture = OffsetImage(tile_images(images, len(images)), zoom=PIXEL, interpolation="nearest")
    text = TextArea(name, textprops={"color": color, "fontsize": FONT_SIZE})
    return VPacker(children=[text, picture], align="left", pad=0, sep=2)
