"""JupyterLab in a headless Chromium: opens notebooks, runs them, and says what their widgets show."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import PIL.Image
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --window-size=1400,2000"
)
CURRENT = "const panel = window.jupyterapp.shell.currentWidget; const cells = panel.content.widgets;"
# What a viewer can see of an output: its pictures, not the look of a button under the mouse.
PICTURES = "img, canvas"


@contextlib.contextmanager
def jupyter_lab(root):
    """Serves the notebooks of a folder; yields the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = root / ".jupyter/lab/user-settings/@jupyterlab"
    # Outputs out of sight stay in the page, and no dialog covers it.
    for name, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    words = (
        f"lab --no-browser --allow-root --expose-app-in-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0"
    )
    command = [pathlib.Path(sys.executable).parent / "jupyter", *words.split(), f"--ServerApp.root_dir={root}"]
    command += ["--IdentityProvider.token=", "--ServerApp.password="]
    with (root / "jupyter.log").open("w") as log:
        server = subprocess.Popen(command, env=environment(root), cwd=root, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{address}/api/status"), 120, f"JupyterLab; see {root / 'jupyter.log'}")
        yield address
    finally:
        server.terminate()
        server.wait(30)


def environment(root):
    """Variables that keep everything which JupyterLab and the notebooks write in one folder."""
    folders = {f"JUPYTER_{name}_DIR": str(root / ".jupyter" / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    folders |= {
        "JUPYTERLAB_SETTINGS_DIR": str(root / ".jupyter/lab/user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / ".jupyter/lab/workspaces"),
        "TRILEMMA_BUILD": str(root / "build"),
    }
    return os.environ | folders


def trust(root, *names):
    """Makes notebooks trusted, as those are which somebody has run in JupyterLab."""
    command = [pathlib.Path(sys.executable).parent / "jupyter", "trust", *names]
    subprocess.run(command, cwd=root, env=environment(root), check=True, capture_output=True)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition, seconds, what):
    """Waits until a function returns something true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError(f"no sign of {what} after {seconds} seconds")


@contextlib.contextmanager
def chromium(profile):
    """A headless Chromium with an empty profile; yields the driver of selenium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """One notebook in JupyterLab."""

    def __init__(self, driver, address, name):
        self.driver = driver
        driver.get(f"{address}/lab/tree/{name}?reset")
        ready = "return window.jupyterapp && window.jupyterapp.shell.currentWidget?.context?.isReady"
        wait_for(lambda: driver.execute_script(ready), 120, f"the notebook {name}")
        # The whole width belongs to the notebook.
        driver.execute_script("if (!window.jupyterapp.shell.leftCollapsed) window.jupyterapp.shell.collapseLeft();")
        wait_for(lambda: driver.execute_script(f"{CURRENT} return cells.length"), 60, f"the cells of {name}")

    def run(self, seconds):
        """Runs all cells; an error of a cell is an error here."""
        self.wait_for_kernel()
        self.driver.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells');")
        time.sleep(1)
        left = f"""{CURRENT}
            return cells.filter(c => c.model.type === 'code' && c.model.sharedModel.source.trim()
                                     && !c.model.executionCount).length
                   + (panel.sessionContext.session.kernel.status === 'idle' ? 0 : 1)"""
        wait_for(lambda: self.errors() or not self.driver.execute_script(left), seconds, "the end of the last cell")
        assert not self.errors(), self.errors()

    def wait_for_kernel(self):
        kernel = f"{CURRENT} return panel.sessionContext.session?.kernel?.status"
        wait_for(lambda: self.driver.execute_script(kernel) == "idle", 120, "a kernel that is idle")

    def text(self):
        return self.driver.execute_script("return document.querySelector('.jp-Notebook').innerText")

    def errors(self):
        found = f"""{CURRENT} return cells.filter(c => c.model.type === 'code').flatMap(c => c.model.outputs.toJSON())
            .filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"""
        return self.driver.execute_script(found)

    def outputs(self):
        """The outputs of cells that hold live widgets with pictures, from the top; so no bars of progress."""
        cells = self.driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell .jp-Cell-outputArea")
        found = [
            each
            for each in cells
            if each.find_elements(By.CSS_SELECTOR, ".jupyter-widgets img, .jupyter-widgets canvas")
        ]
        return [Output(self.driver, each) for each in found]

    def screenshot(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))


class Output:
    """The output of one cell in the page."""

    def __init__(self, driver, element):
        self.driver, self.element = driver, element

    def find(self, selector):
        return [each for each in self.element.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]

    def button(self, word):
        (found,) = [each for each in self.find("button") if each.text == word]
        return found

    def text(self):
        return self.element.text

    def pictures(self):
        """What its pictures show, list of uint8 (height, width, 3), enlarged images in the size of their pixels."""
        script = """
            const [element, selector] = arguments;
            return [...element.querySelectorAll(selector)].filter(p => p.width && (p.tagName == 'CANVAS' || p.complete))
                .map(picture => {
                    const canvas = document.createElement('canvas');
                    canvas.width = picture.naturalWidth || picture.width;
                    canvas.height = picture.naturalHeight || picture.height;
                    canvas.getContext('2d').drawImage(picture, 0, 0);
                    return canvas.toDataURL('image/png');
                });"""
        urls = self.driver.execute_script(script, self.element, PICTURES)
        return [pixels_of(urllib.request.urlopen(url).read()) for url in urls]

    def state(self):
        """Changes if and only if a picture or the text changes."""
        return [(picture.shape, picture.tobytes()) for picture in self.pictures()], self.text()

    def save(self, path):
        """Writes what the output looks like to a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", self.element)
        time.sleep(0.2)
        self.element.screenshot(str(path))

    def hover(self, element):
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        return ActionChains(self.driver, duration=50).move_to_element(element)

    def stroke(self, canvas, points):
        """Draws a line through points, in parts of the canvas's size from its middle."""
        actions = self.hover(canvas)
        size = canvas.size["width"]
        for i, (x, y) in enumerate(points):
            actions.move_to_element_with_offset(canvas, round(x * size), round(y * size))
            if i == 0:
                actions.click_and_hold()
        actions.release().perform()

    def wait_for_change(self, before, what, seconds=60):
        wait_for(lambda: self.state() != before, seconds, f"a change after {what}")
        # A redrawn picture may come a moment after the text.
        settled = self.state()
        time.sleep(0.3)
        while self.state() != settled:
            settled = self.state()
            time.sleep(0.3)


def pixels_of(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB"))
