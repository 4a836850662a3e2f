"""Widgets of the notebooks; they work in Jupyter and Colab."""

import io

import matplotlib.image
import numpy as np

from trilemma.data import as_float


def show_game(game, show_scores):
    """Builds the game for a person, as a widget with two buttons; works in Jupyter and Colab.

    Args:
        game: Game.
        show_scores: function (rows of `Game.scores`) -> text, shown after the last image.

    Returns:
        ipywidgets.Widget.
    """
    import ipywidgets

    picture = ipywidgets.Image(format="png", width=168, height=168)
    text = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=word) for word in ("real", "generated")]

    def refresh():
        done = len(game.answers)
        if done == len(game.rounds):
            text.value = f"<pre>{show_scores(game.scores())}</pre>"
            for button in buttons:
                button.disabled = True
            return
        text.value = f"image {done + 1} of {len(game.rounds)}: real or generated?"
        image = game.rounds[done][1]
        file = io.BytesIO()
        image = as_float(image[None])[0]
        matplotlib.image.imsave(file, np.repeat(image, 3 // image.shape[-1], axis=-1), format="png")
        picture.value = file.getvalue()

    def clicked(button):
        game.answer(button.description == "real")
        refresh()

    for button in buttons:
        button.on_click(clicked)
    refresh()
    return ipywidgets.VBox([picture, ipywidgets.HBox(buttons), text])
