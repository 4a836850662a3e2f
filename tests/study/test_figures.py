import matplotlib.image
import numpy as np
import pytest
from matplotlib.offsetbox import OffsetImage

from study import figures
from trilemma import records
from trilemma.data import SAMPLE_DIR


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn: a brightness for every model instead of its images, which take a network."""
    names = []

    def draw(name, data_set):
        names.append(f"{name}_{data_set}")
        return np.full((5, 28, 28, 1), len(names) / 20, "float32")

    monkeypatch.setattr(figures, "draw", draw)
    return names


def pictures(figure):
    found = figure.findobj(OffsetImage)
    return [picture.get_data() for picture in sorted(found, key=lambda picture: picture.get_data()[0, 0, 0])]


@pytest.mark.parametrize("data_set", ["mnist", "fashion_mnist"])
def test_the_overview_shows_every_family_at_its_recorded_scores(drawn, data_set):
    (axes,) = figures.overview(data_set).axes
    results = records.load_results("scoreboard_1000")
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines[:-1]}
    assert list(points) == list(figures.FAMILIES)
    for name, members in figures.FAMILIES.items():
        rows = [results[f"{member}_{data_set}"] for member in members]
        assert points[name] == sorted([row["passes_per_image"], row["frechet_distance"]] for row in rows)
    assert set(axes.lines[-1].get_ydata()) == {results[f"real_{data_set}"]["frechet_distance"]}
    assert drawn == [f"{members[0]}_{data_set}" for members in figures.FAMILIES.values()]


def test_the_ddpm_is_drawn_by_the_member_that_its_name_says():
    (name,) = [name for name in figures.FAMILIES if name.startswith("DDPM")]
    row = records.load_results("scoreboard_1000")[f"{figures.FAMILIES[name][0]}_mnist"]
    assert f"images: {row['passes_per_image']} passes" in name


def test_the_real_images_are_the_first_test_images_of_the_sample(drawn):
    shown = pictures(figures.overview("mnist"))
    real = np.load(SAMPLE_DIR / "mnist.npz")["x_test"][:5]
    strip = np.concatenate([np.pad(image, ((0, 0), (0, 1)), constant_values=255) for image in real], axis=1)[:, :-1]
    assert any(np.array_equal(np.round(255 * picture[..., 0]), strip) for picture in shown)


@pytest.mark.slow
def test_five_images_are_drawn_without_a_choice():
    images = figures.draw("vae", "mnist")
    assert images.shape == (5, 28, 28, 1)
    np.testing.assert_allclose(images, figures.load_pretrained("vae_mnist").generate(8, seed=0)[:5], atol=1e-5)


def test_all_figures_are_written(drawn, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    figures.write()
    written = {path.name: matplotlib.image.imread(path) for path in (tmp_path / "results").iterdir()}
    assert sorted(written) == [
        "overview.png", "overview_fashion_mnist.png", "trilemma_fashion_mnist.png", "trilemma_mnist.png",
    ]  # fmt: skip
    # Twice the width of a page on GitHub, for screens with small pixels.
    assert 1600 <= written["overview.png"].shape[1] <= 2000
