import numpy as np
import pytest
from matplotlib.patches import Circle, Ellipse

from trilemma import plotting


def test_balls_tell_the_points_inside_from_those_outside():
    centres, points = np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.5, 0.0], [1.5, 0.0], [3.0, 0.5]])
    (axes,) = plotting.plot_balls({"two balls": (centres, np.array([1.0, 0.7]), points)}).axes
    _, inside, outside = (line.get_xydata().tolist() for line in axes.lines)
    assert inside == [[0.5, 0.0], [3.0, 0.5]]
    assert outside == [[1.5, 0.0]]
    assert [(*patch.center, patch.radius) for patch in axes.patches] == [(0, 0, 1.0), (3, 0, 0.7)]
    assert all(isinstance(patch, Circle) for patch in axes.patches)
    assert axes.get_title() == "two balls"
    assert axes.get_aspect() == 1  # A ball is round.


def test_balls_are_the_darker_the_more_points_they_hold():
    centres, points = np.array([[0.0], [10.0], [20.0]]) * [1, 0], np.array([[0.0], [0.1], [0.2], [10.0]]) * [1, 0]
    (axes,) = plotting.plot_balls({"": (centres, np.ones(3), points)}, k=2).axes
    full, half, empty = (patch.get_facecolor()[3] for patch in axes.patches)
    assert full == pytest.approx(2 * half)
    assert empty == 0


def test_every_panel_shows_the_same_part_of_the_plane(random):
    sets = {str(i): (random.random((4, 2)) + i, np.ones(4), random.random((5, 2))) for i in range(2)}
    first, second = plotting.plot_balls(sets).axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()


def test_ellipse_is_that_of_two_deviations_of_the_points(random):
    turn = np.deg2rad(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = random.standard_normal((20_000, 2)) * [3, 1] @ rotation.T + [5, -2]
    axes = plotting.plot_gaussians({"real": points}, title="fitted").axes[0]
    (ellipse,) = axes.patches
    assert isinstance(ellipse, Ellipse)
    np.testing.assert_allclose(ellipse.center, [5, -2], atol=0.1)
    lengths = sorted([(ellipse.width, ellipse.angle), (ellipse.height, ellipse.angle + 90)])
    np.testing.assert_allclose([length for length, _ in lengths], [4, 12], rtol=0.02)
    assert lengths[1][1] % 180 == pytest.approx(30, abs=1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["real"]
    assert axes.get_title() == "fitted"


def test_bars_of_one_class_stand_beside_each_other():
    axes = plotting.plot_shares({"real": [0.5, 0.5], "generated": [0.9, 0.1]}, ["a", "b"], title="shares").axes[0]
    bars = sorted((patch.get_x(), patch.get_width(), patch.get_height()) for patch in axes.patches)
    assert [height for _, _, height in bars] == [0.5, 0.9, 0.5, 0.1]
    assert all(x + width <= after + 1e-9 for (x, width, _), (after, _, _) in zip(bars, bars[1:], strict=False))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert axes.get_title() == "shares"
