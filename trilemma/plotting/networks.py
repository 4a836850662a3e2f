"""Diagrams of networks."""

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

BOX = (1.3, 0.6)  # inches
COLUMN, ROW = 1.62, 1.1  # inches from middle to middle
COLORS = {
    "image": "#E8E8E8", "residual": "#D3E3F7", "attention": "#F9DCC4", "time": "#FFE9A8", "skip": "#209D5F",
}  # fmt: skip


def plot_unet(image_shape, widths, sides):
    """Draws the U-Net of `diffusion.unet.build_unet`: a row per resolution, skips as dashed lines, where t comes in.

    Args:
        image_shape: (height, width, channels), square.
        widths: channels at each resolution, finest first.
        sides: height and width of the feature maps at each resolution, finest first; the first is that of the image
            over the side of the folded squares.

    Returns:
        Figure, 8.75 inches wide.
    """
    if len(widths) != len(sides):
        raise ValueError(f"{len(widths)} widths and {len(sides)} sides; expected one side per width.")
    side, depth = image_shape[0], len(widths)
    figure = Figure((8.75, ROW * (depth + 1) + BOX[1] + 0.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-1.5, 7.25), ylim=(-ROW * (depth + 1) - BOX[1] / 2 - 0.15, BOX[1] / 2 + 0.15))
    axes.set_axis_off()

    for row, each in enumerate([side, *sides, sides[-1]]):
        axes.text(-1.4, -ROW * row, f"{each} × {each}", va="center", fontsize=9, color="dimgray")
    _box(axes, 0, 0, f"noisy image\n{image_shape[-1]} channel{'s' if image_shape[-1] > 1 else ''}", "image")
    _box(axes, 4, 0, f"velocity\n{image_shape[-1]} channel{'s' if image_shape[-1] > 1 else ''}", "image")
    _box(axes, 1, 0, "timestep t", "time")
    _box(axes, 2, 0, f"sines, cosines\n{widths[0]} numbers", "time")
    _box(axes, 3, 0, f"2 dense layers\n{4 * widths[0]} numbers", "time")
    for column in (1, 2):
        _arrow(axes, (column, 0), (column + 1, 0))

    patch = side // sides[0]
    for level, width in enumerate(widths, start=1):
        down, up = (f"fold {patch} × {patch}", f"unfold {patch} × {patch}")
        if level > 1:
            down, up = "convolution,\nstride 2", "transposed\nconvolution"
        _arrow(axes, (0, level - 1), (0, level), down)
        _arrow(axes, (4, level), (4, level - 1), up)
        _box(axes, 0, level, f"residual block\n{width} channels", "residual", timed=True)
        _box(axes, 4, level, f"residual block\n{2 * width} → {width}", "residual", timed=True)
        _arrow(axes, (0, level), (4, level), f"skip: {width} more channels", color=COLORS["skip"], linestyle="--")
    bottom = depth + 1
    for column, name in enumerate(("residual block", "attention", "residual block"), start=1):
        kind = "attention" if name == "attention" else "residual"
        _box(axes, column, bottom, f"{name}\n{widths[-1]} channels", kind, timed=kind == "residual")
    for column in (1, 2):
        _arrow(axes, (column, bottom), (column + 1, bottom))
    for corner, points in (((0, bottom), ((0, depth), (1, bottom))), ((4, bottom), ((3, bottom), (4, depth)))):
        _elbow(axes, *points, corner)
    return figure


def _box(axes, column, row, text, kind, timed=False):
    x, y = COLUMN * column, -ROW * row
    corner = x - BOX[0] / 2, y - BOX[1] / 2
    axes.add_patch(
        FancyBboxPatch(
            corner, *BOX, "round,pad=0,rounding_size=0.06", facecolor=COLORS[kind], edgecolor="black", lw=0.8
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=9)
    if kind == "time" and column == 3:
        _mark_time(axes, x + BOX[0] / 2, y)
    if timed:
        _mark_time(axes, x - BOX[0] / 2, y + BOX[1] / 2)


def _mark_time(axes, x, y):
    """The mark of the time embedding: where it is made, and in every block that gets it."""
    axes.add_patch(Circle((x, y), 0.12, facecolor=COLORS["time"], edgecolor="black", lw=0.8, zorder=3))
    axes.text(x, y - 0.01, "t", ha="center", va="center", fontsize=9, zorder=4)


def _arrow(axes, start, end, text="", color="black", linestyle="-"):
    """An arrow from the edge of one box to that of another, in the same row or the same column."""
    (x0, y0), (x1, y1) = ((COLUMN * column, -ROW * row) for column, row in (start, end))
    if y0 == y1:
        shift = BOX[0] / 2 if x1 > x0 else -BOX[0] / 2
        x0, x1 = x0 + shift, x1 - shift
        place = dict(x=(x0 + x1) / 2, y=y0 + 0.06, ha="center", va="bottom")
    else:
        shift = BOX[1] / 2 if y1 > y0 else -BOX[1] / 2
        y0, y1 = y0 + shift, y1 - shift
        # Labels stand inside the U, where there is room.
        inside = 1 if start[0] == 0 else -1
        place = dict(x=x0 + 0.1 * inside, y=(y0 + y1) / 2, ha="left" if inside > 0 else "right", va="center")
    arrow = dict(arrowstyle="-|>", color=color, linestyle=linestyle, shrinkA=0, shrinkB=0, lw=1)
    axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    if text:
        axes.text(s=text, color=color, fontsize=8, linespacing=0.95, **place)


def _elbow(axes, start, end, corner):
    """An arrow around one corner, between a box above and one beside."""
    points = [(COLUMN * column, -ROW * row) for column, row in (start, corner, end)]
    (x0, y0), (xc, yc), (x1, y1) = points
    x0 += 0 if x0 == xc else BOX[0] / 2
    y0 -= 0 if y0 == yc else BOX[1] / 2
    x1 -= 0 if x1 == xc else BOX[0] / 2
    y1 -= 0 if y1 == yc else BOX[1] / 2
    axes.plot([x0, xc], [y0, yc], color="black", lw=1, solid_capstyle="projecting")
    axes.annotate("", (x1, y1), (xc, yc), arrowprops=dict(arrowstyle="-|>", color="black", shrinkA=0, shrinkB=0, lw=1))
