"""Names at the points and curves of a diagram instead of a legend, placed so that a person can read them."""

import itertools

import numpy as np
from matplotlib import patheffects
from matplotlib.offsetbox import AnnotationBbox

FONT_SIZE, GAP, FRAME = 9, 3, 2  # points; the gap is the least between two labels, the frame is around a picture
DIRECTIONS = [(1, 0), (-1, 0), (0, 1), (0, -1), *itertools.product((1, -1), (1, -1))]
DIRECTIONS += [*itertools.product((1, -1), (0.5, -0.5)), *itertools.product((0.5, -0.5), (1, -1))]


def around(width, height, unit):
    """Offsets of a label's middle from its point: right, left, above, below, diagonal, at growing distances.

    Args:
        width, height: of the label, in pixels.
        unit: pixels per point.
    """
    for distance in 2.2 * GAP * unit * 1.3 ** np.arange(14):
        for x, y in DIRECTIONS:
            yield x * (width / 2 + distance), y * (height / 2 + distance)


def beside(width, height, unit):
    """Offsets of a label's middle as in `around`: right of the point, ever farther up, then ever farther down."""
    for step in (*range(20), *range(-1, -20, -1)):
        yield width / 2 + 3 * GAP * unit, step * height / 2


class Labels:
    """Writes labels into axes, clear of the markers, of each other and of the frame, and of the curves if that is near.

    Everything is measured in pixels, with the renderer that draws; so limits, titles and ticks come first.
    """

    def __init__(self, axes):
        axes.figure.draw_without_rendering()
        self.axes, self.unit = axes, axes.figure.dpi / 72
        self.markers, self.written = [], []  # boxes: left, bottom, right, top
        self.curves = np.empty((0, 2))  # points along them
        for line in axes.lines:
            corners = line.get_transform().transform(line.get_xydata())
            for one, other in itertools.pairwise(corners):
                self._add_curve(one, other, 2)
            if line.get_marker() != "None":
                radius = line.get_markersize() / 2 * self.unit
                self.markers += [[*(corner - radius), *(corner + radius)] for corner in corners]

    def _add_curve(self, one, other, spacing):
        """Remembers a straight line, which counts the more in `_measure` the less the spacing of its points is."""
        points = np.linspace(one, other, 2 + int(np.hypot(*(other - one)) / spacing))
        self.curves = np.concatenate([self.curves, points])

    def add(self, text, color, anchors, offsets):
        """Writes a text at the offset from one of its anchors where it hides least, at the first of equals.

        A label that does not stand next to its anchor gets a thin line to it.

        Args:
            text: the label.
            color: its color.
            anchors: (n, 2), points in data coordinates.
            offsets: `around` or `beside`.
        """
        sample = self.axes.text(0.5, 0.5, text, fontsize=FONT_SIZE, transform=self.axes.transAxes)
        extent = sample.get_window_extent()
        sample.remove()
        self._place((extent.width, extent.height), color, anchors, offsets, self._write, text)

    def add_picture(self, picture, color, anchors, offsets):
        """Draws a matplotlib OffsetBox as `add` writes a text, in a frame of the color."""
        picture.set_figure(self.axes.figure)
        extent = picture.get_window_extent()
        frame = 2 * FRAME * self.unit
        self._place((extent.width + frame, extent.height + frame), color, anchors, offsets, self._frame, picture)

    def _write(self, text, anchor, shift, color, arrow):
        return self.axes.annotate(
            text, anchor, shift, textcoords="offset points", ha="center", va="center", color=color, fontsize=FONT_SIZE,
            arrowprops=arrow, path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip

    def _frame(self, picture, anchor, shift, color, arrow):
        box = AnnotationBbox(
            picture, anchor, shift, boxcoords="offset points", pad=FRAME / FONT_SIZE, fontsize=FONT_SIZE,
            arrowprops=arrow, bboxprops={"edgecolor": color, "linewidth": 0.8},
        )  # fmt: skip
        return self.axes.add_artist(box)

    def _place(self, extent, color, anchors, offsets, draw, content):
        size = np.array(extent) + GAP * self.unit
        least = np.inf
        for rank, offset in enumerate(offsets(*size, self.unit)):
            if rank >= least:  # no later place can cost less
                break
            for candidate in anchors:
                cost, *place = self._measure(candidate, np.array(offset), size)
                if cost + rank < least:
                    least, anchor, shift, (point, nearest, box) = cost + rank, candidate, offset, place
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "relpos": (nearest - box[:2]) / size}
        far = np.hypot(*(nearest - point)) > 3.2 * GAP * self.unit
        label = draw(content, anchor, np.array(shift) / self.unit, color, arrow if far else None)
        label.set_in_layout(False)
        self.written.append(box)
        if far:
            self._add_curve(point, nearest, 0.4)

    def _measure(self, anchor, offset, size):
        """What a label at an offset hides, as a cost; its anchor and the point of its box next to that; its box."""
        point = self.axes.transData.transform(anchor)
        low, high = point + offset - size / 2, point + offset + size / 2
        nearest, frame = np.clip(point, low, high), self.axes.bbox
        written = np.reshape(self.written, (-1, 4))
        taken = np.concatenate([np.reshape(self.markers, (-1, 4)), written])
        outside = (low < frame.min).any() or (high > frame.max).any()
        covered = ((taken[:, :2] < high) & (taken[:, 2:] > low)).all(axis=1).sum()
        crossed = ((self.curves > low) & (self.curves < high)).all(axis=1).sum()
        connector = np.linspace(point, nearest, 30)[:, None]
        struck = ((connector > written[:, :2]) & (connector < written[:, 2:])).all(axis=2).sum()
        return 1e6 * outside + 1e4 * covered + 10 * struck + crossed, point, nearest, [*low, *high]
