"""GeoTIFFs and scenes as tests need them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from mamol.data.scenes import Scene, load_scene

UTM33, UTM34, LONLAT = "EPSG:32633", "EPSG:32634", "EPSG:4326"
WEST, NORTH = 500_000.0, 5_100_000.0

unplaced = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
"""For tests that write and read rasters without georeference on purpose."""


def place(resolution: float = 10, west: float = 0, south: float = 0, angle: float = 0) -> tuple[float, ...]:
    """The transform of a raster that begins so many metres east and south of the common corner.

    Args:
        resolution: Side of a pixel.
        west: Metres to the east of the corner.
        south: Metres to the south of it.
        angle: Degrees by which it is turned.
    """
    cos, sin = np.cos(np.radians(angle)) * resolution, np.sin(np.radians(angle)) * resolution
    return (float(cos), float(sin), WEST + west, float(sin), float(-cos), NORTH - south)


def write_raster(
    path: Path,
    array: np.ndarray,
    transform: Sequence[float] | None = place(),
    crs: str | None = UTM33,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    **profile: Any,
) -> Path:
    """Writes a GeoTIFF (or another raster, by ``driver``).

    Args:
        path: The file.
        array: (H, W) or (H, W, C).
        transform: Six affine numbers; None: no georeference.
        crs: Its CRS; None: none.
        nodata: The tag.
        mask: An inner mask, True where valid.
        profile: More of GDAL's options.
    """
    bands = np.moveaxis(array[:, :, None] if array.ndim == 2 else array, -1, 0)
    count, height, width = bands.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    placed = {} if transform is None else {"transform": Affine(*transform)}
    # Without this, the fourth band of four is tagged as alpha.
    options = {"driver": "GTiff"} | ({} if "driver" in profile else {"photometric": "MINISBLACK"}) | profile
    options = {name: value for name, value in options.items() if value is not None}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            height=height,
            width=width,
            count=count,
            dtype=bands.dtype,
            crs=crs,
            nodata=nodata,
            **placed,
            **options,
        ) as file,
    ):
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)
    return path


def scene_of(root: Path, modalities: dict[str, Any], **more: Any) -> Scene:
    """The scene that a scene.json describes.

    Args:
        root: Its folder, with the files.
        modalities: The entry of this name.
        more: Other entries, and ``whole`` or ``names`` for ``load_scene``.
    """
    whole, names = more.pop("whole", True), more.pop("names", None)
    path = root / "scene.json"
    path.write_text(json.dumps({"name": "field", "modalities": modalities} | more))
    return load_scene("scene", path, need_labels="labels" in more, whole=whole, modalities=names)


def smooth(height: int, width: int, resolution: float, west: float = 0, south: float = 0) -> np.ndarray:
    """Two bands that are functions of the place: metres to the east and to the south of the corner.

    Args:
        height: Rows.
        width: Columns.
        resolution: Side of a pixel.
        west: Metres to the east at which it begins.
        south: Metres to the south.
    """
    rows, cols = np.mgrid[:height, :width] + 0.5
    return np.stack([cols * resolution + west, rows * resolution + south], 2).astype(np.float32)
