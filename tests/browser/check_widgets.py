"""Moves every widget in a real browser; run by `make browser`, since it needs Chromium and minutes.

Before and after pictures lie in build/browser/.
"""

import pathlib
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import PIL.Image
import pytest

pytest.importorskip("selenium", reason="run `make browser`, which installs it")

from jupyter_page import Page, chromium, jupyter_lab, trust, wait_for  # noqa: E402
from selenium.webdriver import Keys  # noqa: E402

from trilemma.widgets import drop_views  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
PICTURES = ROOT / "build/browser"
SOURCES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
NOTEBOOKS = [path for path, text in SOURCES.items() if "widgets.show_" in text or "widgets.DrawingPad" in text]
SETUP = """
import numpy as np
from matplotlib.figure import Figure
from trilemma import widgets
from trilemma.evaluation.hype import Game

def grey(value, size=28):
    return np.full((size, size, 1), value, "float32")
"""
# The pictures are plain greys, so that one pixel tells which one is shown.
CELLS = {
    "slider": 'widgets.show_slider([grey(i / 10) for i in range(11)], [f"step {i}" for i in range(11)], "t")',
    "figures": """
def figure(i):
    figure = Figure((4, 2), facecolor=(i / 10, i / 10, i / 10))
    return figure
widgets.show_slider([figure(i) for i in range(3)], description="epoch")""",
    "plane": """
def decode(latents):
    return ((latents + 2.5) / 5 @ [[0.8], [0.2]])[:, None, None] * np.ones((1, 28, 28, 1), "float32")
widgets.show_plane(decode)""",
    "pad": """
bar = np.zeros((28, 28, 1), "float32")
bar[4:24, 13:15] = 1
widgets.show_digit_lab(
    widgets.DrawingPad(bar),
    {"invert it": lambda image: (1 - image, None), "repeat it": lambda image: (np.repeat(image, 6, 0), ["a", "b"])
    },
)""",
    "game": """
game = Game(np.linspace(0.5, 1, 40)[:, None, None, None] * np.ones((1, 28, 28, 1)),
            {"dark": np.linspace(0, 0.4, 40)[:, None, None, None] * np.ones((1, 28, 28, 1))}, 10)
widgets.show_game(game)""",
}


SHOWN = 'return [...document.querySelectorAll(".jp-OutputArea-output img")].filter(i => i.naturalWidth).length'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The notebooks that JupyterLab serves: the small one, the same executed, and those of the repository."""
    root = tmp_path_factory.mktemp("notebooks")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in [SETUP, *CELLS.values()]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "widgets.ipynb")
    for path in NOTEBOOKS:
        shutil.copy(path, root)
    return root


@pytest.fixture(scope="module")
def address(folder):
    with jupyter_lab(folder) as address:
        yield address


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def small_page(driver, address):
    page = Page(driver, address, "widgets.ipynb")
    page.run(seconds=180)
    wait_for(lambda: len(page.outputs()) == len(CELLS), 60, "the widgets")
    wait_for(lambda: all(output.pictures() for output in page.outputs()), 60, "the pictures of the widgets")
    return page


@pytest.fixture
def output(small_page, request):
    """The output of the cell of a name; its pictures are shown in the size of their pixels."""
    name = request.param
    output = small_page.outputs()[list(CELLS).index(name)]
    output.save(PICTURES / "small" / f"{name}_before.png")
    assert all(image.size["width"] == int(image.get_property("naturalWidth")) for image in output.find("img"))
    yield output
    output.save(PICTURES / "small" / f"{name}_after.png")


def press(output, handle, *keys):
    before = output.state()
    handle.send_keys(*keys)
    output.wait_for_change(before, keys)


def click(output, word):
    before = output.state()
    output.hover(output.button(word)).click().perform()
    output.wait_for_change(before, word)


def middle(picture):
    return int(picture[picture.shape[0] // 2, picture.shape[1] // 2, 0])


@pytest.mark.parametrize("output", ["slider"], indirect=True)
def test_a_slider_shows_the_picture_and_its_name(output):
    (handle,) = output.find(".noUi-handle")
    assert middle(output.pictures()[0]) == 0
    assert "step 0" in output.text()
    press(output, handle, *[Keys.ARROW_RIGHT] * 4)
    assert middle(output.pictures()[0]) == round(255 * 0.4)
    assert "step 4" in output.text()
    press(output, handle, Keys.ARROW_LEFT)
    assert middle(output.pictures()[0]) == round(255 * 0.3)
    assert output.pictures()[0].shape == (224, 224, 3)


@pytest.mark.parametrize("output", ["figures"], indirect=True)
def test_a_slider_shows_figures(output):
    (handle,) = output.find(".noUi-handle")
    press(output, handle, Keys.END)
    assert middle(output.pictures()[0]) == 51
    assert output.pictures()[0].shape == (200, 400, 3)


@pytest.mark.parametrize("output", ["plane"], indirect=True)
def test_the_plane_decodes_where_the_sliders_stand(output):
    first, second = output.find(".noUi-handle")
    assert middle(output.pictures()[0]) == pytest.approx(127.5, abs=1)
    for handle, key, share in (
        (first, Keys.END, 0.8 + 0.1),
        (first, Keys.HOME, 0.1),
        (second, Keys.END, 0.2),
        (first, Keys.END, 1),
        (second, Keys.HOME, 0.8),
    ):
        press(output, handle, key)
        assert middle(output.pictures()[0]) == pytest.approx(255 * share, abs=1)
    press(output, first, *[Keys.ARROW_LEFT] * 10)  # A fifth of the way.
    assert middle(output.pictures()[0]) == pytest.approx(255 * 0.64, abs=1)


@pytest.mark.parametrize("output", ["pad"], indirect=True)
def test_a_digit_is_drawn_seen_and_used(output):
    """A horizontal stroke instead of the vertical bar: wide where the bar was high."""
    (canvas,) = output.find("canvas")
    _, seen, result = output.pictures()
    assert extent(seen) == pytest.approx((20 * 8, 2 * 8), abs=1)
    assert middle(result) == 0  # The first action inverts the bar.
    click(output, "clear")
    assert output.pictures()[0].max() == 0
    assert output.pictures()[1].max() == 0
    click(output, "invert it")
    assert "the picture is blank" in output.text()
    before = output.state()
    output.stroke(canvas, [(-0.3, -0.2), (0, -0.2), (0.3, -0.2)])
    output.wait_for_change(before, "a stroke")
    drawn, seen, _ = output.pictures()
    rows, columns = np.nonzero(drawn[..., 0] > 128)
    assert (columns.min(), columns.max()) == pytest.approx((56 - 10, 224 + 10), abs=3)
    assert (rows.min(), rows.max()) == pytest.approx((84 - 10, 84 + 10), abs=3)
    height, width = extent(seen)
    assert width == pytest.approx(20 * 8, abs=1)
    assert height == pytest.approx(20 * 8 * 21 / 189, abs=9)
    click(output, "repeat it")
    assert "the picture is blank" not in output.text()
    assert output.pictures()[2].shape[1] > output.pictures()[2].shape[0]


@pytest.mark.parametrize("output", ["pad"], indirect=True)
def test_an_image_file_is_loaded_into_the_pad(output, tmp_path):
    """Black ink on white paper, a ring: the pad shows it, the models see it white on black."""
    y, x = np.mgrid[-150:150, -100:100]
    ring = (np.hypot(x, y) < 80) & (np.hypot(x, y) > 50)
    PIL.Image.fromarray(np.where(ring, 0, 255).astype("uint8")).save(tmp_path / "ring.png")
    (file,) = output.find("input[type=file]")
    before = output.state()
    file.send_keys(str(tmp_path / "ring.png"))
    output.wait_for_change(before, "loading a file")
    drawn, seen, _ = output.pictures()
    assert drawn[0, 0, 0] == 255
    assert extent(seen) == pytest.approx((160, 160), abs=8)
    assert middle(seen) == 0
    assert seen[seen.shape[0] // 2, 6 * 8, 0] > 200
    (tmp_path / "text.png").write_text("no image")
    before = output.state()
    file.send_keys(str(tmp_path / "text.png"))
    output.wait_for_change(before, "loading no image")
    assert "text.png is not an image" in output.text()


def extent(picture):
    rows, columns = np.nonzero(picture[..., 0] > 64)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("output", ["game"], indirect=True)
def test_the_game_is_played(output):
    assert "Image 1 of 20" in output.text()
    first = middle(output.pictures()[0])
    click(output, "real")
    assert "Image 2 of 20" in output.text()
    before = output.state()
    output.hover(output.button("generated")).double_click().perform()
    output.wait_for_change(before, "a double click")
    assert "Image 3 of 20" in output.text()
    click(output, "undo")
    assert "Image 2 of 20" in output.text()
    click(output, "undo")
    assert middle(output.pictures()[0]) == first
    click(output, "real")
    click(output, "stop and score")
    (table,) = output.find("table")
    output.save(PICTURES / "small/game_scores.png")
    assert "95 % interval" in table.text
    assert not output.button("real").is_enabled()
    click(output, "go on")
    assert not output.find("table")
    for _ in range(19):
        click(output, "real")
    assert "All 20 images are judged" in output.text()
    assert "dark 10 10 1.00" in output.text()
    click(output, "start anew")
    assert "Image 1 of 20" in output.text()


def test_an_executed_notebook_shows_pictures_where_nothing_runs(folder, driver, address):
    """JupyterLab, opened but not run, and the HTML of nbconvert; without the live views even if it is trusted."""
    command = [sys.executable, "-m", "nbconvert", "--log-level=ERROR"]
    subprocess.run(
        [*command, "--to", "notebook", "--execute", "--output", "executed.ipynb", "widgets.ipynb"]
        + ["--NotebookClient.store_widget_state=False"],
        cwd=folder,
        check=True,
    )
    shutil.copy(folder / "executed.ipynb", folder / "dropped.ipynb")
    assert drop_views(folder / "dropped.ipynb") == len(CELLS)
    assert drop_views(folder / "dropped.ipynb") == 0
    page = Page(driver, address, "executed.ipynb")
    wait_for(lambda: driver.execute_script(SHOWN) == len(CELLS), 60, "one picture per widget")
    page.wait_for_kernel()
    page.screenshot(PICTURES / "still/jupyterlab_not_trusted.png")
    assert driver.execute_script(SHOWN) == len(CELLS)
    trust(folder, "executed.ipynb", "dropped.ipynb")
    page = Page(driver, address, "executed.ipynb")
    wait_for(lambda: "model not found" in page.text(), 120, "a missing model; without it, nobody needs drop_views")
    page = Page(driver, address, "dropped.ipynb")
    wait_for(lambda: driver.execute_script(SHOWN) == len(CELLS), 60, "one picture per widget")
    page.wait_for_kernel()
    page.screenshot(PICTURES / "still/jupyterlab_trusted.png")
    assert driver.execute_script(SHOWN) == len(CELLS)
    assert "model not found" not in page.text()
    subprocess.run([*command, "--to", "html", "dropped.ipynb"], cwd=folder, check=True)
    driver.get((folder / "dropped.html").as_uri())
    assert driver.execute_script("return [...document.images].filter(i => i.naturalWidth).length") == len(CELLS)
    driver.save_screenshot(str(PICTURES / "still/html.png"))


@pytest.mark.parametrize("name", ["widgets.ipynb", *[path.name for path in NOTEBOOKS]])
def test_every_widget_of_a_notebook_moves(name, driver, address):
    """Each slider changes a picture, each stroke the pad and what models see, each button a picture or the text."""
    page = Page(driver, address, name)
    page.run(seconds=3600)
    pictures = PICTURES / pathlib.Path(name).stem
    outputs = wait_for(page.outputs, 60, "a widget")
    for number, output in enumerate(outputs):
        wait_for(output.pictures, 60, "a picture")
        output.save(pictures / f"{number}_before.png")
        for handle in output.find(".noUi-handle"):
            before = output.pictures()
            press(output, handle, *[Keys.ARROW_RIGHT] * 3)
            after = output.pictures()
            assert changed(before, after) == 1
        for canvas in output.find("canvas"):
            before = output.pictures()
            output.stroke(canvas, [(-0.3, -0.3), (0.3, -0.3), (0, 0.3)])
            wait_for(lambda old=before, now=output: changed(old, now.pictures()) >= 2, 60, "the stroke in two pictures")
        words = [button.text for button in output.find("button") if button.is_enabled()]
        for word in sorted(words, key=lambda word: word == "clear"):  # The drawing is used before it is wiped away.
            click(output, word)
            assert "Error: " not in output.text()
        output.save(pictures / f"{number}_after.png")


def changed(before, after):
    return sum(not np.array_equal(one, other) for one, other in zip(before, after, strict=True))
