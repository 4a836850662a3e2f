"""Figures of images: grids, steps of a sampler, animations, the plane of two latents."""

import statistics

import numpy as np
import PIL.Image
from matplotlib import patheffects
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
    # In a narrow figure the names would take the place of the images.
    margin = 0.12 * max(map(len, row_names)) if row_names and columns < 5 else 0
    height = inch * picture.shape[0] / picture.shape[1] + (0.3 if title else 0)
    figure = Figure((inch + margin, height), layout="constrained")
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


def plot_channels(images, row_names=None, title=None):
    """Shows colour images beside their channels, each as a grey image: colour, red, green, blue.

    Args:
        images: (num_rows, num_images, height, width, 3), uint8 or in [0, 1].
        row_names: optional, num_rows labels.
        title: optional.
    """
    images = np.stack([as_float(row) for row in images])
    grey = np.moveaxis(images, -1, 2)[..., None]  # (num_rows, num_images, 3, height, width, 1)
    pictures = np.concatenate([images[:, :, None], np.broadcast_to(grey, (*grey.shape[:-1], 3))], axis=2)
    num_columns = 4 * images.shape[1]
    figure = plot_images(pictures.reshape(-1, *images.shape[2:]), num_columns, title, row_names)
    column_width = images.shape[3] + 1
    heads = ["colour", "red", "green", "blue"] * images.shape[1]
    figure.axes[0].set_xticks([column_width * (i + 0.5) for i in range(num_columns)], heads, fontsize=8)
    return figure


def save_animation(sequences, path, columns=5, frames_per_second=10, scale=4):
    """Writes a GIF that plays (num_steps, num_images, height, width, channels) in [0, 1] and rests on the last step.

    Every pixel becomes a square of `scale` by `scale`, so that no viewer smooths it.
    """
    pictures = [np.round(255 * tile_images(step, columns)).astype("uint8") for step in sequences]
    pictures = [picture.repeat(scale, axis=0).repeat(scale, axis=1) for picture in pictures]
    frames = [PIL.Image.fromarray(picture).quantize(32) for picture in pictures]
    durations = [1000 // frames_per_second] * (len(frames) - 1) + [2000]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def quantile_grid(size):
    """Latents (size * size, 2) at normal quantiles, row by row from the top: equal prior probability per cell."""
    quantiles = [statistics.NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)]
    return np.array([(x, y) for y in reversed(quantiles) for x in quantiles], "float32")


def plot_manifold(decode, size=13, points=()):
    """Draws what a 2-D latent space decodes to, on a grid of normal quantiles (equal prior probability per cell).

    Args:
        decode: function latents (n, 2) -> images (n, height, width, channels) in [0, 1].
        size: grid points per axis.
        points: latents (m, 2) that are marked at their places and numbered from 1.
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
    sides = np.array([picture_width, picture_height])
    for number, latents_of_point in enumerate(points, start=1):
        x, y = (statistics.NormalDist().cdf(float(latent)) for latent in latents_of_point)
        place = np.array([x, 1 - y]) * sides - 0.5  # Pixels begin at -0.5.
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "#FFD84D", "edgecolor": "black"}
        axes.annotate(str(number), place, ha="center", va="center", fontsize=9, bbox=box)
    return figure


def plot_codes(codes, labels, class_names):
    """Scatters two-dimensional codes (n, 2), coloured by class; each class has its name at the median of its codes.

    Args:
        codes: (n, 2).
        labels: integers (n,).
        class_names: the name of label i at place i, at most ten.
    """
    figure = Figure((6, 6), layout="constrained")
    axes = figure.subplots()
    for label, name in enumerate(class_names):
        members = codes[labels == label]
        color = f"C{label}"
        axes.scatter(*members.T, s=6, color=color, alpha=0.6, linewidths=0)
        if len(members):
            outline = [patheffects.withStroke(linewidth=4, foreground="white")]
            place = np.median(members, axis=0)
            axes.annotate(name, place, ha="center", va="center", color=color, size=14, weight="bold").set_path_effects(
                outline
            )
    axes.set_aspect("equal")
    axes.set_xlabel("first latent")
    axes.set_ylabel("second latent")
    return figure
