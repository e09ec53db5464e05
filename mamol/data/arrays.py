"""A scene of arrays that are in memory already, as a notebook has them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from rasterio.crs import CRS
from rasterio.errors import CRSError

from mamol.core.errors import MamolError
from mamol.core.names import canonical_all
from mamol.data.facts import ANY_SCENE
from mamol.data.labels import LabelMaps, class_names
from mamol.data.reading import GeoReference, as_labels, as_raster
from mamol.data.scenes import Scene, tell_invalid
from mamol.data.sources import ArraySource


def scene_of(
    arrays: Mapping[str, ArrayLike],
    labels: ArrayLike | None = None,
    *,
    classes: Sequence[str] = (),
    name: str = "arrays",
    georeference: GeoReference | None = None,
) -> Scene:
    """The scene of some arrays, checked as files are.

    Args:
        arrays: Modality to (H, W, C) or (H, W), in sensor units; with labels, other orders of axes are recognised.
        labels: (H, W), 0 or negative is unlabelled, classes from 1; None for prediction.
        classes: Names of the classes 1 … K; empty: "class 1" and so on.
        name: Of the scene.
        georeference: Where the grid lies, if that is known.

    Returns:
        The scene; its sources are the sha256 of the arrays.

    Raises:
        MamolError: If there is no array, they do not fit each other, or hold what no raster or label map holds.
    """
    if not arrays:
        raise MamolError(f"{name}: no arrays; give a dictionary of modality and (H, W, C)")
    plain = {key: _plain(array, key) for key, array in arrays.items()}
    every = None if labels is None else as_labels(_plain(labels, "labels"), "labels")
    shape = None if every is None else every.shape
    rasters: dict[str, np.ndarray] = {}
    for key, canonical in zip(plain, canonical_all(list(plain)), strict=True):
        rasters[canonical] = as_raster(plain[key], shape, key)
        shape = shape or rasters[canonical].shape[:2]
    tell_invalid(name, rasters)
    facts = replace(ANY_SCENE, name=name, classes=tuple(classes))
    return Scene(
        name=name,
        rasters=rasters,
        classes=facts.classes if every is None else _names(class_names(facts, every, "labels"), classes),
        maps=None if every is None else LabelMaps(every),
        georeference=georeference,
        sources={key: _sha256(array) for key, array in plain.items()},
        facts=facts,
        readers={key: ArraySource(raster) for key, raster in rasters.items()},
    )


def georeference_of(crs: str, transform: Sequence[float] | None) -> GeoReference | None:
    """Where the grid of arrays lies.

    Args:
        crs: Coordinate reference system, ``EPSG:32632`` or WKT; "" if it is not known.
        transform: The six affine numbers (a, b, c, d, e, f) from column and row to coordinates; None if not known.

    Returns:
        It; None without both.

    Raises:
        MamolError: Only one of them is given, or it cannot be read.
    """
    if not crs and transform is None:
        return None
    if not crs or transform is None or len(tuple(transform)[:6]) != 6:
        raise MamolError("crs and transform belong together: a name such as EPSG:32632, and six affine numbers")
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise MamolError(
            f"crs={crs!r} is no coordinate reference system ({error}); give EPSG:<number> or WKT"
        ) from error
    return GeoReference(known.to_wkt(), tuple(float(number) for number in tuple(transform)[:6]))


def _plain(array: ArrayLike, name: str) -> np.ndarray:
    try:
        plain = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise MamolError(f"{name}: not an array of numbers ({error})") from error
    if plain.dtype.kind not in "uifb" or not plain.size:
        raise MamolError(f"{name}: expected an array of numbers; this one has type {plain.dtype}, shape {plain.shape}")
    return plain


def _names(found: tuple[str, ...], wanted: Sequence[str]) -> tuple[str, ...]:
    """Who names classes in a call wants these names and no others."""
    if wanted and found != tuple(wanted):
        raise MamolError(f"classes: {len(wanted)} names for labels that go up to {len(found)}; give one name per label")
    return found


def _sha256(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
