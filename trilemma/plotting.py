"""Every figure of the notebooks; each function returns the figure."""

import itertools
import statistics

import numpy as np
import PIL.Image
from matplotlib import colormaps
from matplotlib.figure import Figure

from trilemma.data import as_float


def tile_images(images, columns):
    """Arranges images row by row in one picture with a one-pixel gap.

    Args:
        images: uint8, or floats in [0, 1], (n, height, width, channels).
        columns: images per row.

    Returns:
        float32 (picture_height, picture_width, 3) in [0, 1]; dark images on a white gap.
    """
    images = as_float(images)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    picture = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), "float32")
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        picture[top : top + height, left : left + width] = image
    return picture


def plot_images(images, columns=10, title=None, row_names=None):
    """Shows images (n, height, width, channels), uint8 or in [0, 1], as a grid; `row_names` label its rows."""
    picture = tile_images(images, columns)
    inch = 0.6 * columns
    figure = Figure((inch, inch * picture.shape[0] / picture.shape[1] + (0.3 if title else 0)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    row_height = np.shape(images)[1] + 1
    names = row_names or []
    axes.set_yticks([row_height * (i + 0.5) for i in range(len(names))], names)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    if title:
        axes.set_title(title, fontsize=10)
    return figure


def plot_samples(sequences, step_names, title=None):
    """Shows how images change from step to step: one row per image, time from left to right.

    Args:
        sequences: (num_steps, num_images, height, width, channels) in [0, 1].
        step_names: num_steps labels, for example the timesteps.
        title: optional.
    """
    sequences = np.asarray(sequences)
    num_steps, num_images = sequences.shape[:2]
    images = np.swapaxes(sequences, 0, 1).reshape(-1, *sequences.shape[2:])
    figure = plot_images(images, num_steps, title)
    axes = figure.axes[0]
    column_width = sequences.shape[3] + 1
    axes.set_xticks([column_width * (i + 0.5) for i in range(num_steps)], step_names, fontsize=8)
    return figure


def save_animation(sequences, path, columns=5, frames_per_second=10):
    """Writes a GIF that plays (num_steps, num_images, height, width, channels) in [0, 1] and rests on the last step.

    The GIF has one pixel per pixel; noise compresses badly, so enlarge it where it is shown.
    """
    pictures = [np.round(255 * tile_images(step, columns)).astype("uint8") for step in sequences]
    frames = [PIL.Image.fromarray(picture).quantize(32) for picture in pictures]
    durations = [1000 // frames_per_second] * (len(frames) - 1) + [2000]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def quantile_grid(size):
    """Latents (size * size, 2) at normal quantiles, row by row from the top: equal prior probability per cell."""
    quantiles = [statistics.NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)]
    return np.array([(x, y) for y in reversed(quantiles) for x in quantiles], "float32")


def plot_manifold(decode, size=13):
    """Draws what a 2-D latent space decodes to, on a grid of normal quantiles (equal prior probability per cell).

    Args:
        decode: function latents (n, 2) -> images (n, height, width, channels) in [0, 1].
        size: grid points per axis.
    """
    latents = quantile_grid(size)
    figure = plot_images(np.asarray(decode(latents)), columns=size)
    axes = figure.axes[0]
    picture_height, picture_width = axes.images[0].get_array().shape[:2]
    labels = [f"{latents[i, 0]:.1f}" for i in (0, size // 2, size - 1)]
    positions = np.array([0.5, size // 2 + 0.5, size - 0.5]) / size
    axes.set_xticks(positions * picture_width, labels)
    axes.set_yticks((1 - positions) * picture_height, labels)
    axes.set_xlabel("first latent")
    axes.set_ylabel("second latent")
    return figure


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
    if len(curves) > 1:
        axes.legend()
    if title:
        axes.set_title(title, fontsize=10)
    return figure


def plot_history(history, keys, y_label):
    """Draws columns of a training history (a list with a dict per epoch) over the epochs."""
    epochs = [row["epoch"] for row in history]
    figure = plot_curves({key: (epochs, [row[key] for row in history]) for key in keys}, "epoch", y_label)
    figure.axes[0].xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_damage(rows, columns):
    """Shows which score moves in which row: values as text, their distance from the first row as colour.

    Args:
        rows: name -> dict of scores; the first row is the undamaged one.
        columns: score -> format specification. The colour runs from white, the value of the first row, to red, the
            value farthest from it.
    """
    values = np.array([[row[key] for key in columns] for row in rows.values()])
    moved = np.abs(values - values[0])
    figure = Figure((1.1 * len(columns) + 1.6, 0.4 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(moved / np.maximum(moved.max(axis=0), 1e-12), cmap="Reds", vmin=0, vmax=1.5, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, format(value, list(columns.values())[j]), ha="center", va="center", fontsize=9)
    axes.set_xticks(range(len(columns)), [key.replace("_", "\n") for key in columns], fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    return figure


def plot_quality_speed(rows, title=None):
    """Scatters the Fréchet distance against images per second, both logarithmic; best is the lower right corner.

    Args:
        rows: name -> row of the scoreboard; a row without a speed (real images) becomes a horizontal line.
        title: optional.
    """
    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.subplots()
    markers, linestyles = itertools.cycle("osD^v"), itertools.cycle(["--", ":"])
    for name, row in rows.items():
        if row.get("images_per_second") is None:
            axes.axhline(row["frechet_distance"], color="gray", linestyle=next(linestyles), label=name)
        else:
            label = f"{name} (NFE {row['passes_per_image']})"
            axes.scatter(row["images_per_second"], row["frechet_distance"], 60, marker=next(markers), label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.2, y=0.2)
    axes.set_xlabel("images per second")
    axes.set_ylabel("Fréchet distance")
    if title:
        axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def plot_passes(rows, real):
    """Draws the Fréchet distance and recall against network passes: a curve per sampler, a dashed line for real images.

    Args:
        rows: list of rows of a scoreboard, each with a "sampler"; those of one sampler make a curve.
        real: the row of real images.
    """
    figure = Figure((9, 4), layout="constrained")
    markers = dict(zip(dict.fromkeys(row["sampler"] for row in rows), itertools.cycle("os^vDP*X")))
    # Ten strong colours first, then their lighter kin.
    colors = dict(zip(markers, [*colormaps["tab20"].colors[::2], *colormaps["tab20"].colors[1::2]], strict=False))
    scores = {"frechet_distance": "Fréchet distance", "recall": "recall"}
    for axes, (key, label) in zip(figure.subplots(1, 2), scores.items(), strict=True):
        for sampler, marker in markers.items():
            points = sorted((row["passes_per_image"], row[key]) for row in rows if row["sampler"] == sampler)
            axes.plot(*zip(*points, strict=True), marker=marker, color=colors[sampler], label=sampler)
        axes.axhline(real[key], color="gray", linestyle="--", label="real images")
        axes.set_xscale("log")
        axes.set_xlabel("network passes per image")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_yscale("log")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def plot_trilemma(corners, title=None):
    """Draws one triangle per model, three in a row, inside the triangle of the ideal model.

    Args:
        corners: model name -> dict of `scoreboard.trilemma_corners`.
        title: optional.
    """
    num_rows = -(-len(corners) // 3)
    figure = Figure((9.6, 3.2 * num_rows), layout="constrained")
    angles = np.deg2rad([90, 210, 330, 90])
    for axes, (name, values) in zip(figure.subplots(num_rows, 3, squeeze=False).flat, corners.items(), strict=False):
        radii = np.array([values[key] for key in ("quality", "speed", "coverage", "quality")])
        axes.plot(np.cos(angles), np.sin(angles), color="gray", linewidth=1)
        axes.fill(radii * np.cos(angles), radii * np.sin(angles), alpha=0.4)
        for angle, key in zip(angles, ("quality", "speed", "coverage"), strict=False):
            text = f"{key}\n{values[key]:.2f}"
            axes.text(1.3 * np.cos(angle), 1.3 * np.sin(angle) - 0.1, text, ha="center", va="center", fontsize=9)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(-1.7, 1.7)
        axes.set_ylim(-1.1, 1.5)
        axes.set_aspect("equal")
        axes.set_axis_off()
    if title:
        figure.suptitle(title)
    return figure
