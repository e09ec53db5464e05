"""Loading a batch: one gather from a tensor column against decoding nested lists row by row."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from scipy.io import savemat

from benchmarks.harness import Figure, alternate, ratio_figure
from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable

OURS, NESTED = "ours", "nested lists, row by row"
BATCH = 128
BANDS = 144
SAMPLES = 256
FILES = {"hsi": "HSI", "lidar": "LiDAR"}
"""Modality to its raw file without ending, and the variable in it."""


def run(rounds: int = 5) -> list[Figure]:
    """Time for a batch of 128 samples of 144 + 1 bands in 14 × 14 windows, and the size of the files."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        path = write_table(root)
        table = SceneTable.open(path)
        nested_path = write_nested(table, root / "nested.arrow")
        nested = pa.ipc.open_file(pa.memory_map(str(nested_path))).read_all()
        chosen = np.random.default_rng(0).permutation(len(table))[:BATCH]
        candidates = {OURS: lambda: gather(table, chosen), NESTED: lambda: decode(nested, chosen)}
        if not all(torch.equal(a, b) for a, b in zip(*(call() for call in candidates.values()), strict=True)):
            raise RuntimeError("both ways must give the same batch")
        seconds = alternate(candidates, rounds)
        sizes = {OURS: path.stat().st_size, NESTED: nested_path.stat().st_size}
    per_sample = " against ".join(f"{size / 1000 / SAMPLES:.0f} kB" for size in sizes.values())
    return [
        ratio_figure("loading a batch of 128, 144 bands", seconds, OURS, NESTED, at_most=0.01, note="both in memory"),
        Figure(
            "size of the table",
            sizes[OURS] / sizes[NESTED],
            against=NESTED,
            at_most=0.5,
            note=f"{per_sample} per sample",
            details={"bytes": sizes},
        ),
    ]


def write_table(root: Path, layout: str = "patches", scenes: int = 1) -> Path:
    """A training table of 256 random samples, made from raw scenes by the program's own command.

    Args:
        root: Folder of the raw files, or of those of each scene.
        layout: Of the table.
        scenes: How many.
    """
    if scenes == 1:
        _write_scene(root, 0)
    else:
        names = [f"scene{number}" for number in range(scenes)]
        for number, name in enumerate(names):
            _write_scene(root / name, number)
        (root / "scene.json").write_text(json.dumps({"scenes": names}))
    out = root / "table"
    per_class = SAMPLES // 2
    prepare(Options("scene", root, out, train_per_class=per_class, test_per_class=1, val_per_class=0, layout=layout))
    return out / "train.arrow"


def _write_scene(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    height, width = 20, 40
    rasters = {
        "HSI": rng.normal(size=(height, width, BANDS)).astype(np.float32),
        "LiDAR": rng.normal(size=(height, width)).astype(np.float32),
        "Label": np.repeat([[1, 2]], width // 2, axis=1).repeat(height, axis=0).astype(np.uint8),
    }
    for name, raster in rasters.items():
        savemat(folder / f"{name}.mat", {name: raster})
    description = {
        "name": folder.name,
        "modalities": {name: {"file": f"{file}.mat"} for name, file in FILES.items()},
        "labels": {"file": "Label.mat"},
        "classes": ["left", "right"],
    }
    (folder / "scene.json").write_text(json.dumps(description))


def write_nested(table: SceneTable, path: Path) -> Path:
    """The same samples as the release writes them: nested Python lists in a data frame, which become float64."""
    everything = np.arange(len(table))
    columns = {name: table.windows(name, everything).tolist() for name in table.info.modalities}
    frame = pd.DataFrame(columns | {"label": table.label})
    content = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, content.schema) as writer:
        writer.write_table(content)
    return path


def gather(table: SceneTable, chosen: np.ndarray) -> list[torch.Tensor]:
    """The batch from our table, one gather per modality."""
    return [torch.from_numpy(table.windows(name, chosen)) for name in table.info.modalities]


def decode(nested: pa.Table, chosen: np.ndarray) -> list[torch.Tensor]:
    """The batch from nested lists, row by row: pandas, lists, an array, a tensor; then they are stacked.

    It takes 2 to 5 ms per sample, as was seen of the release; ``as_py`` of the cells would take twice as long.
    """
    names = [name for name in nested.column_names if name != "label"]
    rows = [nested.slice(i, 1).to_pandas().iloc[0] for i in chosen.tolist()]
    return [torch.stack([torch.from_numpy(_array(row[name])) for row in rows]) for name in names]


def _array(cell: np.ndarray) -> np.ndarray:
    """(C, P, P) float32 of one cell, which pandas has as arrays of arrays of arrays."""
    return np.array([[list(values) for values in band] for band in cell], np.float32)
