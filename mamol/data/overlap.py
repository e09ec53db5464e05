"""How much of the test split the training split has already seen."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from mamol.data.splits import Pixels


@dataclass(frozen=True)
class Overlap:
    """Overlap of test with train.

    Attributes:
        identical_pixels: Test pixels that are training pixels.
        identical_percent: The same, in percent of the test pixels.
        shared_window_percent: Percent of the test windows that share at least a pixel with a training window; None for
            a pre-cut release, which does not say where samples lie.
        same_class_window_percent: Percent that share a pixel with a training window of their own class.
        shared_polygons: Polygons with training and with test pixels; None if the labels are no polygons.
        shared_polygon_percent: Percent of the test pixels that lie in them.
    """

    identical_pixels: int
    identical_percent: float
    shared_window_percent: float | None
    same_class_window_percent: float | None
    shared_polygons: int | None = None
    shared_polygon_percent: float | None = None

    def plain(self) -> dict[str, Any]:
        """Its fields by name; those of polygons only where there are polygons."""
        polygons = {"shared_polygons", "shared_polygon_percent"}
        return {name: value for name, value in asdict(self).items() if value is not None or name not in polygons}


def measure(train: Pixels, test: Pixels, patch_size: int, *, positions_known: bool = True) -> Overlap:
    """Measures the overlap.

    Two windows of side P share a pixel exactly if their centres are less than P apart in rows and in columns: if the
    Chebyshev distance is below P.

    Args:
        train: Training pixels.
        test: Test pixels.
        patch_size: P.
        positions_known: False for a pre-cut release.
    """
    if not len(test):
        return Overlap(0, 0.0, 0.0, 0.0)
    train_at, test_at = (_at(each) for each in (train, test))
    distance = _distance(train_at, test_at)
    identical = int((distance == 0).sum())
    if not positions_known:
        return Overlap(identical, percent(identical, len(test)), None, None)
    own = np.full(len(test), np.inf)
    for label in np.unique(test.labels):
        mine = test.labels == label
        own[mine] = _distance(train_at[train.labels == label], test_at[mine])
    return Overlap(
        identical_pixels=identical,
        identical_percent=percent(identical, len(test)),
        shared_window_percent=percent(int((distance < patch_size).sum()), len(test)),
        same_class_window_percent=percent(int((own < patch_size).sum()), len(test)),
        **_polygons(train, test),
    )


def _polygons(train: Pixels, test: Pixels) -> dict[str, Any]:
    """The fields of polygons, where the labels are polygons."""
    if train.polygons is None or test.polygons is None:
        return {}
    shared = np.intersect1d(train.polygons, test.polygons)
    pixels = int(np.isin(test.polygons, shared).sum())
    return {"shared_polygons": len(shared), "shared_polygon_percent": percent(pixels, len(test))}


def _at(pixels: Pixels) -> np.ndarray:
    """Rows and columns; scenes, where there are several, lie further apart than any window is wide."""
    at = [pixels.rows, pixels.cols]
    return np.column_stack(at if pixels.scenes is None else [*at, pixels.scenes * float(2**32)])


def _distance(train_at: np.ndarray, test_at: np.ndarray) -> np.ndarray:
    """Chebyshev distance of each test pixel to the nearest training pixel; infinite if there is none."""
    return cKDTree(train_at).query(test_at, p=np.inf)[0] if len(train_at) else np.full(len(test_at), np.inf)


def percent(part: int, whole: int) -> float:
    """A share in percent, rounded as tables keep it; 0 of nothing.

    Args:
        part: Of it.
        whole: All.
    """
    return round(100 * part / whole, 2) if whole else 0.0
