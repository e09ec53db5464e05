"""Real scenes as they would come from the field: holes in the files, other grids, fields as polygons.

``python -m tests.field_scenes --data DIR --out DIR [--only NAME]`` writes them, from the arrays in a folder. Sensors
and labels are real; clouds, swath edges and the coarse grids are drawn, and the places on earth are invented, as the
arrays come without any.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from rasterio.features import shapes
from rasterio.warp import Resampling, reproject
from scipy.io import loadmat
from shapely.geometry import shape

from mamol.data.synthetic import beyond_swath, cloud_blobs
from tests.geotiffs import UTM33, place, write_raster

CLOUDED, UNCOVERED = 0.25, 0.2
COARSER, TURNED, SHIFTED = 2, 12.0, 0.35  # times, degrees, pixels: how the second sensor's grid lies to the first one's
TRACT = 5  # pixels; along squares of this side, areas of a class are cut into fields
NODATA = -9999.0
SCL_CLEAR, SCL_CLOUD = 4, 9
NOTE = "real sensors and labels; clouds, swath edge and grids are drawn, the place is invented"


@dataclass(frozen=True)
class Field:
    """How a scene is written.

    Attributes:
        name: Its folder among the arrays.
        title: What maps call it.
        first: Modality of ``HSI_data``, on the scene's grid and under clouds.
        second: Modality of the other raster, on a coarser, shifted and turned grid, with a swath edge.
        file: The other raster's file.
        holes: How the clouds are said: by a quality raster, a nodata tag, or NaN.
        classes: Names and colours, in label order.
        labels: File of the polygons; its ending says the format.
        crs: Of the polygons.
        part: Rows and columns that are taken.
    """

    name: str
    title: str
    first: str
    second: str
    file: str
    holes: str
    classes: dict[str, str]
    labels: str
    crs: str
    part: tuple[slice, slice] = (slice(None), slice(None))


CHANGE = {"unchanged": "tan", "changed": "crimson"}
FIELDS = (
    Field(
        name="eolearn_slovenia",
        title="Slovenia (eo-learn)",
        first="optical",
        second="elevation",
        file="LiDAR_data",
        holes="mask",
        classes={"forest": "darkgreen", "grassland": "yellowgreen", "shrubland": "peru", "artificial surface": "grey"},
        labels="fields.gpkg",
        crs="EPSG:3794",
    ),
    Field(
        name="yellow_river",
        title="Yellow River",
        first="optical",
        second="sar",
        file="SAR_data",
        holes="tag",
        classes=CHANGE,
        labels="areas.geojson",
        crs="EPSG:4326",
        part=(slice(190, 310), slice(40, 160)),
    ),
    Field(
        name="italy",
        title="Italy",
        first="optical",
        second="nir",
        file="SAR_data",
        holes="nan",
        classes=CHANGE,
        labels="areas.gpkg",
        crs="EPSG:3035",
        part=(slice(90, 190), slice(160, 300)),
    ),
)


def write_scene(field: Field, data: Path, out: Path, seed: int = 0) -> Path:
    """Writes GeoTIFFs, polygons and scene.json.

    Args:
        field: The scene.
        data: Folder of the arrays of all scenes.
        out: Folder for all scenes; this one has a folder of its own in it.
        seed: Of the clouds.

    Returns:
        The scene's folder.
    """
    folder = out / field.name
    labels, first, second = read_arrays(field, data)
    clouds = cloud_blobs(np.random.default_rng(seed), labels.shape, CLOUDED)
    grid = Affine(*place())
    folder.mkdir(parents=True, exist_ok=True)
    entry = _write_first(field, folder, first, clouds, grid)
    _write_second(folder / f"{field.second}.tif", second.astype(np.float32), grid)
    _polygons(field, labels, grid).to_crs(field.crs).to_file(folder / field.labels)
    scene = {
        "name": field.title,
        "modalities": {
            field.first: {"file": f"{field.first}.tif"} | entry,
            field.second: {"file": f"{field.second}.tif"},
        },
        "labels": {"file": field.labels, "column": "cover"},
        "classes": list(field.classes),
        "colours": list(field.classes.values()),
        "note": NOTE,
    }
    (folder / "scene.json").write_text(json.dumps(scene, indent=2))
    return folder


def read_arrays(field: Field, data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a scene is made of.

    Args:
        field: The scene.
        data: Folder of the arrays of all scenes.

    Returns:
        Labels (H, W), the first raster (H, W, C) and the second one (H, W, 1), of the scene's part.
    """
    source = data / field.name
    labels = loadmat(source / "All_Label.mat")["All_Label"]
    first = loadmat(source / "HSI_data.mat")["HSI_data"]
    second = loadmat(source / f"{field.file}.mat")[field.file].reshape(*labels.shape, -1)[:, :, :1]
    return labels[field.part], first[field.part], second[field.part]


def _write_first(field: Field, folder: Path, array: np.ndarray, clouds: np.ndarray, grid: Affine) -> dict[str, Any]:
    """Writes the raster under clouds; what scene.json says of them."""
    path = folder / f"{field.first}.tif"
    if field.holes == "mask":
        stored = np.rint(array * 10_000).astype(np.uint16)
        stored[clouds] = 9_000  # clouds are bright, and only the quality raster says so
        write_raster(path, stored, grid[:6], UTM33)
        even = np.pad(clouds, [(0, -side % 2) for side in clouds.shape])
        cloudy = even.reshape(len(even) // 2, 2, -1, 2).any((1, 3))  # at 20 m, as Sentinel-2 has it
        quality = np.where(cloudy, SCL_CLOUD, SCL_CLEAR).astype(np.uint8)
        write_raster(folder / "scl.tif", quality, (grid @ Affine.scale(2))[:6], UTM33)
        return {"mask": {"file": "scl.tif", "invalid": [SCL_CLOUD]}, "scale": 0.0001}
    hole = np.nan if field.holes == "nan" else NODATA
    stored = np.where(clouds[:, :, None], np.float32(hole), array.astype(np.float32))
    write_raster(path, stored, grid[:6], UTM33, nodata=None if field.holes == "nan" else NODATA)
    return {}


def _write_second(path: Path, array: np.ndarray, grid: Affine) -> None:
    """Writes the other raster: coarser, shifted and turned about the scene's centre, up to the edge of its swath."""
    height, width = array.shape[:2]
    side = int(np.hypot(height, width) / COARSER) + 2
    turned = grid @ Affine.translation(width / 2 + SHIFTED, height / 2 + SHIFTED) @ Affine.rotation(TURNED)
    coarse = turned @ Affine.scale(COARSER) @ Affine.translation(-side / 2, -side / 2)
    seen = array.copy()
    seen[beyond_swath((height, width), UNCOVERED)] = np.nan
    result = np.full((1, side, side), np.nan, np.float32)
    reproject(
        np.moveaxis(seen, -1, 0),
        result,
        src_transform=grid,
        src_crs=UTM33,
        dst_transform=coarse,
        dst_crs=UTM33,
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    write_raster(path, np.nan_to_num(result[0], nan=NODATA), coarse[:6], UTM33, nodata=NODATA)


def _polygons(field: Field, labels: np.ndarray, grid: Affine) -> gpd.GeoDataFrame:
    """Areas of one class, cut along squares and a little smaller than their pixels, as somebody would draw them."""
    row, col = np.indices(labels.shape) // TRACT
    squares = row * (labels.shape[1] // TRACT + 1) + col
    numbers = squares * (len(field.classes) + 1) + labels
    found = [
        (shape(outline).buffer(-0.1 * grid.a), int(number) % (len(field.classes) + 1))
        for outline, number in shapes(numbers.astype(np.int32), mask=labels > 0, transform=grid)
    ]
    names = [list(field.classes)[code - 1] for _, code in found]
    return gpd.GeoDataFrame({"cover": names}, geometry=[outline for outline, _ in found], crs=UTM33)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the scenes from the command line.

    Args:
        arguments: The command line without the program's name; ``None`` takes the process's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.field_scenes", description="Write real scenes with holes.")
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder of arrays for each scene")
    parser.add_argument("--out", type=Path, required=True, help="folder for the scenes")
    parser.add_argument("--only", choices=[field.name for field in FIELDS], help="one of them (default: all)")
    options = parser.parse_args(arguments)
    for field in FIELDS:
        if options.only in (None, field.name):
            sys.stdout.write(f"{write_scene(field, options.data, options.out)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
