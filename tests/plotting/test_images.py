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


def test_bytes_and_floats_are_drawn_alike(random):
    images = random.integers(0, 256, (3, 4, 5, 3), "uint8")
    np.testing.assert_allclose(plotting.tile_images(images, 2), plotting.tile_images(images / 255, 2), atol=1e-6)


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


def test_points_of_a_manifold_lie_in_the_cell_of_their_latents():
    points = np.array([[0.0, 0.0], [-1.4, 1.3]])  # the middle; the first fifth from the left and from the top
    axes = plotting.plot_manifold(lambda latents: np.zeros((len(latents), 9, 9, 1)), size=5, points=points).axes[0]
    side = axes.images[0].get_array().shape[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    np.testing.assert_allclose(axes.texts[0].xy, side / 2 - 0.5)
    assert (np.array(axes.texts[1].xy) < side / 5).all()
    outwards = plotting.plot_manifold(lambda latents: np.zeros((len(latents), 9, 9, 1)), size=5, points=[[9, -9]])
    np.testing.assert_allclose(outwards.axes[0].texts[0].xy, side - 0.5)


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
            assert file.size == (4 * (5 * 7 - 1), 4 * 6)
    assert durations[-1] > 5 * durations[0]
    assert sorted(brightness) == brightness


def test_animation_enlarges_by_whole_pixels(tmp_path, random):
    frame = random.integers(0, 2, (1, 1, 5, 6, 1)).astype("float32")
    plotting.save_animation(frame, tmp_path / "large.gif", columns=1, scale=3)
    with PIL.Image.open(tmp_path / "large.gif") as file:
        shown = np.asarray(file.convert("L"))
    np.testing.assert_array_equal(shown, np.kron(255 * frame[0, 0, :, :, 0], np.ones((3, 3))))


def test_codes_are_scattered_by_class_with_the_name_at_their_median(random):
    codes, labels = random.normal(size=(31, 2)), np.arange(31) % 2
    figure = plotting.plot_codes(codes, labels, ["zero", "one", "none of these"])
    points = [np.asarray(each.get_offsets()) for each in figure.axes[0].collections]
    np.testing.assert_array_equal(points[1], codes[1::2])
    names = {text.get_text(): text.xy for text in figure.axes[0].texts}
    assert set(names) == {"zero", "one"}
    middle = [np.sort(codes[1::2, axis])[7] for axis in (0, 1)]  # of 15 codes
    np.testing.assert_allclose(names["one"], middle)


def test_channels_stand_as_grey_images_beside_the_colour(random):
    images = random.random((2, 3, 1, 1, 3))  # one pixel each, so that a picture is a cell
    axes = plotting.plot_channels(images, ["real", "vae"], title="stacked").axes[0]
    cells = np.asarray(axes.images[0].get_array())[::2, ::2]
    assert cells.shape == (2, 12, 3)
    for row, column in np.ndindex(2, 3):
        colour, *channels = cells[row, 4 * column : 4 * column + 4]
        np.testing.assert_allclose(colour, images[row, column, 0, 0], atol=1e-6)
        np.testing.assert_allclose(channels, np.repeat(images[row, column, 0, 0, :, None], 3, axis=1), atol=1e-6)
    assert [label.get_text() for label in axes.get_xticklabels()] == 3 * ["colour", "red", "green", "blue"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["real", "vae"]


@pytest.mark.parametrize("columns", [1, 4, 10])
def test_names_of_rows_leave_the_images_their_size(columns):
    images = np.zeros((2 * columns, 28, 28, 1))
    figure = plotting.plot_images(images, columns, row_names=["yours", "nearest image"])
    figure.draw_without_rendering()
    width = figure.axes[0].images[0].get_window_extent().width / figure.dpi
    assert width > (0.5 if columns < 5 else 0.4) * columns
