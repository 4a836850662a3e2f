import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from trilemma import plotting

REAL = {"frechet_distance": 4.0}
NAMES = ("vae_mnist", "dcgan", "ddgan", "student of the ddpm", "flow", "autoregressive", "vqvae")
# Linear RGB as seen without one kind of cones: Machado, Oliveira and Fernandes, 2009, severity 1.
COLOR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def score(distance, passes=1, speed=None):
    return {"frechet_distance": distance, "passes_per_image": passes} | ({"images_per_second": speed} if speed else {})


def scores():
    """Three models: one in three numbers of passes, not in their order; one of two rows has no speed."""
    return {
        "vae": [score(80.0, 1, 5000.0)],
        "student": [score(20.0, 4, 50.0), score(60.0, 1, 200.0), score(30.0, 2, 100.0)],
        "ddpm": [score(10.0, 200, 0.5), score(12.0, 20)],
    }


def training(start, floor, epochs, seconds):
    return [
        {
            "epoch": epoch,
            "images_seen": 60_000 * epoch,
            "seconds": seconds * epoch,
            "frechet_distance": floor + (start - floor) / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def extents(axes):
    """Text -> the box of a label without the line to its point, in pixels."""
    axes.figure.draw_without_rendering()
    return {label.get_text(): Text.get_window_extent(label) for label in axes.texts}


def marker_boxes(axes):
    for line in axes.lines:
        if line.get_marker() != "None":
            radius = line.get_markersize() / 2 * axes.figure.dpi / 72
            for x, y in line.get_transform().transform(line.get_xydata()):
                yield Bbox([[x - radius, y - radius], [x + radius, y + radius]])


def assert_readable(figure):
    """At any resolution no label covers a marker or another label, or leaves the frame."""
    for dpi in (72, 100, 200):
        figure.set_dpi(dpi)
        for axes in figure.axes:
            labels, frame = list(extents(axes).values()), axes.get_window_extent()
            assert len(labels) == len(axes.texts)
            for one, other in itertools.combinations(labels, 2):
                assert not one.overlaps(other)
            for label, marker in itertools.product(labels, marker_boxes(axes)):
                assert not label.overlaps(marker)
            for label in labels:
                assert frame.x0 < label.x0 < label.x1 < frame.x1
                assert frame.y0 < label.y0 < label.y1 < frame.y1


def curves(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"}


def ticks(axis):
    low, high = sorted(axis.get_view_interval())
    positions = axis.get_majorticklocs()
    assert all(low <= position <= high for position in positions)
    assert not len(axis.get_minorticklocs())
    return positions.tolist(), [label.get_text() for label in axis.get_ticklabels()]


def test_a_model_in_several_numbers_of_passes_is_a_curve_from_few_to_many():
    passes, seconds = plotting.plot_frontier(scores(), REAL).axes
    assert curves(passes) == {
        "vae": [[1, 80]],
        "student": [[1, 60], [2, 30], [4, 20]],
        "ddpm": [[20, 12], [200, 10]],
    }
    drawn = curves(seconds)
    assert list(drawn) == ["vae", "student", "ddpm"]
    np.testing.assert_allclose(drawn["vae"], [[1 / 5000, 80]])
    np.testing.assert_allclose(drawn["student"], [[0.005, 60], [0.01, 30], [0.02, 20]])
    np.testing.assert_allclose(drawn["ddpm"], [[2, 10]])  # the row without a speed is left out


def test_axes_are_logarithmic_and_say_what_they_show_and_which_way_is_better():
    figure = plotting.plot_frontier(scores(), REAL, title="mnist")
    passes, seconds = figure.axes
    assert {axes.get_xscale() for axes in figure.axes} | {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert passes.get_ylim() == seconds.get_ylim()
    assert passes.get_ylabel() == "Fréchet distance (lower is better)"
    assert passes.get_xlabel() == "network passes per image (fewer is better)"
    assert seconds.get_xlabel() == "seconds per image (less is better)"
    assert seconds.get_ylabel() == ""
    assert figure.get_suptitle() == "mnist"
    assert not figure.legends + [axes.get_legend() for axes in figure.axes if axes.get_legend()]


def test_ticks_are_plain_numbers():
    passes, seconds = plotting.plot_frontier(scores(), REAL).axes
    assert ticks(passes.xaxis) == (
        [1, 2, 5, 10, 20, 50, 100, 200],
        ["1", "2", "5", "10", "20", "50", "100", "200"],
    )
    assert ticks(passes.yaxis) == ([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    positions, texts = ticks(seconds.xaxis)  # four decades: powers of ten
    np.testing.assert_allclose(positions, [0.0001, 0.001, 0.01, 0.1, 1])
    assert texts == ["0.0001", "0.001", "0.01", "0.1", "1"]


def test_large_numbers_and_single_points_have_ticks_too():
    passes, seconds = plotting.plot_frontier({"a": [score(4000.0, 3, 7.0)]}, {"frechet_distance": 3900.0}).axes
    assert ticks(passes.yaxis) == ([1000, 2000, 5000, 10_000], ["1,000", "2,000", "5,000", "10,000"])
    for axes in (passes, seconds):
        assert len(ticks(axes.xaxis)[0]) >= 2


def test_every_series_has_one_label_of_its_color_near_a_point_of_its_own():
    for axes in plotting.plot_frontier(scores(), REAL).axes:
        lines = {line.get_label(): line for line in axes.lines if line.get_marker() != "None"}
        assert sorted(label.get_text() for label in axes.texts) == sorted([*lines, "real images"])
        for label in axes.texts:
            if label.get_text() != "real images":
                assert label.get_color() == lines[label.get_text()].get_color()
                box, distances = extents(axes)[label.get_text()], {}
                for name, line in lines.items():
                    points = axes.transData.transform(line.get_xydata())
                    gaps = np.clip(points, box.min, box.max) - points
                    distances[name] = np.hypot(*gaps.T).min()
                assert min(distances, key=distances.get) == label.get_text()
                assert distances[label.get_text()] < 20
                assert label.arrow_patch is None  # next to its point


def test_real_images_are_a_dashed_line_with_a_name_at_its_end():
    for axes in plotting.plot_frontier(scores(), REAL).axes:
        (line,) = [line for line in axes.lines if line.get_marker() == "None"]
        assert set(line.get_ydata()) == {4.0}
        assert line.get_linestyle() == "--"
        x, y = line.get_transform().transform(line.get_xydata()).T
        np.testing.assert_allclose([x.min(), x.max()], [axes.bbox.x0, axes.bbox.x1])
        box = extents(axes)["real images"]
        assert axes.bbox.x1 - box.x1 < 30
        assert 0 < max(box.y0 - y[0], y[0] - box.y1) < 30


def test_labels_of_nearly_coincident_points_stay_readable(random):
    series = {name: [score(50 + random.random(), 4, 100 + random.random())] for name in NAMES}
    figure = plotting.plot_frontier(series, {"frechet_distance": 49.0}, title="mnist")
    assert_readable(figure)
    for axes in figure.axes:
        assert len(axes.texts) == 8
        assert any(label.arrow_patch for label in axes.texts)  # what found no place nearby has a line to its point


def test_labels_among_curves_and_in_the_corners_stay_readable(random):
    """Curves that cross, and points at the very ends of every axis."""
    series = {
        name: [score(100 / n * (1 + random.random()) + i, n, (100 + 9 * i) / n) for n in (1, 2, 5, 10, 100)]
        for i, name in enumerate(NAMES)
    }
    assert_readable(plotting.plot_frontier(series, {"frechet_distance": 9.0}))
    corners = {
        name: [score(distance, passes, 100 / passes)]
        for name, (distance, passes) in zip(NAMES, itertools.product((1, 1000), (1, 1000)), strict=False)
    }
    assert_readable(plotting.plot_frontier(corners, {"frechet_distance": 1.0}))


def test_without_any_speed_there_is_no_panel_of_seconds():
    (axes,) = plotting.plot_frontier({"vae": [score(80.0, 1)]}, REAL).axes
    assert axes.get_xlabel().startswith("network passes")


def test_a_series_without_speeds_is_missing_among_the_seconds_and_keeps_its_style():
    series = {"slow": [score(80.0, 1)], "vae": [score(90.0, 1, 10.0)]}
    passes, seconds = plotting.plot_frontier(series, REAL).axes
    assert sorted(label.get_text() for label in seconds.texts) == ["real images", "vae"]
    styles = [
        {line.get_label(): (line.get_color(), line.get_marker(), line.get_markersize()) for line in axes.lines}["vae"]
        for axes in (passes, seconds)
    ]
    assert styles[0] == styles[1]


def test_seven_series_have_seven_colors_and_markers_and_eight_are_refused():
    series = {name: [score(10.0 + i, 1 + i)] for i, name in enumerate(NAMES)}
    lines = plotting.plot_frontier(series, REAL).axes[0].lines[:-1]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 7
    series["one too many"] = [score(1.0)]
    with pytest.raises(ValueError, match="8 series.* at most 7 .*Leave some out, or draw two figures"):
        plotting.plot_frontier(series, REAL)
    with pytest.raises(ValueError, match="8 series.* at most 7 .*Leave some out, or draw two figures"):
        plotting.plot_costs({name: training(9, 1, 2, 1) for name in series}, "seconds")


def test_colors_differ_for_the_colour_blind_and_can_be_read_on_white():
    """Distances in CIELAB, where 2 is just noticeable; contrast by the Web Content Accessibility Guidelines."""
    series = {name: [score(10.0 + i, 1 + i)] for i, name in enumerate(NAMES)}
    colors = np.array([to_rgb(line.get_color()) for line in plotting.plot_frontier(series, REAL).axes[0].lines[:-1]])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    assert (1.05 / (linear @ to_xyz[1] + 0.05)).min() > 3
    for matrix in COLOR_BLINDNESS.values():
        xyz = np.clip(linear @ np.transpose(matrix), 0, 1) @ to_xyz.T / to_xyz.sum(axis=1)
        x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116).T
        lab = np.stack([116 * y, 500 * (x - y), 200 * (y - z)], axis=1)
        assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(lab, 2)) > 20


@pytest.mark.parametrize(
    ("x", "unit", "label"),
    [("images_seen", 1e6, "training images seen (millions)"), ("seconds", 1, "seconds of training")],
)
def test_costs_are_a_curve_per_training(x, unit, label):
    runs = {"vae": training(200, 80, 5, 9), "ddpm": training(400, 10, 20, 200)[::-1]}
    axes = plotting.plot_costs(runs, x, title="mnist").axes[0]
    drawn = curves(axes)
    assert list(drawn) == ["vae", "ddpm"]
    for name, rows in runs.items():
        expected = sorted([row[x] / unit, row["frechet_distance"]] for row in rows)
        np.testing.assert_allclose(drawn[name], expected)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_title()) == (label, "mnist")
    assert axes.get_ylabel() == "Fréchet distance (lower is better)"
    assert axes.get_legend() is None
    assert "0.1" in ticks(axes.xaxis)[1] if unit > 1 else "1,000" in ticks(axes.xaxis)[1]


def test_names_of_costs_stand_right_of_the_ends_of_their_curves():
    runs = {"vae": training(200, 80, 5, 9), "dcgan": training(250, 120, 9, 20), "ddpm": training(400, 10, 20, 200)}
    figure = plotting.plot_costs(runs, "seconds")
    assert_readable(figure)
    (axes,) = figure.axes
    assert len(axes.texts) == 3
    for label in axes.texts:
        line = next(line for line in axes.lines if line.get_label() == label.get_text())
        assert label.get_color() == line.get_color()
        x, y = axes.transData.transform(line.get_xydata()[-1])
        box = extents(axes)[label.get_text()]
        assert 0 < box.x0 - x < 50
        assert box.y0 < y < box.y1


def test_names_of_nearly_coincident_curves_are_spread(random):
    runs = {name: training(300, 50 + random.random(), 50, 20 + random.random()) for name in NAMES}
    for x in ("seconds", "images_seen"):
        figure = plotting.plot_costs(runs, x)
        assert_readable(figure)
        labels = figure.axes[0].texts
        assert {label.get_text() for label in labels} == set(NAMES)
        assert any(label.arrow_patch for label in labels)


def test_trainings_from_several_seeds_are_thin_lines_with_one_name():
    one, two = training(200, 80, 5, 9), training(210, 70, 5, 9)
    axes = plotting.plot_costs({"vae": [one, two], "ddpm": training(400, 10, 20, 200)}, "images_seen").axes[0]
    thin, other, thick = axes.lines
    assert (thin.get_label(), other.get_label(), thick.get_label()) == ("vae", "vae", "ddpm")
    for line, rows in ((thin, one), (other, two)):
        np.testing.assert_allclose(line.get_ydata(), [row["frechet_distance"] for row in rows])
    assert thin.get_color() == other.get_color() != thick.get_color()
    assert thin.get_linewidth() == other.get_linewidth() < thick.get_linewidth()
    assert sorted(label.get_text() for label in axes.texts) == ["ddpm", "vae"]


def test_rates_are_drawn_over_the_size_of_the_batch_with_a_name_at_the_end():
    rates = {"vae": {500: 6000.0, 1: 300.0, 10: 2000.0}, "ddpm": {1: 0.5, 100: 1.9}}
    figure = plotting.plot_rates(rates, title="two cores")
    (axes,) = figure.axes
    assert curves(axes) == {"vae": [[1, 300], [10, 2000], [500, 6000]], "ddpm": [[1, 0.5], [100, 1.9]]}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("images in a batch", "images per second")
    assert axes.get_title() == "two cores"
    assert_readable(figure)
    for name, end in {"vae": (500, 6000), "ddpm": (100, 1.9)}.items():
        x, y = axes.transData.transform(end)
        assert extents(axes)[name].x0 > x
        assert abs(extents(axes)[name].y0 + extents(axes)[name].y1 - 2 * y) < 60


def test_rates_that_end_at_one_place_keep_their_names_apart(random):
    assert_readable(plotting.plot_rates({name: {1: 1.0, 100: 90 + random.random()} for name in NAMES}))
