"""The parts of a map's figure have places of their own, whatever the scene's shape and the number of classes."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

from mamol.evaluation.plots import class_map

SHAPES = [(349, 1905), (166, 600), (332, 485), (100, 100), (1723, 476), (600, 30), (40, 2000), (1, 300), (300, 1)]
LONG = tuple(f"{number} residential area with a very long name{' or two' * (number % 3)}" for number in range(20))
CLASSES = {"few": ("water", "trees"), "twenty": tuple("abcdefghijklmnopqrst"), "long": LONG}
TITLES = ("Trento", "Houston 2013: mamol with hsi+lidar+sar+ms (synthetic scene, random frozen weights)")


def boxes(figure: Figure) -> dict[str, Bbox]:
    """Where title, legend and panels, their labels included, are drawn, in pixels."""
    figure.draw_without_rendering()
    parts = {axes.get_label(): axes.get_tightbbox() for axes in figure.axes}
    (legend,) = figure.legends
    return {"title": figure._suptitle.get_window_extent(), "legend": legend.get_window_extent(), **parts}  # type: ignore[attr-defined]


def overlap(a: Bbox, b: Bbox) -> float:
    """The lesser side of the common part, in pixels; negative where there is none."""
    return min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))


@pytest.mark.parametrize("title", TITLES, ids=("short", "long"))
@pytest.mark.parametrize("truth", [False, True], ids=("map", "beside the truth"))
@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_nothing_covers_anything_and_all_is_on_the_page(
    shape: tuple[int, int], classes: tuple[str, ...], truth: bool, title: str
) -> None:
    classified = np.arange(shape[0] * shape[1]).reshape(shape) % len(classes)
    figure = class_map(classified, classes, title=title, labels=classified if truth else None)
    found = boxes(figure)
    for (one, a), (other, b) in combinations(found.items(), 2):
        assert overlap(a, b) <= 0, f"{one} and {other} overlap"
    width, height = figure.get_size_inches() * figure.dpi
    for name, box in found.items():
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= width, name
        assert box.y1 <= height, name


@pytest.mark.parametrize("shape", SHAPES[:5], ids=lambda shape: "x".join(map(str, shape)))
def test_pixels_are_square(shape: tuple[int, int]) -> None:
    figure = class_map(np.zeros(shape, int), LONG, title="map")
    figure.draw_without_rendering()
    panel = figure.axes[0].get_window_extent()
    assert panel.width / panel.height == pytest.approx(shape[1] / shape[0], rel=0.01)


def beside(shape: tuple[int, int], classes: tuple[str, ...]) -> bool:
    figure = class_map(np.zeros(shape, int), classes, title="map")
    found = boxes(figure)
    return bool(found["legend"].x0 > found["classified"].x1)


def test_the_legend_is_beside_the_map_but_for_wide_scenes_with_more_classes_than_are_high() -> None:
    assert beside((100, 100), LONG)
    assert beside((600, 30), LONG)
    assert beside((166, 600), CLASSES["few"])
    assert not beside((349, 1905), LONG)


def numbers(axes: Axes) -> list[Bbox]:
    return [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_numbers_of_an_axis_do_not_run_into_each_other(shape: tuple[int, int]) -> None:
    figure = class_map(np.zeros(shape, int), ("water",), title="map")
    figure.draw_without_rendering()
    left, right = figure.axes[0].get_window_extent().intervalx
    shown = [box for box in numbers(figure.axes[0]) if left - 1 <= (box.x0 + box.x1) / 2 <= right + 1]
    assert shown
    assert all(a.x1 < b.x0 for a, b in pairwise(shown))


def test_the_legend_names_every_class_in_its_own_colour() -> None:
    figure = class_map(np.array([[0, 1]]), ("water", "trees"), title="map", colours=("#0000ff", "#006400"))
    (legend,) = figure.legends
    assert isinstance(legend, Legend)
    named = {t.get_text(): p.get_facecolor() for t, p in zip(legend.get_texts(), legend.get_patches(), strict=True)}
    assert named == {"water": (0, 0, 1, 1), "trees": (0, pytest.approx(100 / 255), 0, 1)}
    image = figure.axes[0].images[0]
    assert image.to_rgba(image.get_array(), bytes=True)[0, :, :3].tolist() == [[0, 0, 255], [0, 100, 0]]
