"""Arrays from the files of a raw folder: finding them, reading them, checking them."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.data.enviroi import read_roi_text
from mamol.data.facts import ArrayFile, Candidates
from mamol.data.grid import GeoReference, Grid
from mamol.data.matfiles import Wanted, read_mat
from mamol.data.opening import check_utf8, files_in, is_file, names_in, unreadable
from mamol.data.sources import DRIVERS, KINDS, ArraySource, RasterSource
from mamol.data.virtual import outside
from mamol.data.warping import check_overlap, onto

LOGGER = logging.getLogger(__name__)
__all__ = ["Found", "GeoReference", "RawFolder", "as_labels", "as_raster", "is_raster", "read_array"]
RASTERS = tuple(ending for ending in KINDS if ending in DRIVERS)
"""What this GDAL reads."""
SUFFIXES = (".mat", ".npy", *RASTERS)
MOST_CLASSES = 1000
NOT_NPY = (
    *(OSError, EOFError, ValueError, SyntaxError, OverflowError, RecursionError, MemoryError),
    *(TokenError, BadZipFile),
)
"""What numpy raises on a file that is no .npy, whose header is a line of Python; nothing in it is run."""


@dataclass(frozen=True)
class Found:
    """An array as its file has it, and the grid that a raster file says."""

    array: np.ndarray
    path: Path
    grid: Grid | None = None


@dataclass
class RawFolder:
    """A folder of raw files; keeps the sha256 of every file that it reads.

    Attributes:
        root: The folder.
        sources: File name relative to the root -> sha256.
        grid: The scene's grid, onto which label rasters are brought; None: it is not known, or has no place.
        placed: The label rasters that say where they lie, while the grid is not known.
        inside: The folder that relative names must not leave; None: the root.
    """

    root: Path
    sources: dict[str, str] = field(default_factory=dict)
    grid: Grid | None = None
    placed: list[tuple[Path, Grid]] = field(default_factory=list)
    inside: Path | None = None
    _told: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Checks the folder.

        Raises:
            MamolError: If there is no such folder, or its name is no UTF-8, which tables and libraries need.
        """
        if is_file(self.root) or not self.root.is_dir():
            raise MamolError(f"root {self.root}: no such folder; give the folder with the raw files of the scene")
        check_utf8(self.root)

    def has(self, candidates: Candidates) -> bool:
        """Whether the file of any candidate is there.

        Args:
            candidates: Where it may lie.
        """
        return any(self._path(candidate) for candidate in candidates)

    def find(self, candidates: Candidates, what: str) -> tuple[Path, Wanted]:
        """The file of the first candidate that is there, and the variables that it may be in.

        Args:
            candidates: Where it may lie, in order.
            what: What is looked for, for messages: "modality hsi", "label map".

        Raises:
            MamolError: If no candidate is there, or it reads files that it must not.
        """
        places = [(self._path(candidate), candidate) for candidate in candidates]
        path = next((path for path, _ in places if path), None)
        if path is None:
            tried = ", ".join(str(candidate) for candidate in candidates)
            raise MamolError(
                f"{what}: no file for it in {self.root}; expected one of {tried}; found {names_in(self.root)}"
            )
        # Several releases may use one file name, letter case aside, with different variables.
        meant = [candidate for each, candidate in places if each == path]
        if path.suffix.lower() == ".vrt":
            self._check_vrt(path, explicit=Path(meant[0].file).is_absolute())
        exact = any(candidate.exact for candidate in meant)
        if exact and path.suffix.lower() != ".mat":
            raise MamolError(
                f"{what}: variable {meant[0].variable!r} of {path}; only .mat files have variables: leave it out"
            )
        return path, [*(candidate.variable for candidate in meant if candidate.variable), *([] if exact else [None])]

    def named(self, file: str) -> Path:
        """The path that a name means.

        Args:
            file: Relative to the root, or absolute.

        Raises:
            MamolError: If a relative one leads out of the folder.
        """
        path, inside = self.root / file, os.path.abspath(self.inside or self.root)
        if not Path(file).is_absolute() and not Path(os.path.abspath(path)).is_relative_to(inside):
            raise MamolError(
                f"{file} leads out of {inside}; files from elsewhere are named by their absolute path, "
                f"{os.path.abspath(path)}"
            )
        return path

    def _check_vrt(self, path: Path, *, explicit: bool) -> None:
        beyond = outside(path, self.inside or self.root)
        if beyond and not explicit:
            raise MamolError(
                f"{path}: it reads {beyond[0]}, which is outside of {self.inside or self.root}; name the VRT by its "
                "absolute path in the scene.json if that is meant, or copy the file"
            )
        self._tell(beyond)

    def _tell(self, paths: Iterable[Path]) -> None:
        """Says which files lie elsewhere, by an absolute path or by a link; each once."""
        own = {self.root.resolve(), (self.inside or self.root).resolve()}
        for path in paths:
            if path not in self._told and not any(path.resolve().is_relative_to(each) for each in own):
                LOGGER.warning("%s: reads a file outside of it: %s", self.root, path.resolve())
                self._told.add(path)

    def record(self, path: Path) -> None:
        """Keeps the sha256 of a file, and says if it lies elsewhere.

        Args:
            path: The file.

        Raises:
            MamolError: If it cannot be read.
        """
        check_utf8(path)
        self._tell([path])
        name = str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name
        if name not in self.sources:
            try:
                self.sources[name] = sha256_of(path)
            except OSError as error:
                raise unreadable(path, "file", error) from error

    def read(self, candidates: Candidates, what: str) -> Found:
        """The array of the first candidate that is there: a label map, or what is no raster of a modality.

        A raster file is brought onto the scene's grid, if that is known: each pixel takes the nearest label. Where the
        file says that there is nothing, it becomes 0, which is unlabelled.

        Args:
            candidates: Where it may lie, in order.
            what: What is read, for messages: "label map", "pixel index".

        Raises:
            MamolError: If no candidate is there, the file cannot be read, or it lies elsewhere.
        """
        path, variables = self.find(candidates, what)
        found = self._label_raster(path, what) if is_raster(path) else Found(read_array(path, variables), path)
        self.record(path)
        return found

    def _label_raster(self, path: Path, what: str) -> Found:
        source = RasterSource(path)
        if self.grid is None:
            if source.grid.placed:
                self.placed.append((path, source.grid))
            return Found(np.nan_to_num(source.whole()), path, source.grid)
        check_overlap([source], self.grid, f"{what}: {path}")
        moved = onto(source, self.grid, "nearest", f"{what}: {path}")
        return Found(np.nan_to_num(moved.whole()), path, moved.grid)

    def georeference(self, shape: tuple[int, ...]) -> GeoReference | None:
        """Where a scene lies whose rasters do not say so, as its label rasters do.

        Args:
            shape: Height and width of the scene.

        Returns:
            The place; None if no file of this size says it.

        Raises:
            MamolError: If two of them contradict each other.
        """
        places = [(path, grid) for path, grid in self.placed if grid.shape == shape]
        for path, grid in places[1:]:
            if places[0][1].offset(grid) != (0, 0):
                raise MamolError(
                    f"{path}: it covers {grid}, but {places[0][0].name} {places[0][1]}; "
                    "label maps of one scene must lie on one grid: correct the one that is wrong"
                )
        return places[0][1].georeference if places else None

    def _path(self, candidate: ArrayFile) -> Path | None:
        path = self.named(candidate.file)
        if is_file(path):
            return path
        if not path.parent.is_dir():
            return None
        present = {each.name.lower(): each for each in files_in(path.parent)}
        endings = ("", *SUFFIXES) if path.suffix.lower() not in SUFFIXES else ("",)
        return next((present[path.name.lower() + end] for end in endings if path.name.lower() + end in present), None)


def is_raster(path: Path) -> bool:
    """Whether GDAL reads a file.

    Args:
        path: Its path, of which the ending counts.
    """
    return path.suffix.lower() in RASTERS


def read_array(path: Path, variables: Wanted) -> np.ndarray:
    """The array in a file that is no raster file.

    Args:
        path: The file.
        variables: Names that it may have there; None: the one called like the file, else the only one.

    Raises:
        MamolError: If there is none, it is empty, or the file cannot be read.
    """
    suffix = path.suffix.lower()
    readers = {".mat": lambda: read_mat(path, variables), ".npy": lambda: _read_npy(path)}
    readers[".txt"] = lambda: read_roi_text(path)
    if suffix not in readers:
        raise MamolError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")
    array = readers[suffix]()
    if not array.size:
        raise MamolError(f"{path}: the array is empty, its shape is {array.shape}; write it again with its numbers")
    return array


def _read_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except NOT_NPY as error:
        raise unreadable(path, ".npy file", error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise MamolError(f"{path}: an .npz archive under the name .npy; save the one array with numpy.save")
    if array.dtype.kind not in "biuf":
        raise MamolError(f"{path}: the array is of type {array.dtype}; expected real numbers")
    return array


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
    if not array.size:
        raise MamolError(f"{path}: a label map of {array.shape[0]} x {array.shape[1]} pixels is empty; save it again")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.round(array))).all():
        raise MamolError(f"{path}: a label map holds whole numbers; this one has NaN, infinities or fractions")
    if array.max() > MOST_CLASSES:
        raise MamolError(
            f"{path}: the largest label is {array.max()}, at most {MOST_CLASSES} is expected; 0 or -1 marks unlabelled"
        )
    return np.maximum(array.astype(np.int64), 0)


def as_raster(array: np.ndarray, shape: tuple[int, ...] | None, path: Path | str) -> np.ndarray:
    """A raster as (H, W, C), whatever the order of axes in the file, with NaN at its invalid pixels.

    Args:
        array: (H, W) or (H, W, C), or with height and width swapped, or bands first.
        shape: (H, W) of the label map, by which the order is recognised; None: the order is taken as it is.
        path: Its file, or what else to call it, for messages.

    Returns:
        (H, W, C), C-contiguous, of the file's own type; float32 if a band has NaN, infinity or a value beyond float32.
        Such a pixel is NaN in all bands.

    Raises:
        MamolError: If no order of axes fits the shape.
    """
    return ArraySource(ordered(array, shape, path)).whole()


def ordered(array: np.ndarray, shape: tuple[int, ...] | None, path: Path | str) -> np.ndarray:
    """A raster as (H, W, C), whatever the order of axes in the file.

    Args:
        array: (H, W) or (H, W, C), or with height and width swapped, or bands first.
        shape: (H, W) by which the order is recognised; None: the order is taken as it is.
        path: Its file, or what else to call it, for messages.

    Raises:
        MamolError: If no order of axes fits the shape.
    """
    if array.ndim not in (2, 3) or not array.size:
        raise MamolError(f"{path}: a raster has shape (H, W) or (H, W, C); this array has {array.shape}")
    raster = array[:, :, None] if array.ndim == 2 else array
    if shape is None:
        return raster
    orders = ((0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0))
    fitting = [order for order in orders if tuple(raster.shape[axis] for axis in order[:2]) == shape]
    if not fitting:
        raise MamolError(
            f"{path}: shape {array.shape} does not fit the grid of the scene, which is {shape[0]} x {shape[1]}; "
            "all files of a scene must lie on one grid, or say where they lie (GeoTIFF)"
        )
    return raster.transpose(fitting[0])
