"""A raster on a grid that is not its own."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, hypot, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.warp import reproject

from mamol.core.errors import MamolError
from mamol.data.composed import Shifted
from mamol.data.grid import CLOSE, Grid, pixels
from mamol.data.places import Resampled
from mamol.data.sources import Part, Raster

# A tile is what is warped at once: at most so many pixels a side, and so many numbers read for it.
LARGEST, MOST = 512, 2_000_000
# Tiles that a thread keeps: a block with a margin around it needs nine, and the next one six of them again.
KEPT = 12


def onto(source: Raster, grid: Grid, resampling: Resampled, what: str) -> Raster:
    """A raster on a grid: as it is where its pixels are the grid's, else warped; beyond its ground it is invalid.

    Args:
        source: The raster. One that does not say where it lies is taken as it is: only its shape can be wrong.
        grid: The grid.
        resampling: How it is warped.
        what: Its file, for messages.

    Raises:
        MamolError: If it cannot be said how the two lie to each other.
    """
    own = source.grid
    if own.transform is None:
        return source
    if (offset := own.offset(grid)) is not None:
        return source if offset == (0, 0) and own.shape == grid.shape else Shifted(source, grid, *offset)
    if not own.crs or not grid.crs:
        bare = "the scene's grid" if own.crs else "it"
        raise MamolError(
            f"{what}: {bare} has coordinates without a CRS, and the two are not one grid ({own}; scene: {grid}); "
            "write the CRS into the file that lacks it, for example with gdal_edit.py -a_srs EPSG:<number>"
        )
    if np.isnan(pixels(own, grid, *own.mesh())[0]).all():
        raise MamolError(f"{what}: its place cannot be brought to the grid's CRS ({own}; the grid: {grid})")
    return Warped(source, grid, resampling)


def check_overlap(sources: Sequence[Raster], grid: Grid, what: str) -> None:
    """Refuses rasters of which none has ground in common with a grid.

    Args:
        sources: Rasters; those that do not say where they lie are not asked.
        grid: The grid.
        what: Their files, for the message.

    Raises:
        MamolError: If it is so.
    """
    placed = [source.grid for source in sources if source.grid.transform is not None]
    comparable = [own for own in placed if bool(own.crs) == bool(grid.crs)]
    if grid.transform is not None and comparable and not any(grid.overlaps(own) for own in comparable):
        grounds = "; ".join(map(str, comparable[:3]))
        raise MamolError(
            f"{what}: it covers {grounds}, which does not touch the grid: {grid}; "
            "give the file of the same area, or correct the georeference that is wrong"
        )


@dataclass
class Warped(Raster):
    """A raster warped onto a grid, tile by tile.

    GDAL's ``WarpedVRT`` knows the validity that a file states itself. Here it has more parents (quality rasters,
    several marks, NaN without a tag) and must be known before neighbours are mixed: so the marked pixels are read,
    and each tile is warped by itself. A tile is a function of its place alone, so windows equal the whole to the bit.

    Attributes:
        source: The raster, placed on the earth.
        grid: The grid, placed too.
        resampling: How values between pixels come about.
    """

    source: Raster
    grid: Grid
    resampling: Resampled
    bands: int = field(init=False)

    def __post_init__(self) -> None:
        """Takes the bands over, and measures how large the grid's pixels are in the raster."""
        self.bands = self.source.bands
        self.steps = _steps(self.grid, self.source.grid)
        side = min(LARGEST, (MOST / self.bands) ** 0.5 / max(1.0, *self.steps))
        self.tile = 2 ** max(0, floor(log2(max(side, 1.0))))
        self._tiles = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the tiles."""
        return {name: value for name, value in self.__dict__.items() if name != "_tiles"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes it up with no tile.

        Args:
            state: Of ``__getstate__``.
        """
        self.__dict__.update(state, _tiles=threading.local())

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the grid.
            cols: Columns inside the grid.
        """
        result = np.empty((rows.stop - rows.start, cols.stop - cols.start, self.bands), np.float32)
        for top in range(rows.start // self.tile * self.tile, rows.stop, self.tile):
            for left in range(cols.start // self.tile * self.tile, cols.stop, self.tile):
                into_rows, from_rows = _meeting(rows, top, self.tile)
                into_cols, from_cols = _meeting(cols, left, self.tile)
                result[into_rows, into_cols] = self._kept(top, left)[from_rows, from_cols]
        return result, np.isnan(result[:, :, 0])

    def _kept(self, top: int, left: int) -> NDArray[np.float32]:
        kept = self._tiles.__dict__.setdefault("kept", OrderedDict())
        if (top, left) not in kept:
            kept[top, left] = self._warp(top, left)
            if len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end((top, left))
        return kept[top, left]

    def _warp(self, top: int, left: int) -> NDArray[np.float32]:
        """One tile, whole even beyond the grid's end."""
        moved = self.grid.moved(top, left)
        result = np.full((self.bands, self.tile, self.tile), np.nan, np.float32)
        area = self._needed(replace(self.grid, height=self.tile, width=self.tile, transform=tuple(moved)[:6]))
        if area is not None:
            data = self.source.read(*area)
            if not np.isnan(data[:, :, 0]).all():
                self._reproject(np.ascontiguousarray(np.moveaxis(data, -1, 0)), result, area, moved)
        # Cubic weights may overflow: what is not finite in a band was not seen in any.
        result[:, ~np.isfinite(result).all(axis=0)] = np.nan
        return np.moveaxis(result, 0, -1)

    def _reproject(
        self, data: NDArray[np.float32], result: NDArray[np.float32], area: tuple[slice, slice], moved: Affine
    ) -> None:
        rows, cols = area
        across, down = self.steps
        try:
            reproject(
                data,
                result,
                src_transform=self.source.grid.moved(rows.start, cols.start),
                src_crs=CRS.from_wkt(self.source.grid.crs),
                src_nodata=np.nan,
                dst_transform=moved,
                dst_crs=CRS.from_wkt(self.grid.crs),
                dst_nodata=np.nan,
                resampling=Resampling[self.resampling],
                # Left to itself, GDAL estimates the scale anew for every part that it is given.
                XSCALE=1 / across,
                YSCALE=1 / down,
            )
        except (RasterioError, CPLE_BaseError) as error:
            raise MamolError(f"a raster of {self.source.grid} cannot be warped onto {self.grid} ({error})") from error
        if self.resampling == "average" and self._at_border(rows, cols):
            result[:, ~self._inside(moved)] = np.nan

    def _at_border(self, rows: slice, cols: slice) -> bool:
        height, width = self.source.grid.shape
        return 0 in (rows.start, cols.start) or rows.stop == height or cols.stop == width

    def _inside(self, moved: Affine) -> NDArray[np.bool_]:
        """Pixels of a tile whose centre the raster holds; GDAL asks for that with every resampling but the average."""
        rows, cols = np.mgrid[: self.tile, : self.tile] + 0.5
        tile = replace(self.grid, transform=tuple(moved)[:6])
        xs, ys = pixels(tile, self.source.grid, cols.ravel(), rows.ravel())
        height, width = self.source.grid.shape
        inside = (xs > -CLOSE) & (xs < width + CLOSE) & (ys > -CLOSE) & (ys < height + CLOSE)
        return inside.reshape(self.tile, self.tile)

    def _needed(self, tile: Grid) -> tuple[slice, slice] | None:
        """Rows and columns of the raster that a tile depends on; None: it does not touch the raster."""
        slices = []
        for along, size, step in zip(
            pixels(tile, self.source.grid, *tile.mesh())[::-1],
            self.source.grid.shape,
            self.steps[::-1],
            strict=True,
        ):
            if np.isnan(along).all():
                return None
            margin = ceil(3 * max(1.0, step)) + 2
            start, stop = max(0, floor(np.nanmin(along)) - margin), min(size, ceil(np.nanmax(along)) + margin)
            if start >= stop:
                return None
            slices.append(slice(start, stop))
        return slices[0], slices[1]


def _steps(grid: Grid, source: Grid) -> tuple[float, float]:
    """Width and height of a grid's pixel in a raster's pixels, where the two meet."""
    cols, rows = pixels(source, grid, *source.mesh())
    nearest = np.nanargmin(np.hypot(cols - grid.width / 2, rows - grid.height / 2))
    col, row = np.clip(cols[nearest], 0, grid.width), np.clip(rows[nearest], 0, grid.height)
    around = pixels(grid, source, col + np.array([-0.5, 0.5, 0, 0]), row + np.array([0, 0, -0.5, 0.5]))
    across, down = (hypot(each[1] - each[0], each[3] - each[2]) for each in around)
    # Where the projection ends just there, nothing is known, and nothing is averaged.
    return (across, down) if np.isfinite([across, down]).all() and min(across, down) > 0 else (1.0, 1.0)


def _meeting(wanted: slice, start: int, size: int) -> tuple[slice, slice]:
    """Where wanted pixels meet a tile, counted in what is wanted and in the tile."""
    low, high = max(wanted.start, start), min(wanted.stop, start + size)
    return slice(low - wanted.start, high - wanted.start), slice(low - start, high - start)
