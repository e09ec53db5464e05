"""Rasters put together from others: masked, moved, mosaics and stacks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mamol.data.grid import Grid
from mamol.data.places import MaskPlace
from mamol.data.sources import Part, Raster
from mamol.data.validity import rejected


@dataclass
class Quality(Raster):
    """A quality raster as a mask: NaN at the pixels that it rejects, 0 elsewhere.

    Attributes:
        source: The quality raster; what it says of its own nodata is not looked at, as the rule lists values.
        place: The rule.
    """

    source: Raster
    place: MaskPlace
    grid: Grid = field(init=False)
    bands: int = 1

    def __post_init__(self) -> None:
        """Takes the grid over."""
        self.grid = self.source.grid

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        data, _ = self.source.stored(rows, cols)
        return np.zeros((*data.shape[:2], 1), np.float32), rejected(data[:, :, 0], self.place)


@dataclass
class Masked(Raster):
    """A raster whose pixels are invalid, too, where a mask on the same grid is."""

    source: Raster
    mask: Raster
    grid: Grid = field(init=False)
    bands: int = field(init=False)

    def __post_init__(self) -> None:
        """Takes grid and bands over."""
        self.grid, self.bands = self.source.grid, self.source.bands

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        data, invalid = self.source.stored(rows, cols)
        return data, invalid | self.mask.stored(rows, cols)[1]


@dataclass
class Shifted(Raster):
    """A raster on a grid whose pixels are its own, further up or down: nothing is interpolated.

    Attributes:
        source: The raster.
        grid: The grid.
        row: The raster's row at the grid's first one; may be negative.
        col: The same for columns.
    """

    source: Raster
    grid: Grid
    row: int
    col: int
    bands: int = field(init=False)

    def __post_init__(self) -> None:
        """Takes the bands over."""
        self.bands = self.source.bands

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the grid.
            cols: Columns inside the grid.
        """
        into_rows, from_rows = _common(rows, self.row, self.source.height)
        into_cols, from_cols = _common(cols, self.col, self.source.width)
        part, holes = self.source.stored(from_rows, from_cols)
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        if holes.shape == shape:
            return part, holes
        data, invalid = np.zeros((*shape, self.bands), part.dtype), np.ones(shape, bool)
        data[into_rows, into_cols], invalid[into_rows, into_cols] = part, holes
        return data, invalid


def _common(wanted: slice, shift: int, size: int) -> tuple[slice, slice]:
    """Where a line of wanted pixels meets a raster, counted in what is wanted and in the raster."""
    start = min(max(wanted.start + shift, 0), size)
    stop = min(max(wanted.stop + shift, start), size)
    return slice(start - shift - wanted.start, stop - shift - wanted.start), slice(start, stop)


@dataclass
class Mosaic(Raster):
    """Rasters on one grid, of which the first that saw a pixel counts."""

    sources: Sequence[Raster]
    grid: Grid = field(init=False)
    bands: int = field(init=False)

    def __post_init__(self) -> None:
        """Takes grid and bands over."""
        self.grid, self.bands = self.sources[0].grid, self.sources[0].bands

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        data, invalid = self.sources[0].stored(rows, cols)
        for source in self.sources[1:]:
            if not invalid.any():
                break
            more, holes = source.stored(rows, cols)
            new = invalid & ~holes
            data = np.where(new[:, :, None], more, data)
            invalid = invalid & holes
        return data, invalid


@dataclass
class Stack(Raster):
    """Rasters on one grid as the bands of one; a pixel that one of them did not see is invalid."""

    sources: Sequence[Raster]
    grid: Grid = field(init=False)
    bands: int = field(init=False)

    def __post_init__(self) -> None:
        """Takes the grid over."""
        self.grid, self.bands = self.sources[0].grid, sum(source.bands for source in self.sources)

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        parts = [source.stored(rows, cols) for source in self.sources]
        return np.concatenate([data for data, _ in parts], axis=2), np.logical_or.reduce([bad for _, bad in parts])
