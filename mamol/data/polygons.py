"""Labels as people have them: polygons or points with a class, burned onto the grid of a scene."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyproj
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.affinity import affine_transform

from mamol.core.errors import MamolError
from mamol.data.facts import SceneFacts
from mamol.data.labelfacts import VectorLabels
from mamol.data.labels import LabelMaps
from mamol.data.opening import check_memory, is_file, names_in
from mamol.data.reading import MOST_CLASSES, GeoReference, RawFolder
from mamol.data.vectorfiles import Features, read_features

LOGGER = logging.getLogger(__name__)
_SIDECARS = (".dbf", ".shx", ".prj", ".cpg")
"""What lies beside a Shapefile; classes and coordinate system are in there."""


@dataclass(frozen=True)
class _Grid:
    """The grid of a scene and its place on the earth."""

    shape: tuple[int, int]
    transform: Affine
    crs: pyproj.CRS

    @property
    def footprint(self) -> shapely.Polygon:
        """What it covers; a rotated grid is no upright rectangle."""
        height, width = self.shape
        a, b, c, d, e, f = self.transform[:6]
        return affine_transform(shapely.box(0, 0, width, height), (a, b, d, e, c, f))


def read_polygons(
    facts: SceneFacts,
    wanted: VectorLabels,
    folder: RawFolder,
    shape: tuple[int, int],
    place: GeoReference | None,
    *,
    alone: bool = True,
) -> tuple[LabelMaps, SceneFacts]:
    """Burns the polygons or points of a vector file onto the grid of a scene.

    A pixel belongs to the polygon that holds its centre, and to the point that lies in it. Where polygons of different
    classes lie on one pixel, it is left out; of one class, the later polygon has it.

    Args:
        facts: Of the scene; ``classes`` may give the order of the classes.
        wanted: The file and its columns.
        folder: The raw files.
        shape: Height and width of the grid.
        place: Where the grid lies.
        alone: False for one of several scenes, which together have all classes.

    Returns:
        The label maps with the polygon of each pixel, and the facts with the names of the classes 1 … K.

    Raises:
        MamolError: If the grid has no place, the file is not there or cannot be read, it does not fit the scene, or a
            class of ``facts`` has no pixel.
    """
    path = folder.named(wanted.file)
    if not is_file(path):
        raise MamolError(f"labels: no file {wanted.file} in {folder.root}; found {names_in(folder.root)}")
    if place is None:
        raise MamolError(
            f"{path}: polygons need a scene that lies somewhere on the earth, and no raster of this one says where; "
            "give the rasters as GeoTIFFs with a coordinate system, or the labels as a raster"
        )
    check_memory(path, shape, np.dtype(np.int64))
    grid = _Grid(shape, Affine(*place.transform), pyproj.CRS.from_user_input(place.crs))
    features, left_out = _on_grid(_merged(read_features(path, wanted), wanted), grid, path)
    names, classes = _numbered(features.classes, facts.classes, f"{path}, column {wanted.column}")
    maps, left_out["pixels in polygons of different classes"] = _burn(features, classes, grid)
    if any(left_out.values()):
        listed = ", ".join(f"{what}: {count}" for what, count in left_out.items() if count)
        LOGGER.warning("%s: left out: %s", path.name, listed)
    maps, names = _without_empty(maps, names, path, listed=alone and bool(facts.classes))
    _remember(folder, path)
    return maps, replace(facts, classes=names)


def _merged(features: Features, wanted: VectorLabels) -> Features:
    """The features with merged classes; those that are merged into none have none."""
    if unknown := sorted(set(wanted.merge) - set(features.classes)):
        LOGGER.warning("%s: merge names %s, which no polygon has", wanted.file, ", ".join(unknown))
    return replace(features, classes=np.array([wanted.merge.get(each, each) for each in features.classes], object))


def _on_grid(features: Features, grid: _Grid, path: Path) -> tuple[Features, dict[str, int]]:
    """The features that lie on the grid, in its coordinates, and what is left out.

    Raises:
        MamolError: If no feature lies there.
    """
    there = np.array([each is not None for each in features.classes], bool)
    shaped = ~(shapely.is_missing(features.geometries) | shapely.is_empty(features.geometries))
    kept = features.only(there & shaped)
    to_grid = pyproj.Transformer.from_crs(features.crs, grid.crs, always_xy=True)
    moved = shapely.transform(kept.geometries, lambda at: np.column_stack(to_grid.transform(*at.T)))
    # Places that the grid's coordinate system does not know become infinite.
    finite = np.isfinite(shapely.bounds(moved)).all(axis=1)
    moved[finite] = _valid(moved[finite])
    inside = finite.copy()
    inside[finite] = shapely.intersects(moved[finite], grid.footprint)
    if not inside.any():
        raise MamolError(
            f"{path}: no polygon with a class lies on the scene; the polygons span {_span(moved[finite])}, the scene "
            f"{_span([grid.footprint])} ({grid.crs.name}); check the file and its coordinate system"
        )
    left_out = {
        "polygons without a class": int((~there).sum()),
        "polygons without a geometry": int((there & ~shaped).sum()),
        "polygons outside the scene": int((~inside).sum()),
    }
    return replace(kept, geometries=moved).only(inside), left_out


def _valid(geometries: np.ndarray) -> np.ndarray:
    """Bow-ties and the like as the areas that they enclose, without the lines that are left of collapsed parts."""
    crossed = ~shapely.is_valid(geometries)
    geometries[crossed] = shapely.make_valid(geometries[crossed], method="structure", keep_collapsed=False)
    return geometries


def _span(geometries: Sequence[shapely.Geometry] | np.ndarray) -> str:
    if not len(geometries):
        return "nothing"
    left, bottom, right, top = shapely.total_bounds(geometries)
    return f"x {left:.6g} to {right:.6g}, y {bottom:.6g} to {top:.6g}"


def _numbered(texts: np.ndarray, listed: tuple[str, ...], what: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the classes 1 … K, sorted unless they are listed, and the number of each feature's class."""
    found = tuple(sorted(set(texts), key=class_order))
    if len(found) > MOST_CLASSES:
        raise MamolError(
            f"{what}: {len(found)} classes on the scene, at most {MOST_CLASSES} are expected; name the column of the "
            "class, not that of a polygon's number"
        )
    names = listed or found
    # As in a label map, a number means the class of this place in the list.
    numbers = {str(number): number for number in range(1, len(listed) + 1)}
    numbers |= {name: number for number, name in enumerate(names, 1)}
    if unknown := [each for each in found if each not in numbers]:
        raise MamolError(
            f"{what}: {', '.join(map(repr, unknown[:5]))} not among the classes {', '.join(names)}; add it to classes, "
            f'or merge it: "merge": {{"{unknown[0]}": "{names[0]}"}}, null leaves it out'
        )
    return names, np.array([numbers[each] for each in texts], np.int64)


def class_order(text: str) -> tuple[bool, int, str]:
    """By what class names are sorted: numbers by their size, before texts by the alphabet.

    Args:
        text: A name.
    """
    whole = text.removeprefix("-").isdecimal()
    return not whole, int(text) if whole else 0, text


def _burn(features: Features, classes: np.ndarray, grid: _Grid) -> tuple[LabelMaps, int]:
    """The maps, and the number of pixels that lie in polygons of different classes."""
    ascending = np.argsort(classes, kind="stable")
    # The last one burned has the pixel: the highest class in one pass, the lowest in the other.
    polygons, lowest = (_numbers(features, order, grid) for order in (ascending, ascending[::-1]))
    size = int(features.numbers.max()) + 1
    class_of = np.zeros(size, np.uint16)
    class_of[features.numbers] = classes
    labels = class_of[polygons]
    differing = labels != class_of[lowest]
    labels[differing] = polygons[differing] = 0
    assigned = None
    if features.splits is not None:
        split_of = np.zeros(size, np.uint8)
        split_of[features.numbers] = features.splits
        assigned = split_of[polygons]
    return LabelMaps(labels.astype(np.int64), polygons=polygons, assigned=assigned), int(differing.sum())


def _numbers(features: Features, order: np.ndarray, grid: _Grid) -> np.ndarray:
    shapes = zip(features.geometries[order], features.numbers[order].tolist(), strict=True)
    return rasterize(shapes, out_shape=grid.shape, transform=grid.transform, dtype="uint32")


def _without_empty(
    maps: LabelMaps, names: tuple[str, ...], path: Path, *, listed: bool
) -> tuple[LabelMaps, tuple[str, ...]]:
    """The maps and names without classes that have no pixel.

    Raises:
        MamolError: If no pixel has a class, or none that of a class that the scene.json lists.
    """
    counts = np.bincount(maps.every.ravel(), minlength=len(names) + 1)[1:]
    if not counts.any():
        raise MamolError(
            f"{path}: no pixel's centre lies in polygons of one class; the polygons are smaller than the pixels, or "
            "those of different classes lie on each other"
        )
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if not empty:
        return maps, names
    if listed:
        raise MamolError(
            f"{path}: no pixel's centre lies in a polygon of {', '.join(empty[:5])}; take it out of classes or merge it"
        )
    LOGGER.warning("%s: left out: classes without a pixel: %s", path.name, ", ".join(empty))
    renumbered = np.concatenate([[0], np.cumsum(counts > 0)])
    return replace(maps, every=renumbered[maps.every]), tuple(name for name in names if name not in empty)


def _remember(folder: RawFolder, path: Path) -> None:
    """Keeps the sha256 of a vector file, of all parts of a Shapefile."""
    parts = [path.with_suffix(suffix) for suffix in _SIDECARS] if path.suffix.lower() == ".shp" else []
    for part in (path, *(each for each in parts if each.is_file())):
        folder.record(part)
