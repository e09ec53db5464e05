"""Arrays and pictures as text inside a page."""

import base64
import io
import zlib
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_PICTURE = 600
"""Rows or columns of a false-colour image."""
QUALITY = 80
LEVELS = (2, 98)
"""Percentiles of a band that become black and white."""


class Packed(TypedDict):
    """An array in a page.

    Attributes:
        shape: Of the array.
        type: ``uint8`` or ``uint16``, little-endian.
        data: zlib's stream of its bytes, row by row, in base64.
    """

    shape: list[int]
    type: str
    data: str


def pack(array: NDArray[np.unsignedinteger]) -> Packed:
    """An array as text.

    Args:
        array: Of whole numbers below 65,536.

    Returns:
        It, with the smaller of the two types.
    """
    small = array.astype("<u2" if array.dtype.itemsize > 1 else "u1")
    stream = zlib.compress(np.ascontiguousarray(small).tobytes(), 9)
    kind = "uint16" if small.itemsize > 1 else "uint8"
    return {"shape": list(array.shape), "type": kind, "data": base64.b64encode(stream).decode()}


def unpack(packed: Packed) -> NDArray[np.unsignedinteger]:
    """The array again.

    Args:
        packed: Of ``pack``.
    """
    kind = "<u2" if packed["type"] == "uint16" else "u1"
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), kind).reshape(packed["shape"])


def eight_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], list[list[float]]]:
    """Measured values in 255 steps per band.

    Args:
        values: (C, …), NaN where nothing was measured.

    Returns:
        0 where nothing was measured, else 1 to 255; and for each band the values that 1 and 255 stand for.
    """
    steps = np.zeros(values.shape, np.uint8)
    ends = []
    for band, told in zip(values, steps, strict=True):
        there = np.isfinite(band)
        low, high = (float(band[there].min()), float(band[there].max())) if there.any() else (0.0, 0.0)
        span = high - low or 1.0
        told[there] = 1 + np.rint(254 * ((band[there].astype(np.float64) - low) / span))
        ends.append([low, high])
    return steps, ends


def false_colour(bands: NDArray[np.float32]) -> str:
    """A picture of what a sensor measured, as the address of an image.

    Args:
        bands: (h, w, C); of three or more the first, the middle and the last third's are red, green and blue
            backwards, as wavelengths ascend; else the first is grey. NaN is black.
    """
    count = bands.shape[2]
    chosen = [count * 5 // 6, count // 2, count // 6] if count >= 3 else [0]
    layers = [_stretched(bands[..., band]) for band in chosen]
    image = Image.fromarray(np.stack(layers, axis=2) if len(layers) > 1 else layers[0])
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _stretched(band: NDArray[np.float32]) -> NDArray[np.uint8]:
    there = np.isfinite(band)
    if not there.any():
        return np.zeros(band.shape, np.uint8)
    low, high = np.percentile(band[there], LEVELS)
    shown = np.clip((np.nan_to_num(band) - low) / (high - low or 1), 0, 1)
    return np.asarray(np.rint(255 * shown * there), np.uint8)


def every(length: int, most: int) -> NDArray[np.int64]:
    """Positions that stand for an axis: the middle of equal stretches, the last of which may be shorter.

    Args:
        length: Of the axis.
        most: How many positions there may be.
    """
    step = step_of(length, most)
    return np.minimum(np.arange(0, length, step) + step // 2, length - 1)


def step_of(length: int, most: int) -> int:
    """The length of the stretches of ``every``.

    Args:
        length: Of the axis.
        most: How many there may be.
    """
    return -(-length // max(1, most))


def chosen_bands(count: int, most: int) -> Sequence[int]:
    """Bands that stand for all, evenly spaced, the first and the last among them.

    Args:
        count: Of all.
        most: How many there may be.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
