"""Figures of points in the plane: what the scores of distances and of neighbourhoods see of a set of images."""

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse

from trilemma.plotting.frontier import STYLES

_COLORS = [color for color, _ in STYLES[:3]]


def plot_balls(panels, k=None):
    """Draws panels of balls around points, and other points: discs where they lie in a ball, crosses where in none.

    Args:
        panels: title -> (centres (n, 2), radii (n,), points (m, 2)).
        k: None: all balls are shaded alike. A number: the more of the points a ball holds, the darker it is, and k of
            them are full.
    """
    figure = Figure((3 * len(panels), 2.6), layout="constrained")
    every = np.concatenate([each for centres, _, points in panels.values() for each in (centres, points)])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.15 * (high - low).max()
    for axes, (title, (centres, radii, points)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        inside = np.linalg.norm(points[:, None] - centres, axis=-1) < radii
        shares = np.full(len(centres), 0.4) if k is None else np.minimum(1, inside.sum(axis=0) / k)
        for centre, radius, share in zip(centres, radii, shares, strict=True):
            axes.add_patch(
                Circle(centre, radius, facecolor=to_rgba(_COLORS[0], 0.22 * share), edgecolor=to_rgba(_COLORS[0], 0.4))
            )
        axes.plot(*centres.T, ".", color=_COLORS[0], markersize=4)
        held = inside.any(axis=1)
        axes.plot(*points[held].T, "o", color=_COLORS[1], markersize=5)
        axes.plot(*points[~held].T, "x", color=_COLORS[1], markersize=6)
        axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=8)
    return figure


def plot_gaussians(sets, title=None):
    """Draws named sets of points, and of each the Gaussian fitted to it: its mean, and the ellipse of two deviations.

    Args:
        sets: name -> points (n, 2); at most three.
        title: optional.
    """
    figure = Figure((4.2, 3), layout="constrained")
    axes = figure.subplots()
    for color, (name, points) in zip(_COLORS, sets.items(), strict=False):
        variances, directions = np.linalg.eigh(np.cov(points, rowvar=False))
        width, height = 4 * np.sqrt(np.maximum(variances, 0))
        angle = np.rad2deg(np.arctan2(directions[1, 0], directions[0, 0]))
        mean = points.mean(axis=0)
        axes.plot(*points.T, ".", color=color, label=name)
        axes.plot(*mean, "+", color=color, markersize=14, markeredgewidth=2)
        axes.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, edgecolor=color))
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=9)
    if title:
        axes.set_title(title, fontsize=9)
    return figure


def plot_shares(shares, labels, title=None):
    """Draws named distributions over the same classes as bars beside each other.

    Args:
        shares: name -> shares (num_classes,), each of which adds up to 1; at most three names.
        labels: num_classes names of the classes.
        title: optional.
    """
    figure = Figure((6, 2.4), layout="constrained")
    axes, width = figure.subplots(), 0.8 / len(shares)
    places = np.arange(len(labels))
    for i, (color, (name, values)) in enumerate(zip(_COLORS, shares.items(), strict=False)):
        axes.bar(places + (i - (len(shares) - 1) / 2) * width, values, width, color=color, label=name)
    axes.set_xticks(places, labels)
    axes.set(xlabel="class", ylabel="share of the images")
    axes.legend(fontsize=9)
    if title:
        axes.set_title(title, fontsize=9)
    return figure
