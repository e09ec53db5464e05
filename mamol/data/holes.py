"""Pixels that a sensor did not see: which samples have which modality by nature.

An invalid pixel of a modality is NaN in all its bands. A sample has a modality where its own pixel is valid and at
least a share ``min_valid`` of its window is. A tile, all of whose pixels are its own, needs the share alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.data.labels import LabelMaps
from mamol.data.patches import mirrored

MIN_VALID = 0.5
"""Share of a window that has to be valid, unless the user says otherwise."""
Valid = NDArray[np.bool_]


def check_min_valid(value: float) -> None:
    """Refuses a share that is none.

    Args:
        value: ``min-valid``.

    Raises:
        MamolError: It is not above 0 and at most 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise MamolError(f"min-valid {value!r}: expected a share above 0 and at most 1, such as 0.5")


def valid_pixels(raster: NDArray[np.number]) -> Valid | None:
    """Which pixels a sensor saw.

    Args:
        raster: (H, W, C); of whole windows (N, 1, C, P, P).

    Returns:
        (H, W), False where a band is NaN; (N, 1, P, P) of windows; None if all are valid.
    """
    if raster.dtype.kind != "f":
        return None
    valid = np.empty(raster.shape[:2] + raster.shape[3:], bool)
    for start in range(0, len(raster), 64):  # in slices, so that memory stays small
        valid[start : start + 64] = ~np.isnan(raster[start : start + 64]).any(axis=2)
    return None if valid.all() else valid


def seen(valid: Valid, size: int, min_valid: float, *, middle: bool = True) -> Valid:
    """Where a sample has a modality.

    Args:
        valid: (H, W); or (N, 1, P, P) of whole windows.
        size: Side P of the windows.
        min_valid: Share of a window that has to be valid.
        middle: Whether its middle pixel has to be valid, too.

    Returns:
        (H, W), or (N, 1).
    """
    if valid.ndim == 4:
        return valid[:, :, size // 2, size // 2] & (valid.mean((2, 3)) >= min_valid)
    # Sums over windows by an integral image of the scene, mirrored as the windows are.
    before, behind = size // 2, size - 1 - size // 2
    rows = mirrored(np.arange(-before, valid.shape[0] + behind), valid.shape[0])
    cols = mirrored(np.arange(-before, valid.shape[1] + behind), valid.shape[1])
    integral = np.pad(valid[rows][:, cols], ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)
    counts = integral[size:, size:] - integral[:-size, size:] - integral[size:, :-size] + integral[:-size, :-size]
    enough: Valid = counts >= min_valid * size**2
    return valid & enough if middle else enough


def natural(
    rasters: Mapping[str, NDArray[np.number]], size: int, min_valid: float, *, middle: bool = True
) -> tuple[Valid, ...] | None:
    """Which modalities the pixels of a scene have by nature.

    Args:
        rasters: Modality to (H, W, C), NaN where it is invalid; or whole windows.
        size: Side P of the windows.
        min_valid: Share of a window that has to be valid.
        middle: Whether its middle pixel has to be valid, too; not looked at for whole windows.

    Returns:
        (H, W) of each modality, in order; None if nothing is invalid anywhere.
    """
    valid = [valid_pixels(raster) for raster in rasters.values()]
    if all(each is None for each in valid):
        return None
    shape = next(iter(rasters.values())).shape[:2]
    return tuple(np.ones(shape, bool) if each is None else seen(each, size, min_valid, middle=middle) for each in valid)


def natural_at(there: Sequence[Valid] | None, modalities: int, pixels: NDArray[np.integer]) -> Valid:
    """Which modalities some pixels have.

    Args:
        there: (N,) of each modality, of all pixels; None if nothing is invalid anywhere.
        modalities: M.
        pixels: (n,) numbers of pixels.

    Returns:
        (n, M).
    """
    if there is None:
        return np.ones((len(pixels), modalities), bool)
    return np.stack([each[pixels] for each in there], axis=1)


def without_unseen(maps: LabelMaps, there: tuple[Valid, ...]) -> tuple[LabelMaps, int]:
    """Label maps without the pixels that no sensor saw.

    Args:
        maps: The labels.
        there: Of each modality, in the shape of the maps.

    Returns:
        The maps, and how many labelled pixels were left out.

    Raises:
        MamolError: Nothing is left.
    """
    anything = np.logical_or.reduce(there)
    left = maps.masked(anything)
    if not left.every.any():
        raise MamolError("labels: no sensor saw any labelled pixel; look at nodata, masks and extents of the scene")
    return left, int(((maps.every > 0) & ~anything).sum())
