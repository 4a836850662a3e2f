import math
import statistics

import numpy as np
import PIL.Image
import pytest

from trilemma import plotting


def test_tiles_are_in_reading_order_with_white_gaps():
    images = np.stack([np.full((2, 3, 1), value) for value in (0.0, 0.25, 0.5)])
    picture = plotting.tile_images(images, 2)
    assert picture.shape == (5, 7, 3)
    assert (picture[0, 0] == 0).all()
    assert (picture[1, 4:] == 0.25).all()
    assert (picture[3:, :3] == 0.5).all()
    assert (picture[2] == 1).all()
    assert (picture[:, 3] == 1).all()
    assert (picture[3:, 4:] == 1).all()


def test_sequences_run_from_left_to_right():
    sequences = np.arange(6).reshape(3, 2, 1, 1, 1) / 10  # step 0: 0.0, 0.1; step 1: 0.2, 0.3; ...
    axes = plotting.plot_samples(sequences, ["t=2", "t=1", "t=0"]).axes[0]
    picture = np.asarray(axes.images[0].get_array())[::2, ::2, 0]
    np.testing.assert_allclose(picture, [[0, 0.2, 0.4], [0.1, 0.3, 0.5]], atol=1e-6)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["t=2", "t=1", "t=0"]


def test_manifold_decodes_a_grid_of_normal_quantiles():
    seen = []

    def decode(latents):
        seen.append(latents)
        return np.zeros((len(latents), 2, 2, 1))

    plotting.plot_manifold(decode, size=3)
    quantiles = [statistics.NormalDist().inv_cdf(p) for p in (1 / 6, 1 / 2, 5 / 6)]
    grid = seen[0].reshape(3, 3, 2)
    np.testing.assert_allclose(grid[0, :, 0], quantiles, atol=1e-6)
    np.testing.assert_allclose(grid[::-1, 0, 1], quantiles, atol=1e-6)


def test_labels_of_a_manifold_stand_at_the_latents_of_their_cells():
    axes = plotting.plot_manifold(lambda latents: np.zeros((len(latents), 2, 2, 1)), size=5).axes[0]
    height, width = axes.images[0].get_array().shape[:2]
    grid = plotting.quantile_grid(5).reshape(5, 5, 2)  # rows of cells from the top, as in the picture
    assert axes.yaxis_inverted()
    for axis, side, latents in ((axes.xaxis, width, grid[0, :, 0]), (axes.yaxis, height, grid[:, 0, 1])):
        cells = [int(tick / side * 5) for tick in axis.get_ticklocs()]
        assert sorted(cells) == [0, 2, 4]
        assert [label.get_text() for label in axis.get_ticklabels()] == [f"{latents[cell]:.1f}" for cell in cells]


def test_animation_has_one_frame_per_step_and_rests_on_the_last(tmp_path):
    frames = np.linspace(0, 1, 4)[:, None, None, None, None] * np.ones((1, 5, 6, 6, 1))
    plotting.save_animation(frames, tmp_path / "steps.gif")
    with PIL.Image.open(tmp_path / "steps.gif") as file:
        assert file.n_frames == 4
        durations, brightness = [], []
        for i in range(4):
            file.seek(i)
            durations.append(file.info["duration"])
            brightness.append(np.asarray(file.convert("L"))[0, 0])
    assert durations[-1] > 5 * durations[0]
    assert sorted(brightness) == brightness


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


def test_bytes_and_floats_are_drawn_alike(random):
    images = random.integers(0, 256, (3, 4, 5, 3), "uint8")
    np.testing.assert_allclose(plotting.tile_images(images, 2), plotting.tile_images(images / 255, 2), atol=1e-6)


def test_history_is_drawn_under_its_own_names():
    history = [{"epoch": 1, "generator_loss": 0.5, "share": 0.9}, {"epoch": 2, "generator_loss": 0.7, "share": 0.1}]
    axes = plotting.plot_history(history, ["share", "generator_loss"], "nats").axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"share": [[1, 0.9], [2, 0.1]], "generator_loss": [[1, 0.5], [2, 0.7]]}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "nats")


def test_damage_is_red_where_a_score_moved():
    rows = {"undamaged": {"precision": 0.9, "recall": 0.5}, "blur": {"precision": 0.9, "recall": 0.1}}
    axes = plotting.plot_damage(rows, {"precision": ".1f", "recall": ".2f"}).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["0.9", "0.50", "0.9", "0.10"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["undamaged", "blur"]


def test_real_rows_are_lines_and_models_are_points():
    real = {"frechet_distance": 4.0}
    fast = {"frechet_distance": 121.0, "images_per_second": 5000.0, "passes_per_image": 1}
    slow = {"frechet_distance": 9.0, "images_per_second": 5.0, "passes_per_image": 200}
    axes = plotting.plot_quality_speed({"real": real, "gaussian": real, "fast": fast, "slow": slow}).axes[0]
    assert len(axes.collections) == 2
    assert len(axes.lines) == 2
    assert [text.get_text() for text in axes.get_legend().get_texts()][2:] == ["fast (NFE 1)", "slow (NFE 200)"]


def test_passes_are_a_curve_per_sampler_and_a_line_for_real_images():
    scores = [("short", 20, 9.0, 0.8), ("short", 5, 30.0, 0.7), ("long", 200, 5.0, 0.9)]
    keys = ("sampler", "passes_per_image", "frechet_distance", "recall")
    rows = [dict(zip(keys, row, strict=True)) for row in scores]
    figure = plotting.plot_passes(rows, rows[2])
    for axes, values in zip(figure.axes, ([30.0, 9.0], [0.7, 0.8]), strict=True):
        short, long, real = axes.lines
        np.testing.assert_array_equal(short.get_xydata(), list(zip([5, 20], values, strict=True)))
        assert (long.get_label(), len(long.get_xydata())) == ("long", 1)
        assert set(real.get_ydata()) == {long.get_ydata()[0]}
        assert axes.get_xscale() == "log"


def test_a_dozen_samplers_have_a_color_each():
    rows = [dict(sampler=str(n), passes_per_image=n + 1, frechet_distance=1.0, recall=0.5) for n in range(12)]
    lines = plotting.plot_passes(rows, rows[0]).axes[0].lines[:-1]
    assert len({tuple(line.get_color()) for line in lines}) == 12
