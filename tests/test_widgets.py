import io

import matplotlib.image
import numpy as np
import pytest

from trilemma.evaluation.hype import Game
from trilemma.widgets import show_game

ipywidgets = pytest.importorskip("ipywidgets")


def images_of(value, count=400):
    """Images that carry their source and their number in their pixels."""
    images = np.full((count, 4, 4, 1), value, "float32")
    images[:, 0, 0, 0] = np.linspace(0, 1, count)
    return images


def new_game(rounds_per_model, **settings):
    return Game(images_of(0.9), {"vae": images_of(0.1), "ddpm": images_of(0.5)}, rounds_per_model, **settings)


def test_widget_plays_by_clicks():
    game = new_game(1)
    widget = show_game(game, lambda rows: f"{len(rows)} rows")
    picture, buttons, text = widget.children
    seen = {picture.value}
    for _ in range(4):
        assert "real or generated?" in text.value
        buttons.children[0].click()
        seen.add(picture.value)
    assert len(seen) == 4
    assert game.answers == [True] * 4
    assert "3 rows" in text.value
    assert all(button.disabled for button in buttons.children)


def test_the_other_button_says_generated():
    game = new_game(1)
    _, buttons, _ = show_game(game, str).children
    assert [button.description for button in buttons.children] == ["real", "generated"]
    buttons.children[1].click()
    assert game.answers == [False]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_is_the_image_of_the_round(channels, random):
    images = random.integers(0, 256, (4, 5, 6, channels), "uint8")
    game = Game(images[:2], {"vae": images[2:]}, 1)
    picture, _, _ = show_game(game, str).children
    shown = matplotlib.image.imread(io.BytesIO(picture.value))[..., :3]
    np.testing.assert_allclose(shown, np.broadcast_to(game.rounds[0][1] / 255, (5, 6, 3)), atol=1e-6)
