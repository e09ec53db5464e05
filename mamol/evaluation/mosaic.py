"""The maps of many scenes as one: a GDAL VRT for each raster and pattern, which holds no pixels itself."""

import copy
import logging
import shutil
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.data.grid import GeoReference
from mamol.evaluation.layers import layers_of
from mamol.evaluation.order import Order

logger = logging.getLogger(__name__)


def write_mosaics(order: Order) -> list[Path]:
    """Writes ``<area>_<pattern>.vrt``, ``_confidence.vrt``, ``_sensors.vrt`` beside the maps of an area.

    Args:
        order: Its maps are finished.

    Returns:
        The files; none for one scene, or where the maps cannot lie in one raster, which a line says.

    Raises:
        MamolError: One cannot be written.
    """
    written: list[Path] = []
    for pattern in order.patterns if order.many else ():
        maps = [one for one in order.maps if one.pattern == pattern]
        path = order.path(order.many, pattern)
        if reason := _why_none([one.frame.georeference for one in maps]):
            logger.warning("%s: no VRT of its %d maps, %s", path.name, len(maps), reason)
            continue
        for layer in layers_of(maps[0].info, order.settings.predict.probabilities):
            tiles = [one.path.with_name(f"{one.path.name}{layer.suffix}.tif") for one in maps]
            written.append(path.with_name(f"{path.name}{layer.suffix}.vrt"))
            try:
                write_vrt(written[-1], tiles)
                if layer.labels:
                    written.append(written[-1].with_suffix(".qml"))
                    with replacing(written[-1]) as temporary:
                        shutil.copyfile(tiles[0].with_suffix(".qml"), temporary)
            except (OSError, RasterioError) as error:
                reason = str(error).partition("\n")[0]
                raise MamolError(f"{written[-1]}: cannot be written ({reason}); is the disk full?") from error
    return written


def _why_none(places: Sequence[GeoReference | None]) -> str:
    """Why rasters that lie there are no single raster; "" if they are."""
    known = [place for place in places if place is not None and place.crs]
    if len(known) < len(places):
        return f"{len(places) - len(known)} have no coordinate reference system"
    systems = [CRS.from_wkt(place.crs) for place in known]
    if any(system != systems[0] for system in systems):
        return f"they are in {len(set(systems))} coordinate reference systems"
    if any(b or d or a <= 0 or e >= 0 for a, b, _, d, e, _ in (place.transform for place in known)):
        return "some are rotated or upside down"
    return ""


def write_vrt(path: Path, tiles: Sequence[Path]) -> None:
    """Writes a mosaic of rasters of one kind in one coordinate reference system; a later one lies above.

    GDAL describes the first raster, with its colours, names and nodata; the others are entered beside it.

    Args:
        path: The file, in the folder of the rasters.
        tiles: The rasters; the smallest pixels are those of the mosaic.
    """
    with replacing(path) as temporary:
        rasterio.shutil.copy(tiles[0], temporary, driver="VRT")
        tree = ET.parse(temporary)  # noqa: S314 - GDAL wrote it
        _enter(tree.getroot(), tiles)
        ET.indent(tree)
        tree.write(temporary)


def _enter(root: ET.Element, tiles: Sequence[Path]) -> None:
    """Makes the description of one raster that of all."""
    placed = []
    for tile in tiles:
        with rasterio.open(tile) as file:
            placed.append((tile, file.transform, file.width, file.height))
    across = min(transform.a for _, transform, _, _ in placed)
    down = min(-transform.e for _, transform, _, _ in placed)
    left, top = min(each.c for _, each, _, _ in placed), max(each.f for _, each, _, _ in placed)
    ends = [((each.c + each.a * w - left) / across, (top - each.f - each.e * h) / down) for _, each, w, h in placed]
    for name, end in zip(("rasterXSize", "rasterYSize"), zip(*ends, strict=True), strict=True):
        root.set(name, str(ceil(round(max(end), 3))))
    _child(root, "GeoTransform").text = ", ".join(map(repr, (left, across, 0.0, top, 0.0, -down)))
    for band in root.iter("VRTRasterBand"):
        source = _child(band, "SimpleSource")
        band.remove(source)
        source.tag = "ComplexSource"  # which leaves what lies below to be seen where no sensor saw
        ET.SubElement(source, "NODATA").text = _child(band, "NoDataValue").text
        for (tile, transform, width, height), end in zip(placed, ends, strict=True):
            entry = copy.deepcopy(source)
            size = {"xSize": str(width), "ySize": str(height)}
            begin = (transform.c - left) / across, (top - transform.f) / down
            _child(entry, "SourceFilename").text = tile.name
            _child(entry, "SourceProperties").attrib.update(RasterXSize=str(width), RasterYSize=str(height))
            _child(entry, "SrcRect").attrib.update(size)
            _child(entry, "DstRect").attrib.update(
                {
                    name: f"{round(value, 3):.15g}"
                    for name, value in zip(
                        ("xOff", "yOff", "xSize", "ySize"),
                        (*begin, end[0] - begin[0], end[1] - begin[1]),
                        strict=True,
                    )
                }
            )
            band.append(entry)


def _child(element: ET.Element, tag: str) -> ET.Element:
    """A part that GDAL always writes."""
    found = element.find(tag)
    if found is None:
        raise OSError(f"GDAL wrote no {tag}")
    return found
