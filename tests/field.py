"""A small scene from the field: clouds in one raster, a coarser and shifted other one, fields as polygons.

``python -m tests.field FOLDER`` writes it.
"""

import json
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.transform import from_origin
from shapely.geometry import box

CRS = "EPSG:32633"
WEST, NORTH, PIXEL = 500_000.0, 5_100_000.0, 10.0
CLASSES = ("maize", "wheat", "meadow")
NODATA = -9999.0
SIDE, FIELD = 48, 8  # pixels of the optical grid; side of a field


def write_field_scene(folder: Path, seed: int = 0) -> Path:
    """Writes optical.tif, sar.tif, fields.gpkg and scene.json.

    Args:
        folder: Where; it is created.
        seed: Of the made-up values.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    per_side = SIDE // FIELD
    crops = rng.permutation(np.arange(per_side**2) % len(CLASSES)).reshape(per_side, per_side)
    truth = crops.repeat(FIELD, 0).repeat(FIELD, 1)
    optical = rng.normal(size=(len(CLASSES), 4))[truth] * 2 + rng.normal(size=(SIDE, SIDE, 4))
    optical[10:26, 6:30] = NODATA  # a cloud
    coarse = np.array([-3.0, 0.0, 3.0])[truth][::2, ::2, None] + rng.normal(size=(SIDE // 2, SIDE // 2, 1))
    coarse[:, 19:] = NODATA  # the edge of the swath
    _write(folder / "optical.tif", optical, PIXEL, (0, 0))
    _write(folder / "sar.tif", coarse, 2 * PIXEL, (5, -5))
    shapes = [
        box(
            WEST + c * FIELD * PIXEL,
            NORTH - (r + 1) * FIELD * PIXEL,
            WEST + (c + 1) * FIELD * PIXEL,
            NORTH - r * FIELD * PIXEL,
        )
        for r in range(per_side)
        for c in range(per_side)
    ]
    names = [CLASSES[code] for code in crops.ravel()]
    fields = gpd.GeoDataFrame({"crop": names}, geometry=[each.buffer(-1) for each in shapes], crs=CRS)
    fields.to_crs("EPSG:4326").to_file(folder / "fields.gpkg", layer="fields")
    scene = {
        "name": "Made-up fields",
        "modalities": {"ms": {"file": "optical.tif"}, "sar": {"file": "sar.tif", "resampling": "nearest"}},
        "labels": {"file": "fields.gpkg", "layer": "fields", "column": "crop"},
        "note": "synthetic scene",
    }
    (folder / "scene.json").write_text(json.dumps(scene, indent=2))
    return folder


def _write(path: Path, raster: np.ndarray, pixel: float, shift: tuple[float, float]) -> None:
    profile = {
        "driver": "GTiff",
        "height": raster.shape[0],
        "width": raster.shape[1],
        "count": raster.shape[2],
        "dtype": "float32",
        "crs": CRS,
        "transform": from_origin(WEST + shift[0], NORTH + shift[1], pixel, pixel),
        "nodata": NODATA,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(raster.astype(np.float32).transpose(2, 0, 1))


if __name__ == "__main__":
    sys.stdout.write(f"{write_field_scene(Path(sys.argv[1]))}\n")
