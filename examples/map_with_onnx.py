"""Draws the classes of rasters with an exported run: onnxruntime, numpy and rasterio, and nothing of this program.

python examples/map_with_onnx.py result/mine_seed0/export/model.onnx map.tif hsi=HSI.tif lidar=LiDAR.tif

The rasters lie on one grid, larger than a window; nodata and NaN are what a sensor did not see. Codes are from 1; 0 is
where no sensor saw, or with a file for one pattern not all of its sensors. Borders are as with `python run.py predict`:
a window around a pixel holds mirrored pixels beyond the border. With a head for all pixels, windows stand side by side
and the last ones at the border; where they overlap, probabilities are averaged, those at a window's own border counting
least.
"""

import json
import sys

import numpy as np
import onnxruntime
import rasterio

model, out, *given = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
names = [each.name for each in session.get_inputs()]
told = session.get_modelmeta().custom_metadata_map
bands, size, dense, least = (json.loads(told[f"mamol.{key}"]) for key in ("bands", "window", "dense", "min_valid"))
files = {name: rasterio.open(path) for name, path in (each.split("=", 1) for each in given)}
place = next(iter(files.values())).profile
height, width, half = place["height"], place["width"], size // 2
rasters = {name: np.full((count, height, width), np.nan, np.float32) for name, count in bands.items()}
rasters |= {name: file.read(out_dtype="float32", masked=True).filled(np.nan) for name, file in files.items()}
edge = (0, 0) if dense else (half, size - 1 - half)
rasters = {name: np.pad(raster, ((0, 0), edge, edge), mode="symmetric") for name, raster in rasters.items()}
rows, columns = (sorted({*range(0, n - size, size), n - size}) if dense else range(n) for n in (height, width))
weight = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
sums, seen = np.zeros((height, width, len(json.loads(told["mamol.classes"])))), np.zeros((height, width), bool)
for row in rows:
    cut = {n: np.stack([r[:, row : row + size, c : c + size] for c in columns]) for n, r in rasters.items()}
    valid = np.stack([~np.isnan(windows).any(1) for windows in cut.values()], 1)  # (N, M, size, size)
    there = valid.any((2, 3)) if dense else valid[:, :, half, half] & (valid.mean((2, 3)) >= least)
    saws = valid.any(1) if dense else np.ones(len(valid), bool)
    if "available" not in names:  # a file for one pattern
        there &= there.all(1, keepdims=True)
    inputs = {**cut, "available": there}
    (logits,) = session.run(None, {name: inputs[name] for name in names})
    found = np.exp(logits - logits.max(-1, keepdims=True))
    found /= found.sum(-1, keepdims=True)
    for column, one, saw, some in zip(columns, found, saws, there.any(1), strict=True):
        here = np.s_[row : row + size, column : column + size] if dense else np.s_[row, column]
        sums[here] += weight[:, None, None] * weight[:, None] * one if dense else one
        seen[here] |= saw & some
with rasterio.open(out, "w", **(place | {"count": 1, "dtype": "uint8", "nodata": 0, "driver": "GTiff"})) as file:
    file.write(np.where(seen, sums.argmax(-1) + 1, 0).astype("uint8"), 1)
