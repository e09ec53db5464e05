"""Draws the classes of rasters with an exported run: onnxruntime, numpy and rasterio, and nothing of this program.

python examples/map_with_onnx.py result/mine_seed0/export/model.onnx map.tif hsi=HSI.tif lidar=LiDAR.tif

For a file of all patterns with a class for the middle pixel. The rasters lie on one grid; nodata and NaN are what a
sensor did not see, and beyond the border the scene is mirrored, as with `python run.py predict`. Codes are from
1; 0 is where no sensor saw.
"""

import json
import sys

import numpy as np
import onnxruntime
import rasterio

session = onnxruntime.InferenceSession(sys.argv[1])
told = session.get_modelmeta().custom_metadata_map
bands, size, least = (json.loads(told[f"mamol.{key}"]) for key in ("bands", "window", "min_valid"))
files = {name: rasterio.open(path) for name, path in (each.split("=", 1) for each in sys.argv[3:])}
place, half = next(iter(files.values())).profile, size // 2
height, width = place["height"], place["width"]
rasters = {name: np.full((count, height, width), np.nan, np.float32) for name, count in bands.items()}
rasters |= {name: file.read(out_dtype="float32", masked=True).filled(np.nan) for name, file in files.items()}
edge = half, size - 1 - half
rasters = {name: np.pad(raster, ((0, 0), edge, edge), mode="symmetric") for name, raster in rasters.items()}
classes = np.zeros((height, width), np.uint8)
for row in range(height):
    cut = {n: np.stack([r[:, row : row + size, c : c + size] for c in range(width)]) for n, r in rasters.items()}
    valid = np.stack([~np.isnan(windows).any(1) for windows in cut.values()], 1)  # (N, M, size, size)
    available = valid[:, :, half, half] & (valid.mean((2, 3)) >= least)
    (logits,) = session.run(None, {**cut, "available": available})
    classes[row] = np.where(available.any(1), logits.argmax(1) + 1, 0)
place |= {"count": 1, "dtype": "uint8", "nodata": 0, "driver": "GTiff"}
with rasterio.open(sys.argv[2], "w", **place) as file:
    file.write(classes, 1)
