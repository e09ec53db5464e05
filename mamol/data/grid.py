"""Grids of pixels on the earth: how they lie to each other, and what is refused where they contradict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from mamol.core.errors import MamolError
from mamol.data.places import GridPlace

CLOSE = 0.01
"""Pixels by which two grids may differ and still be the same: writers round differently."""
LONGEST = 2_000_000
"""Most rows or columns of a grid; more is a resolution in other units than the bounds."""
MESH = 21
Points = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class GeoReference:
    """Where a raster lies on the earth.

    Attributes:
        crs: Coordinate reference system as WKT.
        transform: The six affine numbers in rasterio's order (a, b, c, d, e, f).
    """

    crs: str
    transform: tuple[float, ...]


@dataclass(frozen=True)
class Grid:
    """Rows and columns, and where they lie as far as a file says so.

    Attributes:
        height: Rows.
        width: Columns.
        crs: Coordinate reference system as WKT; "" if the file has none.
        transform: The six affine numbers; None if the file has none.
    """

    height: int
    width: int
    crs: str = ""
    transform: tuple[float, ...] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def placed(self) -> bool:
        """Whether its place on the earth is known."""
        return bool(self.crs) and self.transform is not None

    @property
    def georeference(self) -> GeoReference | None:
        """The place; None unless it is known."""
        return GeoReference(self.crs, self.transform) if self.crs and self.transform is not None else None

    @property
    def affine(self) -> Affine:
        """From column and row to coordinates."""
        return Affine(*self.transform) if self.transform is not None else Affine.identity()

    @property
    def area(self) -> float:
        """Of a pixel, in the units of the CRS."""
        return abs(self.affine.determinant)

    def moved(self, row: int, col: int) -> Affine:
        """From column and row to coordinates, counted from another pixel.

        Args:
            row: The pixel's row; may lie beyond the grid.
            col: Its column.
        """
        return window_transform(Window(col, row, 1, 1), self.affine)

    def mesh(self) -> Points:
        """Columns and rows of points all over the grid, its border included."""
        cols, rows = np.meshgrid(np.linspace(0, self.width, MESH), np.linspace(0, self.height, MESH))
        return cols.ravel(), rows.ravel()

    def offset(self, other: "Grid") -> tuple[int, int] | None:
        """Row and column of another grid's first pixel, if its pixels are pixels of this one's endless lattice.

        Args:
            other: The other grid.
        """
        if not same_crs(self, other) or (self.transform is None) != (other.transform is None):
            return None
        cols, rows = pixels(other, self, [0, other.width, 0, other.width], [0, 0, other.height, other.height])
        col, row = round(float(cols[0])), round(float(rows[0]))
        wanted = np.array([[col, col + other.width] * 2, [row, row, row + other.height, row + other.height]])
        return (row, col) if np.abs(np.stack([cols, rows]) - wanted).max() < CLOSE else None

    def overlaps(self, other: "Grid") -> bool:
        """Whether the two have ground in common, as far as the boxes around them say.

        Args:
            other: The other grid.
        """
        return _touches(self, other) and _touches(other, self)

    def covering(self, others: Sequence["Grid"]) -> "Grid":
        """This grid continued until it covers others too.

        Args:
            others: The other grids.
        """
        cols, rows = (np.concatenate(each) for each in zip(*(pixels(o, self, *o.mesh()) for o in others), strict=True))
        left, top = (min(0, floor(np.nanmin(each) + CLOSE)) for each in (cols, rows))
        right, bottom = max(self.width, ceil(np.nanmax(cols) - CLOSE)), max(self.height, ceil(np.nanmax(rows) - CLOSE))
        moved = tuple(self.moved(top, left))[:6]
        return replace(self, height=bottom - top, width=right - left, transform=moved)

    def __str__(self) -> str:
        """The ground that it covers, as messages show it."""
        if self.transform is None:
            return f"{self.height} x {self.width} pixels without georeference"
        xs, ys = applied(self.affine, np.array([0.0, self.width] * 2), np.repeat([0.0, self.height], 2))
        ground = f"x {xs.min():.10g} to {xs.max():.10g}, y {ys.min():.10g} to {ys.max():.10g}"
        if not self.crs:
            return f"{ground} without a CRS"
        code = CRS.from_wkt(self.crs).to_epsg()
        return f"{ground} in {f'EPSG:{code}' if code else self.crs.split(chr(34))[1]}"


def same_crs(one: Grid, other: Grid) -> bool:
    """Whether two grids are in one CRS, or both in none.

    Args:
        one: A grid.
        other: Another.
    """
    if one.crs == other.crs or not (one.crs and other.crs):
        return one.crs == other.crs
    return bool(CRS.from_wkt(one.crs) == CRS.from_wkt(other.crs))


def applied(affine: Affine, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Points:
    """Points after an affine transform.

    Args:
        affine: The transform.
        xs: First coordinates.
        ys: Second coordinates.
    """
    return affine.a * xs + affine.b * ys + affine.c, affine.d * xs + affine.e * ys + affine.f


def pixels(source: Grid, target: Grid, cols: ArrayLike, rows: ArrayLike) -> Points:
    """Points in one grid's pixels, in another grid's pixels.

    Args:
        source: The grid that the points are given in; pixel (0, 0) begins at 0, 0.
        target: The other grid.
        cols: Their columns.
        rows: Their rows.

    Returns:
        Columns and rows in the other grid; NaN where the projection ends.
    """
    xs, ys = applied(source.affine, np.asarray(cols, np.float64), np.asarray(rows, np.float64))
    if not same_crs(source, target):
        xs, ys = _transformed(CRS.from_wkt(source.crs), CRS.from_wkt(target.crs), xs, ys)
    cols, rows = applied(~target.affine, xs, ys)
    known = np.isfinite(cols) & np.isfinite(rows)
    return np.where(known, cols, np.nan), np.where(known, rows, np.nan)


def _transformed(source: CRS, target: CRS, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Points:
    try:
        found = transform_points(source, target, xs.tolist(), ys.tolist())
    except (CPLE_BaseError, CRSError):
        if len(xs) == 1:
            return np.array([np.nan]), np.array([np.nan])
        # One point beyond the projection fails them all.
        single = [_transformed(source, target, xs[i : i + 1], ys[i : i + 1]) for i in range(len(xs))]
        found = [np.concatenate(each) for each in zip(*single, strict=True)]
    return np.array(found[0], np.float64), np.array(found[1], np.float64)


def _touches(one: Grid, other: Grid) -> bool:
    cols, rows = pixels(other, one, *other.mesh())
    if np.isnan(cols).all():
        return False
    across = np.nanmin(cols) < one.width - CLOSE and np.nanmax(cols) > CLOSE
    return bool(across and np.nanmin(rows) < one.height - CLOSE and np.nanmax(rows) > CLOSE)


def grid_of(place: GridPlace) -> Grid:
    """The grid that numbers describe.

    Args:
        place: CRS, resolution and bounds.

    Raises:
        MamolError: If the CRS is unknown, or the grid would have no pixel or far too many.
    """
    try:
        crs = CRS.from_user_input(place.crs)
    except CRSError as error:
        raise MamolError(f"grid: crs {place.crs!r} is unknown ({error}); give EPSG:<number> or WKT") from error
    left, bottom, right, top = place.bounds
    across, down = place.resolution
    width, height = ((right - left) / across, (top - bottom) / down)
    if not (0 < width <= LONGEST and 0 < height <= LONGEST):
        raise MamolError(
            f"grid: bounds {list(place.bounds)} with resolution {list(place.resolution)} make {height:g} x {width:g} "
            f"pixels; expected left, bottom, right, top and at most {LONGEST} a side, all in the units of {place.crs}"
        )
    transform = (across, 0.0, left, 0.0, -down, top)
    return Grid(max(1, ceil(height - CLOSE)), max(1, ceil(width - CLOSE)), crs.to_wkt(), transform)
