"""Draws the classes of rasters with an exported run that classifies all pixels of a window (`head=pixels`).

python examples/dense_map_with_onnx.py result/mine_seed0/export/model.onnx map.tif hsi=HSI.tif lidar=LiDAR.tif

As map_with_onnx.py, with windows side by side and the last ones at the border, as with `python run.py predict`; where
they overlap, probabilities are averaged, those at a window's own border counting least. It takes a file
for one pattern, too.
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
bands, size, classes = (json.loads(told[f"mamol.{key}"]) for key in ("bands", "window", "classes"))
files = {name: rasterio.open(path) for name, path in (each.split("=", 1) for each in given)}
place = next(iter(files.values())).profile
height, width = place["height"], place["width"]
rasters = {name: np.full((count, height, width), np.nan, np.float32) for name, count in bands.items()}
rasters |= {name: file.read(out_dtype="float32", masked=True).filled(np.nan) for name, file in files.items()}
rows, columns = (sorted({*range(0, n - size, size), n - size}) for n in (height, width))
wave = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
weight, sums, seen = wave[:, None] * wave, np.zeros((height, width, len(classes))), np.zeros((height, width), bool)
for row in rows:
    cut = {n: np.stack([r[:, row : row + size, c : c + size] for c in columns]) for n, r in rasters.items()}
    valid = np.stack([~np.isnan(windows).any(1) for windows in cut.values()], 1)  # (N, M, size, size)
    available = valid.any((2, 3))
    if "available" not in names:  # a file for one pattern
        available &= available.all(1, keepdims=True)
    inputs = {**cut, "available": available}
    (logits,) = session.run(None, {name: inputs[name] for name in names})
    found = np.exp(logits - logits.max(-1, keepdims=True))
    found /= found.sum(-1, keepdims=True)
    for column, one, saw, some in zip(columns, found, valid.any(1), available.any(1), strict=True):
        here = np.s_[row : row + size, column : column + size]
        sums[here] += weight[..., None] * one
        seen[here] |= saw & some
place |= {"count": 1, "dtype": "uint8", "nodata": 0, "driver": "GTiff"}
with rasterio.open(out, "w", **place) as file:
    file.write(np.where(seen, sums.argmax(-1) + 1, 0).astype("uint8"), 1)
