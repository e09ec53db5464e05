"""Windows around pixels, cut in one vectorised gather."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mamol.data.extents import Extents

TOGETHER = 8
"""Windows that are cut before their axes are exchanged: few enough to stay in a cache in between."""


class Cutter(Protocol):
    """Anything that has a window per pixel."""

    channels: int
    size: int

    def cut(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Windows of pixels.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.
            scenes: (B,) integers, their scenes from 0; None where there is one.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """

    def centres(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Values of the pixels themselves.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.
            scenes: (B,) integers, their scenes from 0; None where there is one.

        Returns:
            (B, C), in the source's type.
        """


class ChunkedRows:
    """Items along one axis that lie in several arrays, such as the record batches of a memory-mapped table."""

    def __init__(self, chunks: Sequence[np.ndarray]) -> None:
        """Keeps views only.

        Args:
            chunks: At least one array (n_i, …) of the same item shape; of several types, the one that holds all counts.
        """
        self._chunks = list(chunks)
        self._type = np.result_type(*{chunk.dtype for chunk in self._chunks})
        self._starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    def __len__(self) -> int:
        """Number of items in all chunks."""
        return int(self._starts[-1])

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self._chunks[0].shape[1:]

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Some of the items.

        Args:
            indices: Item numbers from 0 over all chunks, integers of any shape.

        Returns:
            A fresh array of shape ``indices.shape + item_shape``.
        """
        lowest, highest = (indices.min(), indices.max()) if indices.size else (0, 0)
        first, last = np.searchsorted(self._starts, (lowest, highest), side="right") - 1
        if first == last:
            return self._chunks[first].take(indices - self._starts[first], axis=0).astype(self._type, copy=False)
        result = np.empty(indices.shape + self.item_shape, self._type)
        for number in range(first, last + 1):
            here = (indices >= self._starts[number]) & (indices < self._starts[number + 1])
            result[here] = self._chunks[number].take(indices[here] - self._starts[number], axis=0)
        return result


class WindowCutter:
    """Cuts windows out of a raster, or out of those of several scenes, of which no window leaves its own.

    The window of pixel (r, c) has rows r-P//2 … r-P//2+P-1 and columns likewise, so that the pixel is at index P//2;
    for P = 14 these are the rows r-7 … r+6 of the released code (dataloader_2013.py:53-60). Beyond the border the scene
    is mirrored with the border pixel repeated (symmetric padding), as often as a small scene needs it.
    """

    def __init__(self, raster: np.ndarray, size: int) -> None:
        """Keeps a view of the raster; nothing is copied if it is C-contiguous.

        Args:
            raster: (H, W, C) of any real type.
            size: Side P of the windows, in pixels.
        """
        height, width, channels = raster.shape
        pixels = ChunkedRows([raster.reshape(height * width, channels)])
        self._set_up(pixels, Extents.of_one(height, width), size)

    @classmethod
    def of_pixels(cls, pixels: ChunkedRows, extents: Extents, size: int) -> "WindowCutter":
        """A cutter over rasters whose pixels lie in chunks.

        Args:
            pixels: Items (C,), in row-major order, scene after scene.
            extents: The scenes' sizes.
            size: Side P of the windows, in pixels.
        """
        cutter = cls.__new__(cls)
        cutter._set_up(pixels, extents, size)
        return cutter

    def _set_up(self, pixels: ChunkedRows, extents: Extents, size: int) -> None:
        self._pixels, self._extents, self.size = pixels, extents, size
        self.channels = pixels.item_shape[0]

    def cut(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Windows of pixels.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.
            scenes: (B,) integers, their scenes from 0; None where there is one.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """
        numbers = window_numbers(self._extents, self.size, rows, cols, scenes)
        windows = np.empty((len(numbers), self.channels, self.size, self.size), np.float32)
        by_place = np.argsort(numbers[:, 0, 0], kind="stable")
        for start in range(0, len(numbers), TOGETHER):
            some = by_place[start : start + TOGETHER]
            windows[some] = self._pixels.take(numbers[some]).transpose(0, 3, 1, 2)
        return windows

    def centres(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Values of the pixels themselves.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.
            scenes: (B,) integers, their scenes from 0; None where there is one.

        Returns:
            (B, C), in the rasters' type.
        """
        return self._pixels.take(self._extents.numbers(rows, cols, scenes))


def window_numbers(
    extents: Extents, size: int, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None
) -> np.ndarray:
    """The numbers of the pixels that windows hold.

    Args:
        extents: The scenes' sizes.
        size: Side P of the windows, in pixels.
        rows: (B,) integers, the rows of the pixels in the windows' middles.
        cols: (B,) integers, their columns.
        scenes: (B,) integers, their scenes; None where there is one.

    Returns:
        (B, P, P).
    """
    heights, widths, starts = (each[:, None] for each in extents.sizes_at(scenes))
    window_rows = starts + widths * mirrored(_along(rows, size), heights)
    window_cols = mirrored(_along(cols, size), widths)
    return np.asarray(window_rows[:, :, None] + window_cols[:, None, :])


def _along(middles: np.ndarray, size: int) -> np.ndarray:
    """(B, P), where windows lie along an axis; beyond the border, too."""
    return np.asarray(np.asarray(middles, np.int64)[:, None] + np.arange(size) - size // 2)


def inside_scene(
    extents: Extents, size: int, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None
) -> np.ndarray:
    """Which pixels of windows lie in their scene; the others are mirrored ones.

    Args:
        extents: As of ``window_numbers``, here and below.
        size: Side P.
        rows: Of the middles.
        cols: Of the middles.
        scenes: Of the middles.

    Returns:
        (B, P, P) bool.
    """
    heights, widths, _ = (each[:, None] for each in extents.sizes_at(scenes))
    down, across = _along(rows, size), _along(cols, size)
    inside = ((down >= 0) & (down < heights))[:, :, None] & ((across >= 0) & (across < widths))[:, None, :]
    return np.asarray(inside)


def mirrored(positions: np.ndarray, length: int | np.ndarray) -> np.ndarray:
    """Positions beyond 0 … length-1 reflected back, the border itself repeated.

    Args:
        positions: Integers of any shape.
        length: Of the axis; one for all, or of a shape that goes with the positions.
    """
    positions = positions % (2 * length)
    return np.where(positions < length, positions, 2 * length - 1 - positions)


class SampleCutter:
    """The windows of a pre-cut release, whose samples stand in for pixels: row = sample, column 0."""

    def __init__(self, samples: np.ndarray) -> None:
        """Keeps a view.

        Args:
            samples: (N, 1, C, P, P).
        """
        self._samples = samples[:, 0]
        self.channels, self.size = samples.shape[2], samples.shape[3]

    def cut(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Windows of samples.

        Args:
            rows: (B,) integers, sample numbers from 0.
            cols: (B,), all 0; they are not looked at.
            scenes: None, as a release has no scenes.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """
        return np.ascontiguousarray(self._samples[rows], dtype=np.float32)

    def centres(self, rows: np.ndarray, cols: np.ndarray, scenes: np.ndarray | None = None) -> np.ndarray:
        """Values at the windows' centre pixel.

        Args:
            rows: (B,) integers, sample numbers from 0.
            cols: (B,), all 0; they are not looked at.
            scenes: None, as a release has no scenes.

        Returns:
            (B, C), in the samples' type.
        """
        return self._samples[rows, :, self.size // 2, self.size // 2]
