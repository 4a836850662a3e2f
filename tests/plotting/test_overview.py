import itertools

import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox, TextArea
from matplotlib.transforms import Bbox

from trilemma.plotting import plot_overview

REAL = {"frechet_distance": 4.0}
SERIES = {
    "VAE": [(1, 90.0)],
    "VAE with another prior": [(1, 9.0)],
    "DCGAN": [(1, 124.0)],
    "DDGAN": [(4, 14.0)],
    "student": [(4, 60.0), (1, 84.0)],
    "DDPM": [(200, 12.0), (20, 13.0)],
}


@pytest.fixture
def images(random):
    return random.random((5, 28, 28, 1), "float32")


def overview(series, images, **settings):
    rows = {
        name: ([{"passes_per_image": passes, "frechet_distance": distance} for passes, distance in points], images)
        for name, points in series.items()
    }
    return plot_overview(rows, (REAL, images), **settings)


def boxes(axes):
    """Name -> the box of the name and its images, in pixels, without the line to its point."""
    axes.figure.draw_without_rendering()
    found = {}
    for box in axes.findobj(AnnotationBbox):
        (text,) = box.offsetbox.findobj(TextArea)
        found[text.get_text()] = box.patch.get_window_extent()
    return found


def markers(axes):
    for line in axes.lines[:-1]:
        radius = line.get_markersize() / 2 * axes.figure.dpi / 72
        for x, y in axes.transData.transform(line.get_xydata()):
            yield line.get_label(), Bbox([[x - radius, y - radius], [x + radius, y + radius]])


def assert_readable(figure):
    """At any resolution no row of images covers a point or another row, or leaves the frame."""
    for dpi in (72, 100, 200):
        figure.set_dpi(dpi)
        (axes,) = figure.axes
        found, frame = boxes(axes), axes.get_window_extent()
        assert len(found) == len(axes.lines)
        for one, other in itertools.combinations(found.values(), 2):
            assert not one.overlaps(other)
        for box, (_, marker) in itertools.product(found.values(), markers(axes)):
            assert not box.overlaps(marker)
        for box in found.values():
            assert frame.x0 < box.x0 < box.x1 < frame.x1
            assert frame.y0 < box.y0 < box.y1 < frame.y1


def test_a_family_is_a_curve_from_few_passes_to_many(images):
    (axes,) = overview(SERIES, images, title="MNIST").axes
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_title()) == ("log", "log", "MNIST")
    assert axes.get_xlabel() == "network passes per image (fewer is better)"
    assert axes.get_ylabel() == "Fréchet distance (lower is better)"
    drawn = {line.get_label(): [tuple(point) for point in line.get_xydata()] for line in axes.lines[:-1]}
    assert drawn == {name: sorted(points) for name, points in SERIES.items()}
    assert set(axes.lines[-1].get_ydata()) == {4.0}


def test_nothing_covers_anything(images):
    figure = overview(SERIES, images, title="MNIST")
    assert_readable(figure)
    assert sorted(boxes(figure.axes[0])) == sorted([*SERIES, "real images"])


def test_points_close_to_each_other_stay_readable(images):
    for distances in ([50, 52, 54, 56], [9, 90, 95, 100]):
        assert_readable(overview({str(distance): [(1, distance)] for distance in distances}, images))


def test_a_row_stands_nearest_to_a_point_of_its_own(images):
    (axes,) = overview(SERIES, images).axes
    near = {name: {} for name in SERIES}
    for (name, box), (owner, marker) in itertools.product(boxes(axes).items(), markers(axes)):
        if name in near:
            middle = (marker.min + marker.max) / 2
            gap = np.hypot(*(np.clip(middle, box.min, box.max) - middle))
            near[name][owner] = min(gap, near[name].get(owner, np.inf))
    for name, gaps in near.items():
        assert gaps[name] < 60


def test_a_row_has_the_images_of_its_family_and_its_color(random):
    one, two = (np.full((3, 4, 4, 1), value, "float32") for value in (0.25, 0.75))
    rows = [{"passes_per_image": 1, "frechet_distance": 50.0}], [{"passes_per_image": 9, "frechet_distance": 20.0}]
    (axes,) = plot_overview({"dark": (rows[0], one), "bright": (rows[1], two)}, (REAL, 0 * one)).axes
    colors = {line.get_label(): line.get_color() for line in axes.lines[:-1]} | {"real images": "dimgray"}
    for box in axes.findobj(AnnotationBbox):
        text, picture = box.offsetbox.get_children()
        name = text.get_text()
        assert picture.get_data().shape == (4, 14, 3)
        assert picture.get_data()[0, 0, 0] == {"dark": 0.25, "bright": 0.75, "real images": 0}[name]
        assert text._text.get_color() == colors[name]


def test_more_families_than_styles_are_refused(images):
    with pytest.raises(ValueError, match="8 series"):
        overview({str(i): [(1, 10.0 + i)] for i in range(8)}, images)
