"""Which pixels of a raster were seen: an invalid one is NaN in all its bands, a valid one is finite in all of them."""

import numpy as np
from numpy.typing import NDArray

from mamol.data.places import MaskPlace, Values

# Rows that are looked at together, so that memory stays small.
ROWS = 32


def marked(data: NDArray, invalid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A fresh raster with NaN at the invalid pixels.

    Args:
        data: (H, W, C) of any type.
        invalid: (H, W).
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is invalid
        result = np.array(data, np.float32, order="C")
    result[invalid] = np.nan
    return result


def not_finite(data: NDArray) -> NDArray[np.bool_]:
    """Pixels with a band that float32 cannot hold as a finite number.

    Args:
        data: (H, W, C) of any type.

    Returns:
        (H, W).
    """
    result = np.zeros(data.shape[:2], bool)
    if data.dtype.kind == "f":
        with np.errstate(over="ignore"):
            for start in range(0, len(data), ROWS):
                part = data[start : start + ROWS].astype(np.float32, copy=False)
                result[start : start + ROWS] = ~np.isfinite(part).all(axis=2)
    return result


def interpreted(data: NDArray, invalid: NDArray[np.bool_], values: Values) -> tuple[NDArray, NDArray[np.bool_]]:
    """Stored numbers as the modality's numbers, and which pixels are invalid.

    Args:
        data: (H, W, C) as stored, with the bands that are wanted.
        invalid: (H, W), what is known otherwise.
        values: Nodata, scale and offset.

    Returns:
        The numbers, of the stored type unless they are scaled, and (H, W).
    """
    if values.nodata is not None:
        invalid = invalid | equals(data, values.nodata).any(axis=2)
    invalid = invalid | not_finite(data)
    if values.scaled:
        with np.errstate(over="ignore", invalid="ignore"):
            data = (data.astype(np.float64) * values.scale + values.offset).astype(np.float32)
        invalid = invalid | not_finite(data)
    return data, invalid


def equals(data: NDArray, number: float) -> NDArray[np.bool_]:
    """Where an array has a number, as its type can hold it.

    Args:
        data: Of any type.
        number: For float32 data it is rounded as they are: 3.4028235e38 in a tag is the largest float32.
    """
    with np.errstate(over="ignore"):
        return data == (data.dtype.type(number) if data.dtype.kind == "f" else number)


def rejected(quality: NDArray, place: MaskPlace) -> NDArray[np.bool_]:
    """The pixels that a quality raster rejects.

    Args:
        quality: (H, W), whole numbers of any type; NaN is rejected.
        place: The rule.
    """
    unknown = ~np.isfinite(quality) if quality.dtype.kind == "f" else np.zeros(quality.shape, bool)
    whole = np.where(unknown, 0, quality).astype(np.int64)
    if place.rule == "bits":
        return unknown | ((whole & sum(1 << bit for bit in set(place.values))) != 0)
    return unknown | (np.isin(whole, place.values) == (place.rule == "invalid"))
