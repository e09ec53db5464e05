"""Parts of the synthetic scene as GeoTIFFs of 10 m in UTM zone 32."""

import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from mamol.core.settings import Settings
from mamol.data.matfiles import read_mat

FILES = {"hsi": "HSI.mat", "lidar": "LiDAR.mat", "sar": "SAR.mat"}
ORIGIN = (500000.0, 5200000.0)
ALL = slice(None)


def write_placed(
    scene_folder: Path, folder: Path, name: str, rows: slice = ALL, cols: slice = ALL, *, crs: int = 32632
) -> Path:
    """Writes some rows and columns as a scene of that name, where they lie in the whole; gives its scene.json."""
    folder.mkdir(parents=True)
    for modality, file in FILES.items():
        bands = np.atleast_3d(read_mat(scene_folder / file, []))[rows, cols].transpose(2, 0, 1)
        profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
        corner = Affine(10, 0, ORIGIN[0] + 10 * (cols.start or 0), 0, -10, ORIGIN[1] - 10 * (rows.start or 0))
        place = {"crs": CRS.from_epsg(crs), "transform": corner}
        with rasterio.open(folder / f"{modality}.tif", "w", driver="GTiff", **profile, **place) as out:
            out.write(bands)
    described = folder / "scene.json"
    files = {modality: {"file": f"{modality}.tif"} for modality in FILES}
    described.write_text(json.dumps({"name": name, "modalities": files}))
    return described


def settings_of(run_folder: Path, scene: Path, **more: object) -> Settings:
    """Of ``predict``, on the CPU."""
    return Settings.of(
        {"load_path": str(run_folder), "scene": str(scene), "num_gpus": 0, "progress_bar": False, **more}
    )


def contents(folder: Path) -> dict[str, bytes]:
    """What the maps in a folder hold; pictures and .mat files have dates inside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".png", ".mat")}
