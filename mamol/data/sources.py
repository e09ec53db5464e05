"""Rasters that are read in parts."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Source(Protocol):
    """A raster on a scene's grid; it can be pickled.

    Attributes:
        height: Rows of the grid.
        width: Columns of the grid.
        bands: Number of bands.
    """

    height: int
    width: int
    bands: int

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A part of it.

        Args:
            rows: Inside the grid.
            cols: Inside the grid.

        Returns:
            (h, w, C), NaN in all bands of invalid pixels.
        """


class ArraySource:
    """A raster in memory."""

    def __init__(self, array: np.ndarray) -> None:
        """Keeps a view.

        Args:
            array: (H, W, C) of any real type.
        """
        self._array = array
        self.height, self.width, self.bands = array.shape

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A part of it.

        Args:
            rows: Inside the grid.
            cols: Inside the grid.
        """
        return np.ascontiguousarray(self._array[rows, cols], dtype=np.float32)
