"""Windows around pixels, cut in one vectorised gather."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Cutter(Protocol):
    """Anything that has a window per pixel."""

    channels: int
    size: int

    def cut(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Windows of pixels.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """

    def centres(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Values of the pixels themselves.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.

        Returns:
            (B, C), in the source's type.
        """


class ChunkedRows:
    """Items along one axis that lie in several arrays, such as the record batches of a memory-mapped table."""

    def __init__(self, chunks: Sequence[np.ndarray]) -> None:
        """Keeps views only.

        Args:
            chunks: At least one array (n_i, …) of the same item shape and type.
        """
        self._chunks = list(chunks)
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
        if len(self._chunks) == 1:
            return self._chunks[0].take(indices, axis=0)
        result = np.empty(indices.shape + self.item_shape, self._chunks[0].dtype)
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            result[here] = self._chunks[number].take(indices[here] - self._starts[number], axis=0)
        return result


class WindowCutter:
    """Cuts windows out of a raster.

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
        self._set_up(ChunkedRows([raster.reshape(height * width, channels)]), height, width, size)

    @classmethod
    def of_pixels(cls, pixels: ChunkedRows, height: int, width: int, size: int) -> "WindowCutter":
        """A cutter over a raster whose pixels lie in chunks.

        Args:
            pixels: H·W items (C,) in row-major order.
            height: H, rows of the raster.
            width: W, columns of the raster.
            size: Side P of the windows, in pixels.
        """
        cutter = cls.__new__(cls)
        cutter._set_up(pixels, height, width, size)
        return cutter

    def _set_up(self, pixels: ChunkedRows, height: int, width: int, size: int) -> None:
        self._pixels, self._height, self._width, self.size = pixels, height, width, size
        self.channels = pixels.item_shape[0]

    def cut(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Windows of pixels.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """
        window_rows = window_positions(rows, self.size, self._height)
        window_cols = window_positions(cols, self.size, self._width)
        windows = self._pixels.take(window_rows[:, :, None] * self._width + window_cols[:, None, :])
        return np.ascontiguousarray(windows.transpose(0, 3, 1, 2), dtype=np.float32)

    def centres(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Values of the pixels themselves.

        Args:
            rows: (B,) integers, the pixels' rows from 0.
            cols: (B,) integers, their columns from 0.

        Returns:
            (B, C), in the raster's type.
        """
        return self._pixels.take(np.asarray(rows, np.int64) * self._width + np.asarray(cols, np.int64))


def window_positions(centres: np.ndarray, size: int, length: int) -> np.ndarray:
    """What windows hold along one axis, (B, P).

    Args:
        centres: (B,) integers, where the windows' middles are.
        size: P.
        length: Of the axis.
    """
    return mirrored(np.asarray(centres, np.int64)[:, None] + np.arange(size) - size // 2, length)


def mirrored(positions: np.ndarray, length: int) -> np.ndarray:
    """Positions beyond 0 … length-1 reflected back, the border itself repeated.

    Args:
        positions: Integers of any shape.
        length: Of the axis.
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

    def cut(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Windows of samples.

        Args:
            rows: (B,) integers, sample numbers from 0.
            cols: (B,), all 0; they are not looked at.

        Returns:
            A fresh (B, C, P, P) float32 array.
        """
        return np.ascontiguousarray(self._samples[rows], dtype=np.float32)

    def centres(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Values at the windows' centre pixel.

        Args:
            rows: (B,) integers, sample numbers from 0.
            cols: (B,), all 0; they are not looked at.

        Returns:
            (B, C), in the samples' type.
        """
        return self._samples[rows, :, self.size // 2, self.size // 2]
