"""The game: real or generated?"""

import html
from time import monotonic

import ipywidgets
import numpy as np

from trilemma.plotting import plot_images
from trilemma.widgets.views import Box, as_png

# A second click this soon, in seconds, belongs to the image before: nobody has judged the new one yet.
DOUBLE_CLICK = 0.3
COLUMNS = {"source": "images", "num_images": "judged", "errors": "errors", "error_rate": "error rate"}


def show_game(game, show_scores=None):
    """Builds the game for a person: buttons for the verdict, to undo it, to see the scores, and to start anew.

    A second click within 0.3 seconds of a new image is ignored. Starting anew draws other images into the same `game`.

    Args:
        game: evaluation.hype.Game; its answers and scores can be read in another cell at any time.
        show_scores: function (rows of `Game.scores`) -> HTML; `score_table` if None.

    Returns:
        ipywidgets.Widget; where nothing runs, a picture of the first ten images.
    """
    picture = ipywidgets.Image(format="png")
    text = ipywidgets.HTML()
    scores = ipywidgets.HTML()
    real, generated, undo, stop, anew = buttons = [
        ipywidgets.Button(description=word) for word in ("real", "generated", "undo", "stop and score", "start anew")
    ]
    stopped, shown_at = False, -DOUBLE_CLICK

    def refresh():
        nonlocal shown_at
        judged, total = len(game.answers), len(game.rounds)
        finished = judged == total
        real.disabled = generated.disabled = stopped or finished
        undo.disabled = not judged
        stop.disabled = finished
        stop.description = "go on" if stopped else "stop and score"
        picture.value = as_png(game.rounds[min(judged, total - 1)][1])
        text.value = (
            f"All {total} images are judged." if finished else f"Image {judged + 1} of {total}: real or generated?"
        )
        scores.value = (show_scores or score_table)(game.scores()) if stopped or finished else ""
        shown_at = monotonic()

    def judge(button):
        if not button.disabled and monotonic() - shown_at >= DOUBLE_CLICK:
            game.answer(button is real)
            refresh()

    def take_back(button):
        nonlocal stopped
        stopped = False
        game.undo()
        refresh()

    def pause(button):
        nonlocal stopped
        stopped = not stopped
        refresh()

    def restart(button):
        nonlocal stopped
        stopped = False
        game.restart()
        refresh()

    for button, act in zip(buttons, (judge, judge, take_back, pause, restart), strict=True):
        button.on_click(act)
    refresh()
    box = Box([picture, ipywidgets.HBox([real, generated]), ipywidgets.HBox([undo, stop, anew]), text, scores])
    first = np.stack([image for _, image in game.rounds[:10]])
    still = f"A game of {len(game.rounds)} images, real or generated; run the notebook to play."
    return box.set_still(still, lambda: as_png(plot_images(first, len(first), title="real or generated?")))


def score_table(rows):
    """The rows of `Game.scores` as an HTML table: who was taken for the other how often, with the 95 % interval."""
    cells = [[*COLUMNS.values(), "95 % interval"]]
    for row in rows:
        rate = "–" if row["error_rate"] is None else f"{row['error_rate']:.2f}"
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        cells.append([row["source"], str(row["num_images"]), str(row["errors"]), rate, interval])
    lines = ["".join(f"<td style='padding: 0 12px'>{html.escape(cell)}</td>" for cell in line) for line in cells]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
