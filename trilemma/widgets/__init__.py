"""Widgets of the notebooks: sliders, a pad for drawing, a game; they work in JupyterLab and Colab.

Where nothing runs, as in GitHub's view or `nbconvert --to html`, each shows a picture instead: its output holds a PNG
beside the live view, and viewers without widgets take the PNG. JupyterLab, when it opens a notebook that is not
running, prefers the live view and writes that the model is not found; so `drop_views` takes the live views out of a
notebook before it is committed. Strict nbval compares neither of the two, only the text, which is constant.
"""

from trilemma.widgets.drawing import DrawingPad, as_digit, show_digit_lab
from trilemma.widgets.game import score_table, show_game
from trilemma.widgets.sliders import show_plane, show_slider
from trilemma.widgets.views import drop_views

__all__ = [
    "DrawingPad", "as_digit", "drop_views", "score_table", "show_digit_lab", "show_game", "show_plane", "show_slider",
]  # fmt: skip
