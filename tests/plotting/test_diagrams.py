import itertools
import math

import numpy as np
import pytest

from trilemma import plotting


def test_history_is_drawn_under_its_own_names():
    history = [{"epoch": 1, "generator_loss": 0.5, "share": 0.9}, {"epoch": 2, "generator_loss": 0.7, "share": 0.1}]
    axes = plotting.plot_history(history, ["share", "generator_loss"], "nats").axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"share": [[1, 0.9], [2, 0.1]], "generator_loss": [[1, 0.5], [2, 0.7]]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats")


def test_sweep_has_a_panel_for_every_score():
    scores = {"accuracy": ([0.9, 0.95, 0.99], [0.01, 0.02, 0.0]), "distance": ([4.0, 3.0, 8.0], [0.5, 0.25, 1.0])}
    figure = plotting.plot_sweep([0, 1, 4], scores, "guidance", title="of one model")
    assert [axes.get_title() for axes in figure.axes] == list(scores)
    assert figure.get_suptitle() == "of one model"
    for axes, (means, deviations) in zip(figure.axes, scores.values(), strict=True):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "4"]
        assert axes.get_xlabel() == "guidance"
        bars = axes.containers[0]
        assert bars[0].get_ydata().tolist() == means
        heights = [np.diff(segment[:, 1])[0] for segment in bars[2][0].get_segments()]
        np.testing.assert_allclose(heights, 2 * np.array(deviations))


def test_damage_is_red_where_a_score_moved():
    rows = {"undamaged": {"precision": 0.9, "recall": 0.5}, "blur": {"precision": 0.9, "recall": 0.1}}
    axes = plotting.plot_damage(rows, {"precision": ".1f", "recall": ".2f"}).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["0.9", "0.50", "0.9", "0.10"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["undamaged", "blur"]


def test_triangle_states_its_numbers():
    corners = {"quality": 0.75, "speed": 0.0, "coverage": 1.0}
    axes = plotting.plot_trilemma({"slow": corners}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["quality\n0.75", "speed\n0.00", "coverage\n1.00"]
    triangle = axes.patches[0].get_xy()
    assert math.hypot(*triangle[0]) == pytest.approx(0.75)


def test_every_number_stands_at_its_own_corner():
    """Quality on top, speed lower left, coverage lower right: labels and triangle agree."""
    corners = {"coverage": 0.25, "quality": 0.5, "speed": 0.75}
    axes = plotting.plot_trilemma({"model": corners}).axes[0]
    for key, degrees in {"quality": 90, "speed": 210, "coverage": 330}.items():
        direction = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        (text,) = [text for text in axes.texts if text.get_text() == f"{key}\n{corners[key]:.2f}"]
        place = np.array(text.get_position()) + [0, 0.1]
        np.testing.assert_allclose(place / np.linalg.norm(place), direction, atol=1e-9)
        reached = {round(float(point @ direction), 6) for point in axes.patches[0].get_xy()}
        assert max(reached) == pytest.approx(corners[key])


def test_every_model_has_a_triangle_of_its_own():
    corners = {
        name: dict(quality=value, speed=1.0, coverage=1.0)
        for name, value in [("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4)]
    }
    figure = plotting.plot_trilemma(corners, title="mnist")
    drawn = {axes.get_title(): axes.patches[0].get_xy()[0][1] for axes in figure.axes if axes.patches}
    assert drawn == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    assert figure.get_suptitle() == "mnist"


def test_labels_of_triangles_cover_nothing():
    """Neither each other, nor a title, nor the triangle of a model that reaches all corners."""
    corners = {f"mixture_vae {i}": dict(quality=1.0, speed=1.0, coverage=1.0) for i in range(5)}
    figure = plotting.plot_trilemma(corners, title="fashion_mnist")
    figure.draw_without_rendering()
    drawn = [axes for axes in figure.axes if axes.patches]
    texts = [text for axes in drawn for text in [*axes.texts, axes.title]]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 5 * 4
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    for axes in drawn:
        edges = axes.transData.transform(axes.patches[0].get_xy())
        points = np.concatenate([np.linspace(*pair, 100) for pair in itertools.pairwise(edges)])
        assert not any(box.contains(*point) for box in boxes for point in points)


def test_a_large_table_of_damages_stays_readable(random):
    """Eleven rows and fourteen columns: nothing overlaps, heads have at most three lines, a notebook is wide enough."""
    columns = {f"clipped_coverage_{i}": ".2f" for i in range(10)}
    columns |= {"frechet_distance_2": ".0f", "kernel_distance": ".1f", "precision": ".2f", "closer_to_training": ".2f"}
    rows = {f"half of the classes {i}": {key: 1000 * random.random() for key in columns} for i in range(11)}
    figure = plotting.plot_damage(rows, columns)
    figure.draw_without_rendering()
    axes, cells = figure.axes[0], {}
    heads = [label for label in axes.get_xticklabels() if label.get_text()]
    assert [head.get_text().split() for head in heads] == [key.split("_") for key in columns]
    assert max(head.get_text().count("\n") for head in heads) <= 2
    extents = [head.get_window_extent() for head in heads]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(extents))
    for text in axes.texts:
        column, row = text.get_position()
        cells[row, column] = text.get_window_extent()
    assert len(cells) == 11 * 14
    assert all(cells[i, j].x1 < cells[i, j + 1].x0 for i in range(11) for j in range(13))
    assert all(cells[i, j].y0 > cells[i + 1, j].y1 for i in range(10) for j in range(14))
    assert figure.get_figwidth() < 12.5
    everything = [*extents, *(label.get_window_extent() for label in axes.get_yticklabels())]
    assert all(figure.bbox.x0 <= each.x0 and each.x1 <= figure.bbox.x1 for each in everything)


def test_names_of_many_words_have_three_lines_too():
    columns = {"a_b_c_d_e_f_g": ".0f", "precision": ".0f"}
    figure = plotting.plot_damage({"undamaged": dict.fromkeys(columns, 1.0)}, columns)
    heads = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert heads == ["a b c d e\nf g", "precision"]


def test_curves_are_drawn_as_given():
    curves = {"a": ([1, 10, 100], [3, 2, 1]), "b": ([1, 5], [4, 6])}
    figure = plotting.plot_curves(curves, "images", "distance", title="mnist", log_x=True)
    axes = figure.axes[0]
    assert {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines} == {
        name: [list(map(float, values)) for values in curve] for name, curve in curves.items()
    }
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("images", "distance", "mnist")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
