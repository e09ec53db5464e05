"""What scene.json says of a modality's raster and of the scene's grid."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.names import canonical_all
from mamol.data.places import (
    RESAMPLINGS,
    RULES,
    ArrayFile,
    Candidates,
    GridPlace,
    MaskPlace,
    RasterPlace,
    Values,
)

FILE_KEYS = ("file", "variable", "files", "stack")
KEYS = (*FILE_KEYS, "nodata", "mask", "bands", "scale", "offset", "resampling")
LARGEST = 10**300
"""Whole numbers beyond it are none that floats can hold."""
Json = Any  # what a user may have written


def read_raster(path: Path, key: str, value: Json) -> tuple[Candidates, RasterPlace]:
    """Where a modality's raster lies, and how it is put together.

    Args:
        path: The scene.json, for messages.
        key: Of the entry, for messages.
        value: ``{"file": …}``, ``{"files": […]}`` or ``{"stack": […]}``, with what else is known.

    Returns:
        The (first) file, and the rest.

    Raises:
        MamolError: If it says something else.
    """
    if not isinstance(value, dict) or set(value) - set(KEYS):
        raise MamolError(
            f'{path}: {key} is {value!r}; expected {{"file": "HSI.mat", "variable": "HSI"}}; keys are {", ".join(KEYS)}'
        )
    places = _files(path, key, value)
    stacked = "stack" in value
    bands = _whole_numbers(path, f"{key}.bands", value.get("bands", []), least=1)
    if stacked and bands:
        raise MamolError(f"{path}: {key} has stack and bands; list in stack the files of the bands that are wanted")
    values = Values(
        bands=bands,
        nodata=_number(path, f"{key}.nodata", value["nodata"], "-9999") if "nodata" in value else None,
        scale=_number(path, f"{key}.scale", value.get("scale", 1), "0.0001"),
        offset=_number(path, f"{key}.offset", value.get("offset", 0), "-0.1"),
    )
    if not values.scale or not isfinite(values.scale) or not isfinite(values.offset):
        raise MamolError(
            f"{path}: {key} has scale {values.scale}, offset {values.offset}; expected finite, scale not 0"
        )
    resampling = value.get("resampling", "bilinear")
    if resampling not in RESAMPLINGS:
        raise MamolError(f"{path}: {key}.resampling is {resampling!r}; expected one of {', '.join(RESAMPLINGS)}")
    several = "file" not in value
    tiles = 1 if stacked else len(places)
    mask = _mask(path, f"{key}.mask", value["mask"], tiles) if "mask" in value else None
    return places[:1], RasterPlace(places if several else (), stacked, values, mask, resampling)


def read_file(path: Path, key: str, value: Json) -> Candidates:
    """Where one array lies.

    Args:
        path: The scene.json, for messages.
        key: Of the entry, for messages.
        value: ``{"file": …, "variable": …}``, the second if need be; None: nothing is said.

    Raises:
        MamolError: If it says something else.
    """
    if value is None:
        return ()
    file = value.get("file") if isinstance(value, dict) else None
    variable = value.get("variable") if isinstance(value, dict) else None
    if not isinstance(file, str) or not isinstance(variable, str | None) or set(value) - {"file", "variable"}:
        raise MamolError(f'{path}: {key} is {value!r}; expected {{"file": "HSI.mat", "variable": "HSI"}}')
    return (ArrayFile(file, variable, exact=variable is not None),)


def _files(path: Path, key: str, value: Mapping[str, Json]) -> Candidates:
    """The files of an entry, which names them in one way."""
    ways = [way for way in ("file", "files", "stack") if way in value]
    if len(ways) != 1 or (ways != ["file"] and "variable" in value):
        raise MamolError(f"{path}: {key} is {dict(value)!r}; expected one of file (with variable), files and stack")
    if ways == ["file"]:
        return read_file(path, key, {name: value[name] for name in ("file", "variable") if name in value})
    names = value[ways[0]]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise MamolError(f'{path}: {key}.{ways[0]} is {names!r}; expected a list of files, ["t1.tif", "t2.tif"]')
    if len(set(names)) < len(names):
        raise MamolError(f"{path}: {key}.{ways[0]} names a file twice; name each once")
    return tuple(ArrayFile(name) for name in names)


def _mask(path: Path, key: str, value: Json, files: int) -> MaskPlace:
    rules = [rule for rule in RULES if isinstance(value, dict) and rule in value]
    if len(rules) != 1 or set(value) - {"file", "variable", "files", *RULES}:
        raise MamolError(
            f'{path}: {key} is {value!r}; expected {{"file": "scl.tif", "invalid": [0, 8, 9]}}, '
            "with one of invalid (values), valid (values) and bits"
        )
    rule = rules[0]
    places = _files(path, key, {name: each for name, each in value.items() if name != rule})
    if len(places) not in (1, files):
        raise MamolError(
            f"{path}: {key} names {len(places)} files for {files}; expected one mask for all, or one for each"
        )
    if not value[rule]:
        raise MamolError(f"{path}: {key}.{rule} is {value[rule]!r}; list at least one")
    numbers = _whole_numbers(path, f"{key}.{rule}", value[rule], least=0 if rule == "bits" else None)
    if rule == "bits" and max(numbers) > 62:
        raise MamolError(f"{path}: {key}.bits has {max(numbers)}; bits are counted from 0, the lowest, to 62")
    return MaskPlace(places, rule, numbers)  # type: ignore[arg-type]  # one of RULES


def read_grid(path: Path, value: Json, modalities: tuple[str, ...]) -> str | GridPlace | None:
    """Which grid the scene has.

    Args:
        path: The scene.json, for messages.
        value: A modality's name, or ``{"crs": …, "resolution": …, "bounds": […]}``; None: nothing is said.
        modalities: The modalities of the scene.

    Raises:
        MamolError: If it says something else.
    """
    if value is None:
        return None
    if isinstance(value, str):
        (name,) = canonical_all([value])
        if name not in modalities:
            raise MamolError(f"{path}: grid is {value!r}, which is no modality of it; they are {', '.join(modalities)}")
        return name
    expected = '"optical" or {"crs": "EPSG:32633", "resolution": 10, "bounds": [left, bottom, right, top]}'
    if (
        not isinstance(value, dict)
        or set(value) != {"crs", "resolution", "bounds"}
        or not isinstance(value["crs"], str)
    ):
        raise MamolError(f"{path}: grid is {value!r}; expected {expected}")
    resolution = value["resolution"] if isinstance(value["resolution"], list) else [value["resolution"]] * 2
    numbers = [*resolution, *(value["bounds"] if isinstance(value["bounds"], list) else [])]
    sizes = (len(resolution), len(numbers)) == (2, 6)
    if not sizes or not all(map(_is_number, numbers)) or min(resolution) <= 0 or not all(map(isfinite, numbers)):
        raise MamolError(f"{path}: grid is {value!r}; expected {expected}, resolution above 0")
    across, down, left, bottom, right, top = map(float, numbers)
    return GridPlace(value["crs"], (across, down), (left, bottom, right, top))


def _is_number(value: Json) -> bool:
    """Whether it is a number, and none of hundreds of digits, which no computer counts with."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, float) or (whole and abs(value) < LARGEST)


def _number(path: Path, key: str, value: Json, example: str) -> float:
    if not _is_number(value):
        raise MamolError(f"{path}: {key} is {value!r}; expected a number, such as {example}")
    return value if isinstance(value, int) else float(value)


def _whole_numbers(path: Path, key: str, value: Json, least: int | None) -> tuple[int, ...]:
    def fits(each: Json) -> bool:
        return isinstance(each, int) and not isinstance(each, bool) and (least is None or each >= least)

    if not isinstance(value, list) or not all(map(fits, value)) or len(set(value)) < len(value):
        begin = "" if least is None else f", from {least}"
        raise MamolError(f"{path}: {key} is {value!r}; expected a list of whole numbers{begin}, each once")
    return tuple(value)
