"""The part of a scene that a map shows: all of it, a box, or what lies inside polygons."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.transform import Affine

from mamol.core.errors import MamolError
from mamol.data.scenes import GeoReference


class Outside(MamolError):
    """A place that a scene does not show."""


@dataclass(frozen=True)
class Frame:
    """A rectangle of a scene's grid, and what of it is shown.

    Attributes:
        top: First row in the scene.
        left: First column.
        height: Rows.
        width: Columns.
        georeference: Where the rectangle lies; None if nobody knows.
        polygons: In the scene's coordinates; only pixels whose centre is inside are shown. Empty: all are.
    """

    top: int
    left: int
    height: int
    width: int
    georeference: GeoReference | None = None
    polygons: tuple[Any, ...] = ()

    def shown(self, first: int, last: int) -> NDArray[np.bool_] | None:
        """Which pixels of some rows are shown.

        Args:
            first: Row of the frame.
            last: The row behind the last one.

        Returns:
            (rows, width); None: all are.
        """
        if not self.polygons or self.georeference is None:
            return None
        transform = Affine(*self.georeference.transform) @ Affine.translation(0, first)
        inside: NDArray[np.bool_] = geometry_mask(self.polygons, (last - first, self.width), transform, invert=True)
        return inside


def frame_of(
    height: int, width: int, georeference: GeoReference | None, bbox: Sequence[float] = (), polygon: str = ""
) -> Frame:
    """The part of a scene that a map shows.

    Args:
        height: Rows of the scene.
        width: Its columns.
        georeference: Where it lies.
        bbox: Left, bottom, right and top in the scene's coordinates; empty: all.
        polygon: A file of polygons; "": all.

    Raises:
        MamolError: The scene has no place, or the file cannot be read; ``Outside``: there is no overlap.
    """
    whole = Frame(0, 0, height, width, georeference)
    if not bbox and not polygon:
        return whole
    wanted = f"bbox={','.join(f'{number:.10g}' for number in bbox)}" if bbox else f"polygon={polygon}"
    if bbox and polygon:
        raise MamolError(f"bbox and polygon={polygon}: two places for one map; give one of them")
    if georeference is None:
        raise MamolError(
            f"{wanted}: the scene has no coordinates; give it rasters with a georeference, or leave it out"
        )
    if bbox and (bbox[0] >= bbox[2] or bbox[1] >= bbox[3]):
        raise MamolError(f"{wanted}: expected left,bottom,right,top with left below right and bottom below top")
    polygons = _polygons(Path(polygon), georeference.crs) if polygon else ()
    bounds = _bounds(polygons) if polygon else tuple(bbox)
    transform = Affine(*georeference.transform)
    corners = [~transform @ (x, y) for x in bounds[::2] for y in bounds[1::2]]
    columns, rows = zip(*corners, strict=True)
    left, right = max(0, _below(min(columns))), min(width, _above(max(columns)))
    top, bottom = max(0, _below(min(rows))), min(height, _above(max(rows)))
    if left >= right or top >= bottom:
        edges = [transform @ (x, y) for x in (0, width) for y in (0, height)]
        extent = _told([min(x for x, _ in edges), min(y for _, y in edges), *map(max, zip(*edges, strict=True))])
        raise Outside(f"{wanted}: {_told(bounds)} is outside the scene, which is {extent} (left, bottom, right, top)")
    moved = transform @ Affine.translation(left, top)
    place = GeoReference(georeference.crs, tuple(moved)[:6])
    return Frame(top, left, bottom - top, right - left, place, polygons)


def _below(position: float) -> int:
    """A pixel more from rounding errors would be one that nobody asked for."""
    return floor(position + 1e-6)


def _above(position: float) -> int:
    return ceil(position - 1e-6)


def _told(bounds: Sequence[float]) -> str:
    return " ".join(f"{number:.10g}" for number in bounds)


def _polygons(path: Path, crs: str) -> tuple[Any, ...]:
    """The polygons of a file, in the scene's coordinates."""
    # Here, as it takes a second and few maps need it.
    import geopandas
    from pyogrio.errors import DataLayerError, DataSourceError

    if not path.is_file():
        raise MamolError(f"polygon={path}: no such file; give a GeoPackage, GeoJSON or Shapefile")
    try:
        frame = geopandas.read_file(path, engine="pyogrio", columns=[])
    except (DataSourceError, DataLayerError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise MamolError(
            f"polygon={path}: cannot be read ({reason}); give a GeoPackage, GeoJSON or Shapefile"
        ) from error
    shapes = getattr(frame, "geometry", None)
    if shapes is None or not (kept := shapes.notna() & ~shapes.is_empty).any():
        raise MamolError(f"polygon={path}: there are no polygons in it")
    kinds = sorted(set(shapes[kept].geom_type) - {"Polygon", "MultiPolygon"})
    if kinds:
        raise MamolError(f"polygon={path}: found {', '.join(kinds)}; a map is limited by polygons only")
    if shapes.crs is None or not crs:
        raise MamolError(f"polygon={path}: it and the scene need a coordinate reference system each; one has none")
    return tuple(shapes[kept].make_valid().to_crs(crs))


def _bounds(polygons: Sequence[Any]) -> tuple[float, ...]:
    boxes = np.array([polygon.bounds for polygon in polygons])
    if not np.isfinite(boxes).all():
        raise MamolError("polygon: found coordinates that are not finite in the scene's system; check the file's own")
    return (*map(float, boxes[:, :2].min(axis=0)), *map(float, boxes[:, 2:].max(axis=0)))
