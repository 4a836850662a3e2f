import base64
import io
import json
import pathlib
import subprocess
import sys

import ipywidgets
import matplotlib.image
import nbformat
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure

import trilemma
from trilemma import widgets
from trilemma.evaluation.hype import Game
from trilemma.widgets import game as game_module
from trilemma.widgets.views import as_png

VIEW = "application/vnd.jupyter.widget-view+json"


def shown(png):
    """The pixels of a PNG, float (height, width, 3) in [0, 1]."""
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def still(widget):
    """The picture where nothing runs, as the notebook stores it."""
    return shown(base64.b64decode(widget.bundle()["image/png"]))


def all_of(widget, kind):
    """Every widget of a class in a tree, from the top."""
    found = [widget] if isinstance(widget, kind) else []
    return found + [each for child in getattr(widget, "children", ()) for each in all_of(child, kind)]


def grey(value, height=28, width=28):
    return np.full((height, width, 1), value, "float32")


# Pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_are_enlarged_by_whole_pixels(channels, random):
    image = random.integers(0, 256, (28, 20, channels), "uint8")
    expected = np.kron(np.broadcast_to(image, (28, 20, 3)), np.ones((8, 8, 1))) / 255
    np.testing.assert_allclose(shown(as_png(image)), expected, atol=1e-6)
    np.testing.assert_allclose(shown(as_png(image.astype("float32") / 255)), expected, atol=1e-6)


@pytest.mark.parametrize(("shape", "factor"), [((100, 289, 3), 2), ((64, 64, 1), 8), ((700, 900, 3), 1)])
def test_large_pictures_keep_to_600_pixels(shape, factor):
    assert shown(as_png(np.zeros(shape))).shape == (shape[0] * factor, shape[1] * factor, 3)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28, 1), (28, 28, 2), (0, 28, 1)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=r"has the shape .*; expected \(height, width, 1 or 3\)"):
        as_png(np.zeros(shape))


# What viewers get that run nothing


def example_widgets():
    dark = Figure((2, 1), facecolor="black")
    return {
        "slider": widgets.show_slider([grey(0), grey(1)]),
        "figures": widgets.show_slider([dark] * 9),
        "plane": widgets.show_plane(lambda latents: np.zeros((len(latents), 4, 4, 1))),
        "pad": widgets.DrawingPad(),
        "lab": widgets.show_digit_lab(widgets.DrawingPad(), {"keep": lambda image: (image, None)}),
        "game": widgets.show_game(Game(np.zeros((4, 8, 8, 3)), {"vae": np.ones((4, 8, 8, 3))}, 2)),
    }


def test_every_widget_publishes_a_view_and_a_small_picture_and_a_constant_text():
    texts = [{name: widget.bundle()["text/plain"] for name, widget in example_widgets().items()} for _ in range(2)]
    assert texts[0] == texts[1]
    for name, widget in example_widgets().items():
        bundle = widget.bundle()
        assert set(bundle) == {VIEW, "image/png", "text/plain"}
        assert bundle[VIEW]["model_id"] == widget.model_id
        assert "run the notebook" in bundle["text/plain"]
        assert " at 0x" not in bundle["text/plain"]
        assert len(bundle["image/png"]) < 100_000, name
        assert min(still(widget).shape[:2]) > 30, name


def test_ipython_shows_the_bundle_and_nothing_else(monkeypatch):
    published = []
    monkeypatch.setattr("trilemma.widgets.views.display", lambda data, raw: published.append((data, raw)))
    pad = widgets.DrawingPad()
    assert DisplayFormatter().format(pad) == ({}, {})
    assert published == [(pad.bundle(), True)]


def notebook_file(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def run_tool(folder, *words):
    words = [sys.executable, "-m", *words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_nbconvert_shows_the_picture_and_nbval_accepts_a_second_run(tmp_path):
    source = """import numpy as np
from trilemma import widgets
bar = np.zeros((28, 28), "float32")
bar[4:24, 13:15] = 1
widgets.show_digit_lab(widgets.DrawingPad(bar), {"keep": lambda image: (image, None)})"""
    path = tmp_path / "executed.ipynb"
    notebook_file(path, source)
    words = ["nbconvert", "--to", "notebook", "--execute", "--inplace", path.name]
    assert run_tool(tmp_path, *words).returncode == 0
    (output,) = json.loads(path.read_text())["cells"][0]["outputs"]
    picture = output["data"]["image/png"].strip()
    assert VIEW in output["data"]
    assert widgets.drop_views(path) == 1
    notebook = json.loads(path.read_text())
    assert set(notebook["cells"][0]["outputs"][0]["data"]) == {"image/png", "text/plain"}
    assert "widgets" not in notebook["metadata"]
    assert run_tool(tmp_path, "nbconvert", "--to", "html", path.name).returncode == 0
    page = (tmp_path / "executed.html").read_text().replace("\n", "")
    assert picture.replace("\n", "") in page
    again = run_tool(tmp_path, "pytest", "--nbval", path.name)
    assert "1 passed" in again.stdout, again.stdout
    path.write_text(path.read_text().replace("A pad to draw", "A different pad to draw"))
    assert "1 failed" in run_tool(tmp_path, "pytest", "--nbval", path.name).stdout


def test_only_views_with_a_picture_are_dropped(tmp_path):
    path = tmp_path / "notebook.ipynb"
    data = [{VIEW: {"model_id": "a"}, "image/png": "x"}, {VIEW: {"model_id": "b"}, "text/plain": "ü"}]
    outputs = [nbformat.v4.new_output("display_data", each) for each in data]
    cell = nbformat.v4.new_code_cell("1", outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"kept": 1}}), path)
    expected = json.loads(path.read_text(encoding="utf-8"))
    del expected["cells"][0]["outputs"][0]["data"][VIEW]
    assert widgets.drop_views(path) == 1
    assert json.loads(path.read_text(encoding="utf-8")) == expected
    text = path.read_text(encoding="utf-8")
    assert widgets.drop_views(path) == 0
    nbformat.write(nbformat.read(path, nbformat.NO_CONVERT), path)
    assert path.read_text(encoding="utf-8").strip() == text.strip()  # Written as Jupyter writes.


# The bar


def test_a_bar_shows_every_item_vanishes_and_is_no_error(monkeypatch, capfd):
    published = []
    monkeypatch.setattr("trilemma.widgets.progress.display", lambda data, raw: published.append(data))
    bar = widgets.show_progress([3, 1, 2], "epoch 1")
    assert published == [{VIEW: published[0][VIEW], "text/plain": ""}]
    assert published[0][VIEW]["model_id"] == bar.container.model_id
    label, filling, _ = bar.container.children
    seen = [(item, filling.max) for item in bar]
    assert seen == [(3, 3), (1, 3), (2, 3)]
    assert "epoch 1" in label.value.replace("\u2007", " ")
    assert bar.container.comm is None  # Closed: gone from the page.
    assert capfd.readouterr().err == ""


def test_a_bar_of_many_items_moves_twice_a_second(monkeypatch):
    monkeypatch.setattr("trilemma.widgets.progress.display", lambda data, raw: None)
    clock, moves = [0.0], []
    bar = widgets.show_progress(range(6000))
    bar._time = lambda: clock[0]
    bar.start_t = bar.last_print_t = clock[0]
    bar.container.children[1].observe(lambda change: moves.append(change["new"]), "value")
    for _ in bar:  # A minute of a hundred items a second.
        clock[0] += 0.01
    assert moves[-1] == 6000
    assert 110 <= len(moves) <= 121


def test_a_bar_is_dropped_from_what_is_committed(tmp_path):
    path = tmp_path / "notebook.ipynb"
    cell = nbformat.v4.new_code_cell("1")
    cell.outputs = [nbformat.v4.new_output("display_data", {VIEW: {"model_id": "a"}, "text/plain": ""})]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    assert widgets.drop_views(path) == 1
    (output,) = nbformat.read(path, 4).cells[0].outputs
    assert output.data == {"text/plain": ""}


# The slider


def test_slider_shows_the_picture_and_the_name_where_it_stands():
    widget = widgets.show_slider([grey(i / 10) for i in range(11)], [f"t = {100 * i}" for i in range(11)], "noise")
    (slider,), (picture,) = all_of(widget, ipywidgets.IntSlider), all_of(widget, ipywidgets.Image)
    (name,) = all_of(widget, ipywidgets.Label)
    assert (slider.min, slider.max, slider.description) == (0, 10, "noise")
    for i in (0, 7, 10, 3):
        slider.value = i
        assert name.value == f"t = {100 * i}"
        assert shown(picture.value)[5, 5, 0] == pytest.approx(i / 10, abs=1 / 255)


def test_slider_takes_figures_and_numbers_what_has_no_names():
    widget = widgets.show_slider([Figure((2, 1), facecolor=colour) for colour in ("black", "white")])
    (slider,), (picture,) = all_of(widget, ipywidgets.IntSlider), all_of(widget, ipywidgets.Image)
    (name,) = all_of(widget, ipywidgets.Label)
    assert (name.value, shown(picture.value).max()) == ("1", 0)
    slider.value = 1
    assert (name.value, shown(picture.value).min()) == ("2", 1)


def test_still_picture_of_a_slider_goes_from_the_first_to_the_last():
    """Four squares side by side; wide pictures below each other."""
    picture = still(widgets.show_slider([grey(i / 9) for i in range(10)]))
    height, width = picture.shape[:2]
    assert width > 3 * height
    row = picture[height * 2 // 3, :, 0]
    assert [row[round(width * (i + 0.5) / 4)] for i in range(4)] == pytest.approx([0, 3 / 9, 6 / 9, 1], abs=0.01)
    picture = still(widgets.show_slider([grey(0, 10, 40)] * 3))
    assert picture.shape[0] > 0.6 * picture.shape[1]
    assert still(widgets.show_slider([grey(0)])).min() == 0


def test_slider_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="pictures is empty"):
        widgets.show_slider([])
    with pytest.raises(ValueError, match="names has 1 entries; expected 2"):
        widgets.show_slider([grey(0), grey(1)], ["one"])
    with pytest.raises(ValueError, match=r"has the shape \(2, 28, 28, 1\)"):
        widgets.show_slider([grey(0), np.zeros((2, 28, 28, 1))])
    with pytest.raises(ValueError, match="Rescale or clip"):
        widgets.show_slider([grey(0), grey(2)])


# The plane


def test_plane_decodes_the_two_latents_of_its_sliders():
    calls = []

    def decode(latents):
        """Red follows the first latent, green the second one."""
        calls.append(latents)
        colours = np.concatenate([(latents + 2) / 4, np.zeros((len(latents), 1), "float32")], axis=1)
        return np.broadcast_to(colours[:, None, None], (len(latents), 4, 4, 3))

    widget = widgets.show_plane(decode, -2, 2)
    first, second = all_of(widget, ipywidgets.FloatSlider)
    (picture,) = all_of(widget, ipywidgets.Image)
    assert (first.description, second.description) == ("first latent", "second latent")
    assert shown(picture.value)[0, 0] == pytest.approx([0.5, 0.5, 0], abs=0.01)
    first.value = 2
    assert shown(picture.value)[0, 0] == pytest.approx([1, 0.5, 0], abs=0.01)
    second.value = -1
    assert shown(picture.value)[0, 0] == pytest.approx([1, 0.25, 0], abs=0.01)
    assert calls[-1].dtype == np.float32
    np.testing.assert_array_equal(calls[-1], [[2, -1]])
    still(widget)
    assert calls[-1].shape == (49, 2)
    # Rows of the picture from the top: the second latent falls, the first one rises along a row.
    np.testing.assert_array_equal(calls[-1][[0, 6, 42, 48]], [[-2, 2], [2, 2], [-2, -2], [2, -2]])


def test_plane_names_its_latents(monkeypatch):
    drawn = []
    monkeypatch.setattr("trilemma.widgets.sliders.as_png", lambda picture: drawn.append(picture) or as_png(picture))
    widget = widgets.show_plane(lambda latents: np.zeros((len(latents), 4, 4, 1)), -1, 1, ("ink", "slant"))
    assert [slider.description for slider in all_of(widget, ipywidgets.FloatSlider)] == ["ink", "slant"]
    still(widget)
    (axes,) = drawn[-1].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("ink, -1 to 1", "slant, -1 to 1")


def test_plane_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="low is 1 and high is 1"):
        widgets.show_plane(lambda latents: np.zeros((len(latents), 4, 4, 1)), 1, 1)
    with pytest.raises(ValueError, match=r"shape \(4, 4, 1\) for 1 latents; expected \(1, height, width, channels\)"):
        widgets.show_plane(lambda latents: np.zeros((4, 4, 1)))


# The digit


def real_digits():
    file = np.load(pathlib.Path(trilemma.__file__).parent / "sample_data/mnist.npz")
    return file["x_test"][:200].reshape(-1, 28, 28)


def on_paper(digit, factor=10, top=37, left=5, size=400):
    """A digit enlarged and put anywhere on a larger black picture."""
    picture = np.zeros((size, size), digit.dtype)
    large = np.kron(digit, np.ones((factor, factor), digit.dtype))
    picture[top : top + len(large), left : left + len(large)] = large
    return picture


def test_enlarged_and_shifted_digits_of_mnist_come_back():
    """MNIST's own preparation is undone by nothing here: its digits are fixed points."""
    errors = []
    for digit in real_digits():
        result = widgets.as_digit(on_paper(digit))
        assert (result.shape, result.dtype) == ((1, 28, 28, 1), np.float32)
        errors.append(np.abs(result[0, ..., 0] - digit / 255).mean())
    assert np.mean(np.array(errors) < 1e-3) > 0.97
    assert np.mean(errors) < 1e-3


def test_a_smoothly_enlarged_digit_still_resembles_itself_most():
    """Not always: some ones are alike."""
    digits, found = real_digits() / 255, []
    for digit in real_digits()[:50]:
        large = PIL.Image.fromarray(digit).resize((300, 300), PIL.Image.Resampling.BICUBIC)
        found.append(np.square(widgets.as_digit(large)[0, ..., 0] - digits).mean((1, 2)).argmin())
    assert np.mean(np.array(found) == np.arange(50)) >= 0.9


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture.astype("float32") / 255,
        lambda picture: picture[..., None],
        lambda picture: np.repeat(picture[..., None], 3, -1),
        lambda picture: 255 - picture,
        lambda picture: (200 - picture * 0.6).astype("uint8"),
        lambda picture: (picture * 0.5 + 30).astype("uint8"),
        lambda picture: PIL.Image.fromarray(255 - picture),
    ],
    ids=["floats", "a channel", "colours", "black on white", "on grey paper", "faint", "Pillow"],
)
def test_a_digit_is_the_same_in_every_form(change):
    picture = on_paper(real_digits()[0])
    np.testing.assert_allclose(widgets.as_digit(change(picture)), widgets.as_digit(picture), atol=0.02)


@pytest.mark.parametrize(("box", "extent"), [((50, 60, 90, 200), (20, 6)), ((10, 150, 250, 160), (1, 20))])
def test_a_bar_becomes_twenty_pixels_long_in_the_middle(box, extent):
    """The longer side is 20 pixels; the centre of mass lies on pixel 14, as MNIST's does."""
    picture = PIL.Image.new("L", (280, 280))
    PIL.ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    digit = widgets.as_digit(picture)[0, ..., 0]
    rows, columns = np.nonzero(digit > 0.5)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == extent
    centre = [np.average(axis, weights=digit) for axis in np.mgrid[:28, :28]]
    assert centre == pytest.approx([14, 14], abs=0.51)
    assert digit.max() == 1


def test_mnist_has_its_centre_of_mass_on_pixel_14():
    digits = real_digits() / 255
    mass = digits.sum((1, 2))
    rows = (digits.sum(2) @ np.arange(28)) / mass
    assert np.mean(rows) == pytest.approx(14, abs=0.1)
    assert np.abs(rows - 14).max() < 0.6


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_page_names_the_remedy(value):
    with pytest.raises(ValueError, match="is blank; expected one digit. Draw a digit on the pad by mouse or finger"):
        widgets.as_digit(np.full((280, 280), value, "uint8"))


def test_a_batch_is_no_picture():
    with pytest.raises(ValueError, match=r"shape \(2, 28, 28, 1\); expected .* not a batch"):
        widgets.as_digit(np.zeros((2, 28, 28, 1)))
    with pytest.raises(ValueError, match="Rescale or clip"):
        widgets.as_digit(np.full((28, 28), 7.0))


# The pad


def data_url(picture):
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_pad_yields_what_the_browser_sends():
    pad = widgets.DrawingPad()
    assert pad.picture().shape == (280, 280)
    with pytest.raises(ValueError, match="blank"):
        pad.image()
    digit = real_digits()[3]
    drawn = np.dstack([on_paper(digit, 9, 5, 20, 280)] * 3 + [np.full((280, 280), 255, "uint8")])
    pad.set_state({"drawing": data_url(drawn)})  # As a message of the browser does; four channels, as a canvas has.
    np.testing.assert_array_equal(pad.picture(), drawn[..., 0])
    assert np.abs(pad.image()[0, ..., 0] - digit / 255).mean() < 1e-3
    np.testing.assert_allclose(still(pad)[..., 0] * 255, np.kron(drawn[..., 0], np.ones((2, 2))), atol=0.01)


def test_pad_starts_with_a_digit():
    digit = real_digits()[0]
    pad = widgets.DrawingPad(digit)
    np.testing.assert_allclose(pad.image()[0, ..., 0], digit / 255, atol=1e-3)
    pad.drawing = ""
    assert pad.picture().max() == 0


def test_lab_does_its_actions_with_the_digit():
    given = []

    def keep(image):
        given.append(image)
        return np.repeat(image, 6, 0), ["first row", "second row"]

    pad = widgets.DrawingPad(real_digits()[0])
    widget = widgets.show_digit_lab(pad, {"keep": keep, "invert": lambda image: (1 - image, None)})
    seen, result = all_of(widget, ipywidgets.Image)
    keep_button, invert_button = all_of(widget, ipywidgets.Button)
    np.testing.assert_array_equal(given[0], pad.image())
    np.testing.assert_allclose(shown(seen.value)[::8, ::8, 0], pad.image()[0, ..., 0], atol=0.01)
    assert shown(result.value).shape[1] > shown(result.value).shape[0]  # Two rows of three.
    first = result.value
    invert_button.click()
    assert result.value != first
    np.testing.assert_allclose(still(widget), shown(result.value))
    pad.drawing = data_url(on_paper(real_digits()[1], 9, 5, 5, 280))
    np.testing.assert_allclose(shown(seen.value)[::8, ::8, 0], pad.image()[0, ..., 0], atol=0.01)
    keep_button.click()
    np.testing.assert_array_equal(given[-1], pad.image())
    assert len(given) == 2


def test_lab_says_below_its_buttons_what_went_wrong():
    def fail(image):
        raise RuntimeError("a < b")

    pad = widgets.DrawingPad()
    wrong = {"number": lambda image: 3, "rows": lambda image: (np.repeat(image, 5, 0), ["a", "b"]), "fail": fail}
    widget = widgets.show_digit_lab(pad, {"keep": lambda image: (image, None)} | wrong)
    buttons = {button.description: button for button in all_of(widget, ipywidgets.Button)}
    (message,) = all_of(widget, ipywidgets.HTML)
    _, result = all_of(widget, ipywidgets.Image)
    buttons["keep"].click()
    assert "the picture is blank" in message.value
    assert result.layout.display == "none"
    pad.drawing = data_url(on_paper(real_digits()[1], 9, 5, 5, 280))
    buttons["number"].click()
    assert "number returned a int; expected two values. Return (images, row_names)." in message.value
    buttons["rows"].click()
    assert "rows returned 5 images for 2 rows" in message.value
    buttons["fail"].click()
    assert "RuntimeError: a &lt; b" in message.value
    buttons["keep"].click()
    assert message.value == "<b>keep</b>"
    assert result.layout.display is None
    with pytest.raises(ValueError, match="actions is empty"):
        widgets.show_digit_lab(pad, {})


# The game


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(game_module, "monotonic", clock)
    return clock


def images_of(value, count=40):
    """Images that carry their source and their number in their pixels."""
    images = np.full((count, 8, 8, 1), value, "float32")
    images[:, 0, 0, 0] = np.linspace(0, 1, count)
    return images


class Player:
    """A game's widget, and a person who clicks it once a second."""

    def __init__(self, clock, rounds_per_model=1, **settings):
        self.clock = clock
        self.game = Game(images_of(0.9), {"vae": images_of(0.1), "ddpm": images_of(0.5)}, rounds_per_model)
        self.widget = widgets.show_game(self.game, **settings)
        (self.picture,) = all_of(self.widget, ipywidgets.Image)
        self.text, self.scores = all_of(self.widget, ipywidgets.HTML)

    def button(self, word):
        (found,) = [each for each in all_of(self.widget, ipywidgets.Button) if each.description == word]
        return found

    def click(self, word, after=1.0):
        self.clock.now += after
        self.button(word).click()

    def shows(self, number):
        """Whether the picture is the image of a round."""
        expected = np.kron(self.game.rounds[number][1], np.ones((8, 8, 1)))
        return np.allclose(shown(self.picture.value), expected, atol=1 / 255)


def test_game_is_played_by_clicks(clock):
    player = Player(clock)
    for i in range(4):
        assert player.text.value == f"Image {i + 1} of 4: real or generated?"
        assert player.shows(i)
        assert player.scores.value == ""
        player.click(("real", "generated")[i % 2])
    assert player.game.answers == [True, False, True, False]
    assert player.text.value == "All 4 images are judged."
    assert player.button("real").disabled
    assert player.button("generated").disabled
    assert player.scores.value == widgets.score_table(player.game.scores())
    player.click("real")
    assert len(player.game.answers) == 4


def test_a_double_click_judges_one_image(clock):
    player = Player(clock)
    player.click("real")
    player.click("real", after=0.2)
    assert player.game.answers == [True]
    player.click("generated", after=0.2)
    assert player.game.answers == [True, False]
    player.click("undo")
    player.click("real", after=0.1)
    assert player.game.answers == [True]


def test_an_answer_is_taken_back(clock):
    player = Player(clock)
    assert player.button("undo").disabled
    for _ in range(4):
        player.click("real")
    player.click("undo")
    assert player.game.answers == [True] * 3
    assert player.shows(3)
    assert player.scores.value == ""
    assert not player.button("real").disabled


def test_scores_can_be_seen_before_the_end(clock):
    player = Player(clock)
    player.click("real")
    player.click("stop and score")
    assert player.scores.value == widgets.score_table(player.game.scores())
    player.click("real")
    assert len(player.game.answers) == 1
    player.click("go on")
    assert player.scores.value == ""
    player.click("generated")
    assert player.game.answers == [True, False]


def test_game_starts_anew_with_other_images(clock):
    player = Player(clock, 10)
    before = [float(image[0, 0, 0]) for _, image in player.game.rounds]
    player.click("real")
    player.click("stop and score")
    player.click("start anew")
    assert player.game.answers == []
    assert [float(image[0, 0, 0]) for _, image in player.game.rounds] != before
    assert player.shows(0)
    player.click("generated")
    assert player.game.answers == [False]


def test_scores_are_a_table_of_html():
    rows = [
        {"source": "real", "num_images": 0, "errors": 0, "error_rate": None, "low": 0.0, "high": 1.0},
        {"source": "a<b", "num_images": 4, "errors": 1, "error_rate": 0.25, "low": 0.046, "high": 0.699},
    ]
    text = widgets.score_table(rows)
    assert text.count("<tr>") == 3
    for cell in ("real", "–", "0.00 to 1.00", "a&lt;b", "4", "1", "0.25", "0.05 to 0.70"):
        assert f">{cell}</td>" in text


def test_scores_can_be_shown_in_another_way(clock):
    player = Player(clock, show_scores=lambda rows: f"{len(rows)} rows")
    player.click("stop and score")
    assert player.scores.value == "1 rows"
