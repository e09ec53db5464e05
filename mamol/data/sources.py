"""Rasters that are read in parts: of an array and of a file."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.drivers import raster_driver_extensions
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from mamol.core.errors import MamolError
from mamol.data.grid import Grid
from mamol.data.opening import check_memory, unreadable
from mamol.data.places import Values
from mamol.data.validity import equals, interpreted, marked
from mamol.data.virtual import is_vrt

Part = tuple[NDArray, NDArray[np.bool_]]
KINDS = {".tif": "GeoTIFF", ".tiff": "GeoTIFF", ".jp2": "JPEG 2000 file", ".vrt": "VRT"}
"""What files are that GDAL reads here, by their ending."""
DRIVERS = {f".{ending}": driver for ending, driver in raster_driver_extensions().items() if f".{ending}" in KINDS}
"""Which of GDAL's drivers reads them; some builds have no JPEG 2000. Another one might read other files, or the net."""


UNREADABLE = (RasterioError, CRSError, CPLE_BaseError, MemoryError, ValueError)
"""What rasterio raises on damaged files."""


class Source(Protocol):
    """A raster that is read in parts, from a path or an array; it can be pickled."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def bands(self) -> int:
        """Bands."""

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A rectangle, as a fresh array.

        Args:
            rows: Its rows, inside the raster.
            cols: Its columns, inside the raster.

        Returns:
            (h, w, C); an invalid pixel is NaN in all bands. The same rectangle has the same bits in any other.
        """


class Raster(ABC):
    """What all sources share: numbers as they are stored, and which pixels are invalid.

    Attributes:
        grid: Its rows and columns, and where they lie.
        bands: Number of bands.
    """

    grid: Grid
    bands: int

    def __str__(self) -> str:
        """What messages call it."""
        return f"the raster on {self.grid}"

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    @abstractmethod
    def stored(self, rows: slice, cols: slice) -> Part:
        """The numbers of a rectangle, of the type that they are stored in, and (h, w) which pixels are invalid.

        Args:
            rows: Its rows, inside the raster.
            cols: Its columns.
        """

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A rectangle as float32 with NaN at the invalid pixels, as a fresh array.

        Args:
            rows: Its rows, inside the raster.
            cols: Its columns.
        """
        return marked(*self.stored(rows, cols))

    def whole(self) -> NDArray:
        """All of it: of the stored type if every pixel is valid, else float32 with NaN.

        Raises:
            MamolError: If this machine's memory cannot hold it.
        """
        pixel, _ = self.stored(slice(0, 1), slice(0, 1))
        check_memory(str(self), (self.height, self.width, self.bands), pixel.dtype)
        data, invalid = self.stored(slice(0, self.height), slice(0, self.width))
        return marked(data, invalid) if invalid.any() else np.ascontiguousarray(data)


class ArraySource(Raster):
    """A raster of an array that is in memory, or mapped into it."""

    def __init__(self, array: NDArray, values: Values = Values()) -> None:  # noqa: B008 - frozen
        """Takes the array.

        Args:
            array: (H, W, C).
            values: How its numbers are read.
        """
        self.array = array if not values.bands else array[:, :, [band - 1 for band in values.bands]]
        self.values = values
        self.grid = Grid(*array.shape[:2])
        self.bands = self.array.shape[2]

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        data = self.array[rows, cols]
        return interpreted(data, np.zeros(data.shape[:2], bool), self.values)


class Handle:
    """A dataset that every thread of every process opens for itself: shared handles crash or read nonsense."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet.

        Args:
            path: The file.
        """
        self.path = path
        self._local = threading.local()

    def __reduce__(self) -> tuple[type["Handle"], tuple[Path]]:
        """Only the path travels."""
        return Handle, (self.path,)

    def __call__(self) -> Any:  # noqa: ANN401 - rasterio has no types
        """The open dataset."""
        here = self._local.__dict__
        if here.get("process") != os.getpid():
            # What a fork brought along belongs to the parent: it is kept, since closing it would touch the parent's.
            driver = DRIVERS.get(self.path.suffix.lower())
            file = rasterio.open(self.path, driver=driver, sharing=False)
            here.update(parent=here.get("file"), process=os.getpid(), file=file)
        return here["file"]


class RasterSource(Raster):
    """A raster file that GDAL reads, on its own grid."""

    def __init__(self, path: Path, values: Values = Values()) -> None:  # noqa: B008 - frozen
        """Reads the header.

        Args:
            path: The file.
            values: How its numbers are read; bands: all but an alpha band, unless they name it.

        Raises:
            MamolError: If the file cannot be read, has no such band or none at all, holds complex numbers or blocks
                that this machine's memory cannot hold, or is placed by control points only.
        """
        self.path, self.values, self._handle = path, values, Handle(path)
        try:
            file = self._handle()
            self.grid = _grid_of(path, file)
        except UNREADABLE as error:
            raise _unreadable(path, error) from error
        alpha = [band for band, meaning in enumerate(file.colorinterp, 1) if meaning == ColorInterp.alpha]
        self.numbers = list(values.bands) or [band for band in file.indexes if band not in alpha]
        if not self.numbers:
            raise MamolError(f"{path}: it has no band but alpha; name it in bands if it is a feature")
        self.alpha = [band for band in alpha if band not in self.numbers]
        check_bands(path, self.numbers, file.count)
        self.bands = len(self.numbers)
        self._check_types(file)

    def __str__(self) -> str:
        """The file."""
        return str(self.path)

    def _check_types(self, file: Any) -> None:  # noqa: ANN401 - rasterio has no types
        for band in (*self.numbers, *self.alpha):
            kind = file.dtypes[band - 1]
            if "complex" in kind:
                raise MamolError(f"{self.path}: band {band} is of type {kind}; expected real numbers: write amplitudes")
            check_memory(f"{self.path}: a block", file.block_shapes[band - 1], np.dtype(kind))

    def stored(self, rows: slice, cols: slice) -> Part:
        """See the base class.

        Args:
            rows: Rows inside the raster.
            cols: Columns inside the raster.
        """
        window = Window.from_slices(rows, cols, height=self.height, width=self.width)
        try:
            file = self._handle()
            data = np.moveaxis(file.read(self.numbers, window=window), 0, -1)
            invalid = self._masked(file, window, data)
        except UNREADABLE as error:
            raise _unreadable(self.path, error) from error
        return interpreted(data, invalid, self.values)

    def _masked(self, file: Any, window: Window, data: NDArray) -> NDArray[np.bool_]:  # noqa: ANN401
        """What the file itself says is invalid, in any band.

        Its ``dataset_mask`` would ask for all bands, an inner mask hides the nodata tag, and an alpha band counts as
        mask in some types only: so each is asked.
        """
        invalid = np.zeros(data.shape[:2], bool)
        for place, band in enumerate(self.numbers):
            flags = file.mask_flag_enums[band - 1]
            if MaskFlags.all_valid not in flags and MaskFlags.alpha not in flags:
                invalid |= file.read_masks(band, window=window) == 0
            if file.nodatavals[band - 1] is not None:
                invalid |= equals(data[:, :, place], file.nodatavals[band - 1])
        for band in self.alpha:
            invalid |= file.read(band, window=window) == 0
        return invalid


def check_bands(path: Path | str, bands: Sequence[int], count: int) -> None:
    """Refuses bands that a file does not have.

    Args:
        path: The file.
        bands: Numbers from 1.
        count: How many it has.

    Raises:
        MamolError: If one is not there.
    """
    if lacking := [band for band in bands if band > count]:
        raise MamolError(f"{path}: bands names {lacking[0]}, the file has {count}; they are counted from 1")


def _unreadable(path: Path, error: Exception) -> MamolError:
    if path.suffix.lower() != ".vrt" and is_vrt(path):
        return MamolError(f"{path}: a VRT under the name {path.name}; call it .vrt")
    return unreadable(path, KINDS.get(path.suffix.lower(), "raster"), error)


def _grid_of(path: Path, file: Any) -> Grid:  # noqa: ANN401 - rasterio has no types
    transform = None if file.transform.is_identity and not file.crs else tuple(file.transform)[:6]
    if transform is None and (file.gcps[0] or file.rpcs):
        points = "ground control points" if file.gcps[0] else "rational polynomials (RPC)"
        raise MamolError(
            f"{path}: it is placed by {points} only, without a grid; "
            "bring it onto one first, for example with gdalwarp -t_srs EPSG:<number>"
        )
    if not isfinite(file.transform.determinant) or file.transform.determinant == 0:
        raise MamolError(f"{path}: its pixels have no size ({transform}); write its georeference again")
    return Grid(file.height, file.width, file.crs.to_wkt() if file.crs else "", transform)
