import itertools

import pytest

from trilemma import plotting


def drawn_boxes(figure):
    """The boxes of a diagram with the text in the middle of each: text -> list of extents."""
    figure.draw_without_rendering()
    axes, boxes = figure.axes[0], {}
    for patch in axes.patches:
        extent = patch.get_window_extent()
        middle = ((extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2)
        (text,) = [text for text in axes.texts if text.get_window_extent().contains(*middle) and text.get_text()]
        boxes.setdefault(text.get_text(), []).append((extent, text.get_window_extent()))
    return boxes


def test_unet_shows_every_block_of_the_network():
    boxes = drawn_boxes(plotting.plot_unet((28, 28, 1), (64, 96), (14, 7)))
    counts = {text.replace("\n", ", "): len(extents) for text, extents in boxes.items()}
    assert counts == {
        "noisy image, 1 channel": 1, "velocity, 1 channel": 1, "timestep t": 1, "sines, cosines, 64 numbers": 1,
        "2 dense layers, 256 numbers": 1, "residual block, 64 channels": 1, "residual block, 96 channels": 3,
        "attention, 96 channels": 1, "residual block, 192 → 96": 1, "residual block, 128 → 64": 1,
        "t": 7,  # six residual blocks, and where the embedding is made
    }  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_in_a_unet_overlaps(depth):
    sides = [32, 16, 8][:depth]
    figure = plotting.plot_unet((64, 64, 3), [64, 96, 1024][:depth], sides)
    boxes = drawn_boxes(figure)
    large = [box for text, extents in boxes.items() if text != "t" for box, _ in extents]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(large, 2))
    for text, extents in boxes.items():
        assert all(box.x0 < inner.x0 and inner.x1 < box.x1 for box, inner in extents), text
    texts = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(texts, 2))
    everything = [*texts, *(patch.get_window_extent() for patch in figure.axes[0].patches)]
    assert all(figure.bbox.x0 <= each.x0 and each.x1 <= figure.bbox.x1 for each in everything)
    assert all(figure.bbox.y0 <= each.y0 and each.y1 <= figure.bbox.y1 for each in everything)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert [name for name in names if "×" in name and "fold" not in name] == [
        f"{side} × {side}" for side in (64, *sides, sides[-1])
    ]
    assert sum(name.startswith("skip") for name in names) == depth


def test_unet_with_a_side_missing_is_refused():
    with pytest.raises(ValueError, match="expected one side per width"):
        plotting.plot_unet((28, 28, 1), (64, 96), (14,))
