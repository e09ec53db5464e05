"""The rasters of a scene on its grid, from files as they come."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mamol.core.errors import MamolError
from mamol.data.composed import Masked, Mosaic, Quality, Stack
from mamol.data.facts import SceneFacts
from mamol.data.grid import Grid, grid_of
from mamol.data.matfiles import Wanted
from mamol.data.places import ArrayFile, Candidates, GridPlace, MaskPlace, RasterPlace, Values
from mamol.data.reading import RawFolder, is_raster, ordered, read_array
from mamol.data.sources import ArraySource, Raster, RasterSource, check_bands
from mamol.data.warping import check_overlap, onto

LOGGER = logging.getLogger(__name__)
Shape = tuple[int, ...]


def scene_grid(facts: SceneFacts, folder: RawFolder, names: Sequence[str]) -> Grid | None:
    """The grid of a scene: as numbers, of the modality that is named, or of the first that says where it lies.

    It does not depend on which modalities are read, so that a map of one of them lies where the tables do.

    Args:
        facts: Where the files lie.
        folder: The raw files.
        names: The modalities that are read.

    Returns:
        The grid; one without a CRS if no file has one; None if no file says where it lies.

    Raises:
        MamolError: If the grid makes no sense, or a file is broken.
    """
    if isinstance(facts.grid, GridPlace):
        return grid_of(facts.grid)
    known = [name for name in facts.default_modalities or facts.modalities if folder.has(facts.modalities[name])]
    found: Grid | None = None
    for name in dict.fromkeys([*([facts.grid] if facts.grid else []), *known, *names]):
        grid = _own_grid(facts, folder, name)
        if grid is not None and grid.placed:
            return grid
        found = found or grid
    return found


def open_readers(
    facts: SceneFacts, folder: RawFolder, names: Sequence[str], grid: Grid | None, shape: Shape | None
) -> dict[str, Raster]:
    """What reads each modality, on the scene's grid.

    Args:
        facts: Where the files lie and how they are read.
        folder: The raw files.
        names: The modalities.
        grid: The scene's grid; None: no file says where it lies.
        shape: Of the label map; None: that of the grid, or of the first raster.

    Raises:
        MamolError: If a file is missing or broken, or does not fit the others.
    """
    shape = shape or (grid.shape if grid else None)
    result: dict[str, Raster] = {}
    for name in names:
        reader = _reader(facts, folder, name, grid, shape)
        shape = shape or reader.grid.shape
        result[name] = reader
    return result


def _reader(facts: SceneFacts, folder: RawFolder, name: str, grid: Grid | None, shape: Shape | None) -> Raster:
    place, what = facts.rasters.get(name, RasterPlace()), f"modality {name}"
    found = _files(facts, folder, name)
    parts: list[Raster] = []
    for number, (path, variables) in enumerate(found):
        part = _opened(path, variables, place.values, shape or (parts[0].grid.shape if parts else None))
        folder.record(path)
        if isinstance(part, RasterSource) and part.alpha:
            LOGGER.warning(
                "%s: band %d is tagged as alpha, so it says what is valid; if it is a feature, name it in bands",
                *(path, part.alpha[0]),
            )
        if len(found) > 1 and not place.stacked:
            _check_tile(part, parts, path, found[0][0])
        if place.mask:
            part = Masked(part, _mask(place.mask, number, folder, part.grid, f"{what}: mask"))
        parts.append(part)
    if grid is not None:
        check_overlap(parts, grid, f"{what}: {', '.join(path.name for path, _ in found)}")
        parts = [
            onto(part, grid, place.resampling, f"{what}: {path}") for part, (path, _) in zip(parts, found, strict=True)
        ]
    shape = shape or parts[0].grid.shape
    parts = [_fitting(part, shape, grid, path) for part, (path, _) in zip(parts, found, strict=True)]
    if len(parts) == 1:
        return parts[0]
    return Stack(parts) if place.stacked else Mosaic(parts)


def _files(facts: SceneFacts, folder: RawFolder, name: str) -> list[tuple[Path, Wanted]]:
    parts: Sequence[ArrayFile] = facts.rasters.get(name, RasterPlace()).parts
    each: list[Candidates] = [(part,) for part in parts] or [facts.modalities[name]]
    return [folder.find(candidates, f"modality {name}") for candidates in each]


def _own_grid(facts: SceneFacts, folder: RawFolder, name: str) -> Grid | None:
    """Of a mosaic the first file's grid continued, of a stack the finest one, as far as the files say it."""
    grids = [RasterSource(path).grid for path, _ in _files(facts, folder, name) if is_raster(path)]
    grids = [grid for grid in grids if grid.transform is not None]
    if not grids:
        return None
    grids = [grid for grid in grids if grid.placed == grids[0].placed]  # others are refused when they are read
    if facts.rasters.get(name, RasterPlace()).stacked:
        return min((grid for grid in grids if grid.crs == grids[0].crs), key=lambda grid: grid.area)
    return grids[0].covering(grids[1:]) if len(grids) > 1 else grids[0]


def _opened(path: Path, variables: Wanted, values: Values, shape: Shape | None) -> Raster:
    """One file on its own grid; the axes of an array are recognised by the shape."""
    if is_raster(path):
        return RasterSource(path, values)
    array = ordered(read_array(path, variables), shape, path)
    check_bands(path, values.bands, array.shape[2])
    return ArraySource(array, values)


def _check_tile(part: Raster, others: Sequence[Raster], path: Path, first: Path) -> None:
    if part.grid.transform is None:
        raise MamolError(f"{path}: no georeference; files of a mosaic must say where they lie (or are they a stack?)")
    if others and part.bands != others[0].bands:
        raise MamolError(
            f"{path}: {part.bands} bands, {first.name} has {others[0].bands}; "
            "files of a mosaic have the same bands: name those that they share in bands"
        )


def _mask(place: MaskPlace, number: int, folder: RawFolder, grid: Grid, what: str) -> Raster:
    """The mask of one file, on the file's own grid: invalid pixels must be known before neighbours are mixed."""
    path, variables = folder.find((place.files[number if len(place.files) > 1 else 0],), what)
    source = _opened(path, variables, Values(), grid.shape)
    folder.record(path)
    if source.bands != 1:
        raise MamolError(f"{what} {path}: {source.bands} bands; a quality raster has one")
    check_overlap([source], grid, f"{what} {path}")
    return _fitting(onto(Quality(source, place), grid, "nearest", f"{what} {path}"), grid.shape, grid, path)


def _fitting(raster: Raster, shape: Shape, grid: Grid | None, path: Path) -> Raster:
    """A raster that has the scene's shape, if need be by swapping its axes."""
    if raster.grid.shape == shape:
        return raster
    if grid is not None and sorted(raster.grid.shape) != sorted(shape):
        raise MamolError(
            f"{path}: {raster.height} x {raster.width} pixels without georeference beside a grid of "
            f"{shape[0]} x {shape[1]} ({grid}); where files have different grids, each must say where it lies: "
            "write the georeference into it, for example with gdal_translate -a_srs EPSG:<number> -a_ullr <corners>"
        )
    return ArraySource(ordered(raster.whole(), shape, path))
