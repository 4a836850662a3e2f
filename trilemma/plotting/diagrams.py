"""Diagrams of numbers: curves, training histories, scores of damaged images, the trilemma."""

import itertools
import textwrap

import numpy as np
from matplotlib.figure import Figure


def plot_curves(curves, x_label, y_label, title=None, log_x=False):
    """Draws named curves into one diagram.

    Args:
        curves: name -> (x values, y values).
        x_label, y_label: with units.
        title: optional.
        log_x: logarithmic horizontal axis.
    """
    figure = Figure((6, 3.2), layout="constrained")
    axes = figure.subplots()
    for i, (name, (x, y)) in enumerate(curves.items()):
        # Earlier curves are wider, so that they stay visible under later ones.
        width = 1.5 * (len(curves) - i)
        axes.plot(x, y, marker="o" if len(x) < 30 else None, markersize=2 + width, linewidth=width, label=name)
    if log_x:
        axes.set_xscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    if title:
        axes.set_title(title, fontsize=10)
    if len(curves) > 1:
        figure.legend(
            loc="outside upper center", ncols=min(3, len(curves))
        )  # Above the curves, so that it covers none.
    return figure


def plot_sweep(values, scores, x_label, title=None):
    """Draws scores against one setting, a panel for each, with their standard deviations as bars.

    Args:
        values: the settings, rising (num_values,).
        scores: name -> (means, deviations), each (num_values,).
        x_label: name of the setting.
        title: optional, above all panels.
    """
    figure = Figure((3 * len(scores), 2.6), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (name, (means, deviations)) in zip(panels, scores.items(), strict=True):
        # Evenly spaced, since settings grow by factors.
        axes.errorbar(range(len(values)), means, deviations, marker="o", markersize=4, capsize=3)
        axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axes.set_xlabel(x_label)
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def plot_history(history, keys, y_label):
    """Draws columns of a training history (a list with a dict per epoch) over the epochs."""
    epochs = [row["epoch"] for row in history]
    figure = plot_curves({key: (epochs, [row[key] for row in history]) for key in keys}, "epoch", y_label)
    figure.axes[0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _fold(names, num_lines=3):
    """Breaks names at their underscores into lists of at most so many lines, as narrow as can be."""
    phrases = [name.replace("_", " ") for name in names]
    for width in itertools.count(max(len(word) for phrase in phrases for word in phrase.split())):
        folded = [textwrap.wrap(phrase, width) for phrase in phrases]
        if max(map(len, folded)) <= num_lines:
            return folded


def plot_damage(rows, columns):
    """Shows which score moves in which row: values as text, their distance from the first row as colour.

    Args:
        rows: name -> dict of scores; the first row is the undamaged one.
        columns: score -> format specification. The colour runs from white, the value of the first row, to red, the
            value farthest from it.
    """
    values = np.array([[row[key] for key in columns] for row in rows.values()])
    moved = np.abs(values - values[0])
    texts = [[format(value, spec) for value, spec in zip(row, columns.values(), strict=True)] for row in values]
    heads = _fold(columns)
    # Inches: 0.075 per character of the widest cell or row name, 0.3 per row, 0.6 for three lines of head.
    width = 0.075 * max(len(text) for row in [*texts, *heads] for text in row) + 0.08
    figure = Figure(
        (width * len(columns) + 0.075 * max(map(len, rows)) + 0.2, 0.3 * len(rows) + 0.6), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(moved / np.maximum(moved.max(axis=0), 1e-12), cmap="Reds", vmin=0, vmax=1.5, aspect="auto")
    for i, j in np.ndindex(values.shape):
        axes.text(j, i, texts[i][j], ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(columns)), ["\n".join(lines) for lines in heads], fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def plot_trilemma(corners, title=None):
    """Draws one triangle per model, four in a row, inside the triangle of the ideal model.

    Args:
        corners: model name -> dict of `scoreboard.trilemma_corners`.
        title: optional.
    """
    num_columns = 4
    num_rows = -(-len(corners) // num_columns)
    figure = Figure((9.6, 2.4 * num_rows + (0.3 if title else 0)), layout="constrained")
    angles = np.deg2rad([90, 210, 330, 90])
    every = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes in every:
        axes.set_axis_off()
    for axes, (name, values) in zip(every, corners.items(), strict=False):
        radii = np.array([values[key] for key in ("quality", "speed", "coverage", "quality")])
        axes.plot(np.cos(angles), np.sin(angles), color="gray", linewidth=1)
        axes.fill(radii * np.cos(angles), radii * np.sin(angles), alpha=0.4)
        for angle, key in zip(angles, ("quality", "speed", "coverage"), strict=False):
            text = f"{key}\n{values[key]:.2f}"
            axes.text(1.4 * np.cos(angle), 1.4 * np.sin(angle) - 0.1, text, ha="center", va="center", fontsize=9)
        axes.set_title(name, fontsize=10, fontweight="bold")
        axes.set_xlim(-1.7, 1.7)
        axes.set_ylim(-1.1, 1.6)
        axes.set_aspect("equal")
    if title:
        figure.suptitle(title)
    return figure
