"""Arrays from the files of a raw folder: finding them, reading them, checking them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.data.enviroi import read_roi_text
from mamol.data.facts import ArrayFile, Candidates
from mamol.data.matfiles import read_mat

LOGGER = logging.getLogger(__name__)
SUFFIXES = (".mat", ".npy", ".tif", ".tiff")


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
class Found:
    """An array as its file has it."""

    array: np.ndarray
    path: Path
    georeference: GeoReference | None = None


MOST_CLASSES = 1000


@dataclass
class RawFolder:
    """A folder of raw files; keeps the sha256 and the georeference of every file that it reads.

    Attributes:
        root: The folder.
        sources: File name relative to the root -> sha256.
        georeferences: (height, width) and place of every georeferenced file that was read.
    """

    root: Path
    sources: dict[str, str] = field(default_factory=dict)
    georeferences: list[tuple[tuple[int, ...], GeoReference]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Checks the folder.

        Raises:
            MamolError: If there is no such folder.
        """
        if not self.root.is_dir():
            raise MamolError(f"root {self.root}: no such folder; give the folder with the raw files of the scene")

    def has(self, candidates: Candidates) -> bool:
        """Whether the file of any candidate is there.

        Args:
            candidates: Where it may lie.
        """
        return any(self._path(candidate) for candidate in candidates)

    def read(self, candidates: Candidates, what: str) -> Found:
        """The array of the first candidate that is there.

        Args:
            candidates: Where it may lie, in order.
            what: What is read, for messages: "modality hsi", "label map".

        Raises:
            MamolError: If no candidate is there, or the file cannot be read.
        """
        places = [(self._path(candidate), candidate.variable) for candidate in candidates]
        path = next((path for path, _ in places if path), None)
        if path:
            # Several releases may use one file name, letter case aside, with different variables.
            variables = [variable for each, variable in places if each == path and variable]
            name = str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name
            try:
                found = _read(path, variables)
                self.sources.setdefault(name, sha256_of(path))
            except OSError as error:
                raise MamolError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
            if found.georeference:
                self.georeferences.append((found.array.shape[:2], found.georeference))
            return found
        tried = ", ".join(str(candidate) for candidate in candidates)
        here = ", ".join(sorted(path.name for path in self.root.iterdir() if path.is_file())) or "no files"
        raise MamolError(f"{what}: no file for it in {self.root}; expected one of {tried}; found {here}")

    def georeference(self, shape: tuple[int, ...]) -> GeoReference | None:
        """Where a grid lies, as the first file of its size says; warns if another file disagrees.

        Args:
            shape: Height and width of the grid.

        Returns:
            The place; None if no file that was read says it.
        """
        places = [place for size, place in self.georeferences if size == shape]
        if len(set(places)) > 1:
            LOGGER.warning("%s: its files have different georeferences; maps will get the first", self.root)
        return places[0] if places else None

    def _path(self, candidate: ArrayFile) -> Path | None:
        path = self.root / candidate.file
        if path.is_file():
            return path
        if not path.parent.is_dir():
            return None
        present = {each.name.lower(): each for each in sorted(path.parent.iterdir()) if each.is_file()}
        endings = ("", *SUFFIXES) if path.suffix.lower() not in SUFFIXES else ("",)
        return next((present[path.name.lower() + end] for end in endings if path.name.lower() + end in present), None)


def _read(path: Path, variables: Sequence[str]) -> Found:
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return Found(read_mat(path, variables), path)
    if suffix == ".npy":
        return Found(_read_npy(path), path)
    if suffix in (".tif", ".tiff"):
        return _read_tif(path)
    if suffix == ".txt":
        return Found(read_roi_text(path), path)
    raise MamolError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MamolError(f"{path}: not a readable .npy file ({error}); write it again with numpy.save") from error
    if array.dtype.kind not in "biuf":
        raise MamolError(f"{path}: the array is of type {array.dtype}; expected real numbers")
    return array


def _read_tif(path: Path) -> Found:
    try:
        with rasterio.open(path) as file:
            bands = file.read()
            georeference = GeoReference(file.crs.to_wkt(), tuple(file.transform)[:6]) if file.crs else None
    except rasterio.errors.RasterioError as error:
        raise MamolError(f"{path}: not a readable GeoTIFF ({error}); copy or download it again") from error
    return Found(np.moveaxis(bands, 0, -1), path, georeference)


def as_labels(array: np.ndarray, path: Path | str) -> np.ndarray:
    """A label map: classes from 1; whatever is 0 or negative becomes 0, unlabelled.

    Args:
        array: (H, W) or (H, W, 1), of any type as long as the values are whole numbers.
        path: Its file, or what else to call it, for messages.

    Returns:
        (H, W) int64.

    Raises:
        MamolError: If it is not a map or a value is not a whole number.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2:
        raise MamolError(f"{path}: a label map has shape (H, W); this array has {array.shape}")
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise MamolError(f"{path}: a label map holds whole numbers; this one has NaN or fractions")
    if array.size and array.max() > MOST_CLASSES:
        raise MamolError(
            f"{path}: the largest label is {array.max()}, at most {MOST_CLASSES} is expected; 0 or -1 marks unlabelled"
        )
    return np.maximum(array.astype(np.int64), 0)


def as_raster(array: np.ndarray, shape: tuple[int, ...] | None, path: Path | str) -> np.ndarray:
    """A raster as (H, W, C), whatever the order of axes in the file.

    Args:
        array: (H, W) or (H, W, C), or with height and width swapped, or bands first.
        shape: (H, W) of the label map, by which the order is recognised; None: the order is taken as it is.
        path: Its file, or what else to call it, for messages.

    Returns:
        (H, W, C), C-contiguous, of the file's own type.

    Raises:
        MamolError: If no order of axes fits the shape, or a band has NaN, infinity or a value beyond float32.
    """
    if array.ndim not in (2, 3):
        raise MamolError(f"{path}: a raster has shape (H, W) or (H, W, C); this array has {array.shape}")
    raster = array[:, :, None] if array.ndim == 2 else array
    if shape is not None:
        orders = ((0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0))
        fitting = [order for order in orders if tuple(raster.shape[axis] for axis in order[:2]) == shape]
        if not fitting:
            raise MamolError(
                f"{path}: shape {array.shape} does not fit the grid of the scene, which is {shape[0]} x {shape[1]}; "
                "all files of a scene must lie on one grid"
            )
        raster = raster.transpose(fitting[0])
    raster = np.ascontiguousarray(raster)
    check_finite(raster, path)
    return raster


def check_finite(array: np.ndarray, path: Path | str) -> None:
    """Refuses values that float32 cannot hold as finite numbers.

    Args:
        array: (N, …, C), bands last; read in slices along the first axis, so that memory stays small.
        path: Its file, or what else to call it, for the message.

    Raises:
        MamolError: If a band has NaN, infinity or a value beyond float32.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        for start in range(0, len(array), 32):
            finite = np.isfinite(array[start : start + 32].astype(np.float32))
            if not finite.all():
                bands = np.flatnonzero(~finite.reshape(-1, array.shape[-1]).all(axis=0)) + 1
                raise MamolError(
                    f"{path}: band {', '.join(map(str, bands[:5]))} (counted from 1) has NaN or infinite values; "
                    "fill or drop them before building tables"
                )
