"""Widgets of the notebooks: sliders, a pad for drawing, a game; they work in JupyterLab and Colab.

The output of each holds a live view, a PNG and a text. Where no widgets are known the PNG is shown, and in JupyterLab
as long as the notebook is not trusted. A trusted one that has not run yet shows "model not found", or, where nbconvert
has saved the widgets, some that do not move; the HTML of nbconvert then lacks the PNG too. `drop_views` takes the live
views out of a notebook before it is committed; everything then shows the PNG. Strict nbval compares neither views nor
PNGs, only the texts, which are constant.
"""

from trilemma.widgets.drawing import DrawingPad, as_digit, show_digit_lab
from trilemma.widgets.game import score_table, show_game
from trilemma.widgets.progress import show_progress
from trilemma.widgets.sliders import show_plane, show_slider
from trilemma.widgets.views import drop_views

__all__ = [
    "DrawingPad", "as_digit", "drop_views", "score_table", "show_digit_lab", "show_game", "show_plane",
    "show_progress", "show_slider",
]  # fmt: skip
