"""The rasters of a map as Cloud-Optimised GeoTIFFs, written block by block."""

import warnings
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.evaluation.blocks import NO_PROBABILITY, PROBABILITY_STEPS, Block, code_type, sensor_type
from mamol.evaluation.mapinfo import MapInfo

NO_CONFIDENCE = 255
CACHE_BYTES = 128 << 20  # of GDAL; its default grows with the machine
TILE = 512

Blocks = Callable[[], Iterable[Block]]
"""Gives all blocks of a map from the top down; it is called once for each file."""


@dataclass(frozen=True)
class Layer:
    """One raster of a map.

    Attributes:
        suffix: Of its file's name.
        values: (bands, h, W) of a block.
        dtype: Of the values.
        nodata: Where no sensor saw.
        overviews: How a coarser pixel follows from finer ones.
        tags: Of the file.
        colours: Value to RGB; empty: no colour table.
        labels: Value to text, for QGIS; empty: no style.
        bands: Their names.
        scale: From values to what they mean.
    """

    suffix: str
    values: Callable[[Block], np.ndarray]
    dtype: type[np.unsignedinteger]
    nodata: int
    overviews: str
    tags: dict[str, str] = field(default_factory=dict)
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    bands: tuple[str, ...] = ("",)
    scale: float = 1.0


def layers_of(info: MapInfo, probabilities: bool) -> list[Layer]:
    """The rasters of a map: classes, confidence, and where known sensors, sizes of sets and probabilities.

    Args:
        info: What belongs to the map.
        probabilities: Whether its blocks have all probabilities.
    """
    texts = info.texts
    tags = {f"CLASS_{code}": text for code, text in texts.items()}
    dtype = code_type(max(texts))
    found = [
        Layer("", lambda block: block.classes[None], dtype, 0, "MODE", tags, info.painted, texts, ("class",)),
        Layer("_confidence", percent, np.uint8, NO_CONFIDENCE, "AVERAGE", {"UNIT": "percent"}, bands=("percent",)),
    ]
    if info.modalities:
        codes = range(1, 2 ** min(len(info.modalities), 8))
        few = len(info.modalities) <= 8
        found.append(
            Layer(
                "_sensors",
                lambda block: block.sensors[None],
                sensor_type(len(info.modalities)),
                0,
                "MODE",
                {f"BIT_{bit}": name for bit, name in enumerate(info.modalities)},
                info.patterns(codes) if few else {},
                {code: info.pattern(code) for code in info.patterns(codes)} if few else {},
                ("sensors",),
            )
        )
    if info.coverage is not None:
        sizes = code_type(len(info.names))
        told = {"COVERAGE": f"{info.coverage:g}"}
        found.append(Layer("_set_size", _set_size, sizes, 0, "MODE", told, bands=("classes in the set",)))
    if probabilities:
        scale = 1 / PROBABILITY_STEPS
        found.append(
            Layer(
                "_probabilities", _probabilities, np.uint16, NO_PROBABILITY, "AVERAGE", tags, {}, {}, info.names, scale
            )
        )
    return found


def percent(block: Block) -> np.ndarray:
    """Confidence in whole percent, ``NO_CONFIDENCE`` where no sensor saw.

    Args:
        block: With h rows.

    Returns:
        (1, h, W) uint8.
    """
    return np.where(np.isnan(block.confidence), NO_CONFIDENCE, np.rint(100 * np.nan_to_num(block.confidence)))[
        None
    ].astype(np.uint8)


def _set_size(block: Block) -> np.ndarray:
    if block.set_size is None:
        raise ValueError("the block has no sets")
    return block.set_size[None]


def _probabilities(block: Block) -> np.ndarray:
    if block.probabilities is None:
        raise ValueError("the block has no probabilities")
    return block.probabilities


def write_layer(path: Path, layer: Layer, blocks: Blocks, shape: tuple[int, int], info: MapInfo) -> None:
    """Writes a Cloud-Optimised GeoTIFF, with the memory of a block, and reads it back.

    The driver of such files wants a whole raster, so a plain one goes before. A file is only renamed to its name when
    it holds what was written: GDAL tells of a full disk not everywhere.

    Args:
        path: The file.
        layer: Which raster.
        blocks: Of the map.
        shape: Rows and columns.
        info: Where the map lies.

    Raises:
        MamolError: It cannot be written.
    """
    with replacing(path) as target, warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        plain = target.with_name(f"{target.name}.plain")  # swept with it where a killed process left it
        try:
            written = _write_plain(plain, layer, blocks, shape, info)
            rasterio.shutil.copy(
                plain,
                target,
                driver="COG",
                compress="DEFLATE",
                predictor="NO" if layer.colours else "STANDARD",
                blocksize=TILE,
                overview_resampling=layer.overviews,
                bigtiff="IF_SAFER",
            )
            if _sums(target, blocks) != written:
                raise MamolError(f"{path}: what was written cannot be read back; is the disk full?")
        except (OSError, RasterioError, CPLE_BaseError) as error:
            reason = str(error).partition("\n")[0]
            raise MamolError(f"{path}: cannot be written ({reason}); is the disk full?") from error
        finally:
            plain.unlink(missing_ok=True)


def _write_plain(path: Path, layer: Layer, blocks: Blocks, shape: tuple[int, int], info: MapInfo) -> list[int]:
    """Writes a tiled GeoTIFF; gives the checksum of every block."""
    sums = []
    profile = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "count": len(layer.bands),
        "dtype": layer.dtype,
        "nodata": layer.nodata,
        "crs": info.crs,
        "transform": info.transform,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
        "photometric": "PALETTE" if layer.colours else "MINISBLACK",
        "interleave": "band",
    }
    with rasterio.open(path, "w", **profile) as file:
        if layer.colours:
            file.write_colormap(1, {value: (*colour, 255) for value, colour in layer.colours.items()})
        file.update_tags(**layer.tags)
        for number, name in enumerate(layer.bands, 1):
            file.set_band_description(number, name)
        file.scales = (layer.scale,) * len(layer.bands)
        row = 0
        for block in blocks():
            values = np.ascontiguousarray(layer.values(block))
            file.write(values, window=Window(0, row, values.shape[2], values.shape[1]))
            sums.append(zlib.crc32(values.data))
            row += values.shape[1]
    return sums


def _sums(path: Path, blocks: Blocks) -> list[int]:
    """The checksum of every block as the file has it."""
    sums, row = [], 0
    with rasterio.open(path) as file:
        for block in blocks():
            height, width = block.classes.shape
            sums.append(zlib.crc32(file.read(window=Window(0, row, width, height)).data))
            row += height
    return sums
