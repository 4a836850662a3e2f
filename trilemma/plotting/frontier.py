"""Quality against what it costs: a pass, a second, a training. Every curve carries its name, so no legend is needed."""

import numpy as np
from matplotlib.figure import Figure

from trilemma.plotting.labels import FONT_SIZE, Labels, around, beside

# Color and marker of a series. The colors differ for people with each kind of colour blindness, and are dark enough for
# text on white.
STYLES = (
    ("#0045A1", "o"), ("#D47500", "s"), ("#209D5F", "^"), ("#000000", "D"), ("#B975A3", "v"), ("#710E55", "P"),
    ("#564500", "X"),
)  # fmt: skip
# What a scoreboard row costs, and the label of its axis.
PANELS = {
    "passes_per_image": "network passes per image (fewer is better)",
    "seconds_per_image": "seconds per image (less is better)",
}
# Column of a training's rows -> the unit of its axis in that of the column, and the label.
COSTS = {"images_seen": (1e6, "training images seen (millions)"), "seconds": (1, "seconds of training")}


def plot_frontier(series, real, title=None):
    """Draws the Fréchet distance against network passes and seconds per image; best is the lower left corner.

    Args:
        series: name -> list of rows of a scoreboard, of one model in different numbers of passes; at most seven names.
            A row without `images_per_second` is missing in the panel of seconds.
        real: the row of real images, a dashed line.
        title: optional.
    """
    styles, points = _styles(series), {key: {} for key in PANELS}
    for name, rows in series.items():
        for row in rows:
            speed = row.get("images_per_second")
            costs = {"passes_per_image": row["passes_per_image"], "seconds_per_image": 1 / speed if speed else None}
            for key, cost in costs.items():
                if cost is not None:
                    points[key].setdefault(name, []).append((cost, row["frechet_distance"]))
    points = {key: named for key, named in points.items() if named}
    figure = Figure((9.6, 4), layout="constrained")
    panels = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for axes, (key, named) in zip(panels, points.items(), strict=True):
        for name, values in named.items():
            color, marker = styles[name]
            # Earlier markers are larger, so that they stay visible under later ones.
            size = 9 - 0.6 * list(styles).index(name)
            axes.plot(*zip(*sorted(values), strict=True), color=color, marker=marker, ms=size, label=name)
        axes.axhline(real["frechet_distance"], color="dimgray", linestyle="--", linewidth=1)
        _set_log_axis(axes, "x", [cost for values in named.values() for cost, _ in values], PANELS[key])
    distances = [row["frechet_distance"] for rows in [*series.values(), [real]] for row in rows]
    _set_log_axis(panels[0], "y", distances, "Fréchet distance (lower is better)")
    if title:
        figure.suptitle(title, fontsize=10)
    for axes in panels:
        labels = Labels(axes)
        labels.add("real images", "dimgray", [(axes.get_xlim()[1], real["frechet_distance"])], around)
        for line in axes.lines[:-1]:
            labels.add(line.get_label(), line.get_color(), line.get_xydata(), around)
    return figure


def plot_costs(runs, x, title=None):
    """Draws the Fréchet distance over the cost of training, both logarithmic: a curve per run.

    Args:
        runs: name -> list of rows of one training, or a list of such lists for trainings from several seeds; at most
            seven names. A row holds "epoch", "images_seen", "seconds" and "frechet_distance".
        x: "images_seen" or "seconds".
        title: optional.
    """
    styles, (unit, label) = _styles(runs), COSTS[x]
    axes, ends = Figure((8, 4), layout="constrained").subplots(), {}
    for name, trainings in runs.items():
        color, marker = styles[name]
        trainings = [trainings] if isinstance(trainings[0], dict) else trainings
        width = 1.5 if len(trainings) == 1 else 0.8
        for rows in trainings:
            values = sorted((row[x] / unit, row["frechet_distance"]) for row in rows)
            axes.plot(*zip(*values, strict=True), color=color, marker=marker, ms=3 * width, lw=width, label=name)
            ends.setdefault(name, []).append(values[-1])
    return _with_names_at_ends(axes, ends, label, "Fréchet distance (lower is better)", title)


def plot_rates(rates, title=None):
    """Draws images per second over the batch size, both logarithmic: a curve per name.

    Args:
        rates: name -> {batch size: images per second}; at most seven names.
        title: optional.
    """
    styles, axes, ends = _styles(rates), Figure((8, 4), layout="constrained").subplots(), {}
    for name, values in rates.items():
        color, marker = styles[name]
        points = sorted(values.items())
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, ms=5, lw=1.5, label=name)
        ends[name] = points[-1:]
    return _with_names_at_ends(axes, ends, "images in a batch", "images per second", title)


def _with_names_at_ends(axes, ends, x_label, y_label, title):
    """Makes both axes logarithmic and writes the name of every curve beside its right end, the lowest first.

    Args:
        axes: holds the curves.
        ends: name -> points where its curves end.
        x_label, y_label, title: of the figure, which is returned.
    """
    # Room at the right: a character is about 0.6 of the font's size wide.
    room = 0.04 + 0.6 * FONT_SIZE * max(map(len, ends)) / (72 * axes.figure.get_figwidth())
    x, y = np.concatenate([line.get_xydata() for line in axes.lines]).T
    _set_log_axis(axes, "x", x, x_label, room)
    _set_log_axis(axes, "y", y, y_label)
    if title:
        axes.set_title(title, fontsize=10)
    labels, styles = Labels(axes), _styles(ends)
    for name, anchors in sorted(ends.items(), key=lambda end: end[1][0][1]):
        labels.add(name, styles[name][0], anchors, beside)
    return axes.figure


def _styles(names):
    if len(names) > len(STYLES):
        raise ValueError(
            f"{len(names)} series; a figure tells at most {len(STYLES)} apart. Leave some out, or draw two figures."
        )
    return dict(zip(names, STYLES, strict=False))


def _set_log_axis(axes, which, values, label, room=0.1):
    """Makes an axis logarithmic, a decade wide at least, with ticks at 1, 2, 5, 10, ... or only at powers of ten.

    A tenth of it stays free below the values, and the share `room` above them.
    """
    low, high = np.log10(min(values)), np.log10(max(values))
    missing = max(1 - (high - low), 0)
    low, high = low - missing / 2, high + missing / 2
    width = (high - low) / (0.9 - room)
    low, high = low - 0.1 * width, high + room * width
    limits = 10**low, 10**high
    exponents = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    for digits in ((1, 2, 5), (1,)):
        ticks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if limits[0] <= tick <= limits[1]]
        if len(ticks) <= 8:
            break
    texts = [f"{tick:,.0f}" if tick >= 1 else np.format_float_positional(tick, trim="-") for tick in ticks]
    axes.set(**{f"{which}scale": "log", f"{which}lim": limits, f"{which}label": label})
    axis = getattr(axes, f"{which}axis")
    axis.set_ticks(ticks, texts)
    axis.set_ticks([], minor=True)
    axis.grid(alpha=0.3)
