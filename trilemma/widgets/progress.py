"""A progress bar that stands among a cell's output, not in the red box of its errors, and leaves nothing behind."""

from IPython.display import display
from tqdm.notebook import tqdm_notebook

from trilemma.widgets.views import VIEW

# Seconds between two moves of a bar, each of which is four messages. What runs a notebook without a page (nbval) reads
# them after the cell, and of thousands the last ones are lost: findings/nbval_loses_messages.sh.
INTERVAL = 0.5


def show_progress(iterable, description=""):
    """Goes through an iterable and shows how far it is; the bar vanishes at the end.

    Args:
        iterable: with a length, for a bar that fills.
        description: what is being done, for example "epoch 1".

    Returns:
        Iterator over the same items. Its saved output is an empty text, the same on every run, so that strict nbval
        accepts it.
    """
    bar = tqdm_notebook(iterable, desc=description, mininterval=INTERVAL, display=False, leave=False)
    view = {"version_major": 2, "version_minor": 0, "model_id": bar.container.model_id}
    display({VIEW: view, "text/plain": ""}, raw=True)
    return bar
