"""Splits by polygons: a whole field trains, or validates, or tests."""

from collections.abc import Mapping, Sequence

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.labels import LabelMaps

_CODES = {split: number for number, split in enumerate(SPLITS, 1)}


def polygon_pools(
    maps: LabelMaps, wanted: Mapping[str, int | None], rng: np.random.Generator, classes: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The labelled pixels that each split may use so that no polygon is in two.

    Where the polygons' file says which split a polygon belongs to, that holds. Else the polygons of a class are taken
    in random order: as many for training as hold the wanted pixels, then for testing, then for validation. One at least
    stays for testing. Polygons that are left are dealt in proportion to the wanted pixels, so that a split draws its
    pixels from many fields rather than from one large one.

    Args:
        maps: The labels.
        wanted: Split -> pixels per class; None: all.
        rng: Source of chance.
        classes: Names of the classes 1 … K, for messages.

    Returns:
        Split -> (H·W,) labels, 0 where the split may not use the pixel.

    Raises:
        MamolError: If the labels are no polygons, or a class has fewer than two.
    """
    if maps.polygons is None:
        raise MamolError(
            "protocol polygons: the labels are no polygons; name a GeoPackage, GeoJSON or Shapefile in a scene.json, "
            "or use --protocol blocks"
        )
    labels, polygons = maps.every.ravel(), maps.polygons.ravel()
    if maps.assigned is not None:
        split_of_pixel = maps.assigned.ravel()
    else:
        split_of = np.zeros(int(polygons.max()) + 1, np.uint8)
        for number in range(1, int(labels.max()) + 1):
            own, sizes = np.unique(polygons[labels == number], return_counts=True)
            if len(own) < 2:
                raise MamolError(
                    f"protocol polygons: class {called(number, classes)} has {len(own)} polygon with pixels, and one "
                    "to train and one to test are needed; merge the class with another, or use another protocol"
                )
            order = rng.permutation(len(own))
            split_of[own[order]] = _dealt(sizes[order], wanted)
        split_of_pixel = split_of[polygons]
    return {split: np.where(split_of_pixel == code, labels, 0) for split, code in _CODES.items()}


def called(number: int, classes: Sequence[str]) -> str:
    """How messages call a class.

    Args:
        number: From 1.
        classes: Names of the classes; empty where they are not known.
    """
    return classes[number - 1] if classes else f"{number} (counted from 1)"


def _dealt(sizes: np.ndarray, wanted: Mapping[str, int | None]) -> np.ndarray:
    """The split of each polygon of a class.

    Args:
        sizes: Pixels of the polygons, in the order in which they are dealt; two at least.
        wanted: Split -> pixels; None: all.
    """
    result = np.zeros(len(sizes), np.uint8)
    first = 0
    for split, left in (("train", 1), ("test", 0), ("val", 0)):
        end, number = len(sizes) - left, wanted[split]
        if number is not None:
            enough = int(np.searchsorted(np.cumsum(sizes[first:]), number)) + 1 if number else 0
            end = min(first + enough, end)
        result[first:end] = _CODES[split]
        first = end
    for place in range(first, len(sizes)):
        shares = {s: sizes[result == _CODES[s]].sum() / number for s, number in wanted.items() if number}
        result[place] = _CODES[min(shares, key=lambda split: shares[split])]
    return result
