"""Polygons and points of GeoPackage, GeoJSON and Shapefile, with a class each."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyogrio
import pyogrio.raw
import pyproj
import shapely

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.labelfacts import VectorLabels
from mamol.data.opening import unreadable

BEGINNINGS = {".gpkg": b"SQLite format 3\0", ".shp": b"\0\0\x27\x0a", ".geojson": b"{", ".json": b"{"}
"""What files begin with, by their ending."""
_SHAPES = ("Point", "MultiPoint", "Polygon", "MultiPolygon")


@dataclass(frozen=True)
class Features:
    """The features of a layer.

    Attributes:
        geometries: (N,) shapely geometries; None where a feature has none.
        numbers: (N,) uint32, the feature's place in the layer, from 1.
        classes: (N,) text; None where a feature has no class.
        splits: (N,) uint8, 0 for none, else 1 and on for train, val, test; None if no column says so.
        crs: Coordinate system of the geometries.
    """

    geometries: np.ndarray
    numbers: np.ndarray
    classes: np.ndarray
    splits: np.ndarray | None
    crs: pyproj.CRS

    def only(self, keep: np.ndarray) -> "Features":
        """Some of the features.

        Args:
            keep: (N,) bool.
        """
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return Features(
            **{name: column[keep] if isinstance(column, np.ndarray) else column for name, column in columns.items()}
        )


def read_features(path: Path, wanted: VectorLabels) -> Features:
    """Reads a layer.

    Args:
        path: The file.
        wanted: Layer and columns; classes are not merged here.

    Raises:
        MamolError: If the file, the layer or a column cannot be read, or holds what is no class, split or area.
    """
    try:
        _check_format(path)
        layer = _layer(path, wanted.layer)
        columns = _columns(path, layer, wanted)
        # Arrays are all that is needed, no data frame.
        meta, _, geometry, values = pyogrio.raw.read(path, layer=layer, columns=columns)
    except MamolError:
        raise
    except (RuntimeError, ValueError, OSError, LookupError, MemoryError) as error:
        raise unreadable(path, "vector file", error) from error
    if geometry is None or not len(geometry):
        raise MamolError(f"{path}: the layer {layer} is empty; give polygons or points")
    table = {
        name: _texts(column, f"{path}, column {name}", mixed=subtype == "OFSTJSON")
        for name, column, subtype in zip(meta["fields"], values, meta["ogr_subtypes"], strict=True)
    }
    geometries = shapely.force_2d(shapely.from_wkb(geometry, on_invalid="ignore"))
    _check_shapes(geometries, path)
    return Features(
        geometries=geometries,
        numbers=np.arange(1, len(geometries) + 1, dtype=np.uint32),
        classes=table[wanted.column],
        splits=_splits(table[wanted.split], f"{path}, column {wanted.split}") if wanted.split else None,
        crs=_crs(meta["crs"], geometries, path),
    )


def _check_format(path: Path) -> None:
    """Refuses a file of another format than its name says: GDAL has formats that read other files, or the net."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head.startswith(BEGINNINGS[suffix]):
        raise MamolError(f"{path}: not a readable vector file (no {suffix} file begins so); save or download it again")


def _layer(path: Path, wanted: str) -> str:
    """The layer's name; tables without geometry, such as QGIS's styles, are none."""
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if wanted and wanted not in layers:
        raise MamolError(f"{path}: no layer {wanted!r}; it has {', '.join(layers) or 'none'}")
    if not layers:
        raise MamolError(f"{path}: no layer with polygons or points in it; give another file")
    if not wanted and len(layers) > 1:
        raise MamolError(f'{path}: several layers: {", ".join(layers)}; name one, "layer": "{layers[0]}"')
    return wanted or layers[0]


def _columns(path: Path, layer: str, wanted: VectorLabels) -> list[str]:
    known = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
    hint = "" if known or path.suffix.lower() != ".shp" else "; a Shapefile's columns lie in the .dbf beside it"
    listed = f"its columns are {', '.join(known) or 'none'}{hint}"
    if not wanted.column:
        raise MamolError(f'{path}: labels names no column with the class, "column": …; {listed}')
    for name in (wanted.column, wanted.split):
        if name and name not in known:
            raise MamolError(f"{path}: no column {name!r}; {listed}")
    return list(dict.fromkeys([wanted.column, *([wanted.split] if wanted.split else [])]))


def _texts(values: np.ndarray, what: str, *, mixed: bool) -> np.ndarray:
    """A column as texts, whole numbers without a point; None where it is empty."""
    if mixed:
        raise MamolError(f"{what}: mixes texts and numbers; write all classes as texts or all as whole numbers")
    if values.dtype.kind == "f":
        # A null makes a column of whole numbers one of fractions with NaN.
        there = ~np.isnan(values)
        if not (values[there] == np.round(values[there])).all():
            raise MamolError(f"{what}: holds fractions; classes are texts or whole numbers")
        texts = [str(int(value)) if known else None for value, known in zip(values, there, strict=True)]
    elif values.dtype.kind in "biu":
        texts = [str(value) for value in values]
    elif values.dtype.kind == "O" and all(value is None or isinstance(value, str) for value in values):
        texts = [(value or "").strip() or None for value in values]
    else:
        raise MamolError(f"{what}: holds neither texts nor whole numbers; name another column")
    return np.array(texts, object)


def _splits(texts: np.ndarray, what: str) -> np.ndarray:
    codes = {name: number for number, name in enumerate(SPLITS, 1)}
    lower = [None if text is None else text.lower() for text in texts]
    if unknown := sorted({text for text in lower if text is not None and text not in codes}):
        raise MamolError(
            f"{what}: {', '.join(map(repr, unknown[:5]))} is no split; expected {', '.join(SPLITS)}, or nothing for "
            "polygons that are not used"
        )
    return np.array([0 if text is None else codes[text] for text in lower], np.uint8)


def _check_shapes(geometries: np.ndarray, path: Path) -> None:
    there = geometries[~shapely.is_missing(geometries)]
    kinds = {shape.geom_type for shape in there}
    if foreign := sorted(kinds - set(_SHAPES)):
        raise MamolError(f"{path}: holds {', '.join(foreign)}; expected polygons or points")


def _crs(name: str | None, geometries: np.ndarray, path: Path) -> pyproj.CRS:
    if not name:
        raise MamolError(
            f"{path}: says no coordinate system; save it with one (a Shapefile's is in the .prj file beside it)"
        )
    crs = pyproj.CRS.from_user_input(name)
    left, bottom, right, top = shapely.total_bounds(geometries)
    # GeoJSON without a coordinate system means longitude and latitude, whatever its numbers are.
    if crs.is_geographic and (max(-left, right) > 360 or max(-bottom, top) > 90):
        raise MamolError(
            f"{path}: its coordinates are in degrees ({crs.name}) as the file says, but go to "
            f"x {right:.6g}, y {top:.6g}; save it again with the coordinate system that it is in, as a GeoPackage"
        )
    return crs
