"""Memory that the map of a scene takes that no memory would hold, seen by the kernel."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.windows import Window

from benchmarks.harness import THREADS, Figure, quiet_and_repeatable
from benchmarks.memory import STATUS, resident
from benchmarks.workload import CLASSES, WINDOW, frozen_tower, network
from mamol.data.scenes import GeoReference
from mamol.evaluation.blocks import Block, WindowClassifier, block_rows
from mamol.evaluation.frame import Frame
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.mapper import predictor

SIDE, BANDS, BATCH, ROWS = 20_000, 6, 32, 512
TRIED = 640  # windows that go through the network; a whole block would take hours and no more memory
PLACE = (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)
NAME = "memory of a map of 20,000 × 20,000"
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class SparseFile:
    """A GeoTIFF whose tiles were never written, read as it is.

    Attributes:
        path: The file.
        height: Rows.
        width: Columns.
        bands: Number of bands.
    """

    path: Path
    height: int = SIDE
    width: int = SIDE
    bands: int = BANDS

    def create(self) -> None:
        """Writes it; it takes some kilobytes."""
        size = {"height": self.height, "width": self.width, "count": self.bands, "dtype": "uint16"}
        tiles = {"transform": Affine(*PLACE), "tiled": True, "blockxsize": 512, "blockysize": 512}
        with rasterio.open(self.path, "w", driver="GTiff", sparse_ok=True, bigtiff="YES", **size, **tiles):
            pass

    def read(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """A part of it, as float32."""
        window = Window.from_slices(rows, cols)
        with rasterio.Env(GDAL_CACHEMAX=64 << 20), rasterio.open(self.path) as file:
            return np.ascontiguousarray(file.read(window=window, out_dtype="float32").transpose(1, 2, 0))


def run() -> list[Figure]:
    """The kernel's high-water mark of a process that draws a map, as ``predict`` does, of a file that is sparse.

    Some windows go through the tiny tower, then the first block of 512 rows is read and cut with a stand-in for the
    network, and a map of so many such blocks is written: rasters, picture, areas.
    """
    against = "what the rasters would take as float32"
    if not STATUS.is_file():
        return [Figure(NAME, None, against=against, note="needs /proc of Linux: not measured")]
    done = subprocess.run(  # noqa: S603 - this program
        [sys.executable, "-m", "benchmarks.maps"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    peak, speed, written = (float(word) for word in done.stdout.split())
    whole = 4 * SIDE * SIDE * BANDS
    return [
        Figure(
            NAME,
            peak / 1e9,
            "GB",
            at_most=2,
            note=f"the rasters as float32 would take {whole / 1e9:.1f} GB; {speed:.0f} windows/s on {THREADS} thread "
            f"(tiny tower, one modality of {BANDS} bands); the files of the map in {written:.0f} s",
            details={"peak": peak, "windows_per_second": speed, "writing_seconds": written},
        )
    ]


def _draw(folder: Path) -> tuple[int, float, float]:
    """Peak bytes, windows per second of the network, seconds of writing the files."""
    file = SparseFile(folder / "scene.tif")
    file.create()
    frame = Frame(0, 0, SIDE, SIDE, GeoReference("", PLACE))
    made = network(frozen_tower("tiny"), {"ms": BANDS}, "tiny").eval()
    classifier = WindowClassifier(
        predictor(made, ["ms"], torch.device("cpu")), {"ms": file}, {"ms": 0}, WINDOW, len(CLASSES), BATCH
    )
    rows = block_rows(ROWS, SIDE, BATCH)
    began, seen = time.perf_counter(), 0
    for pixels, _, _ in classifier.batches(frame, 0, rows):
        seen += len(pixels)
        if seen >= TRIED:
            break
    speed = seen / (time.perf_counter() - began)
    uniform = np.full((BATCH, len(CLASSES)), 1 / len(CLASSES), np.float32)
    cheap = WindowClassifier(
        lambda windows, present: uniform[: len(present)], {"ms": file}, {"ms": 0}, WINDOW, 10, BATCH
    )
    block = cheap.block(frame, 0, rows)
    block.classes[:] = np.random.default_rng(0).integers(1, len(CLASSES) + 1, block.classes.shape)
    began = time.perf_counter()
    MapFiles(
        MapInfo(CLASSES, "map", frame.georeference, (), ("ms",)),
        (SIDE, SIDE),
        lambda: (_rows(block, min(rows, SIDE - first)) for first in range(0, SIDE, rows)),
    ).save_all(folder, "map")
    return resident("VmHWM"), speed, time.perf_counter() - began


def _rows(block: Block, count: int) -> Block:
    """The first rows, as if they were read from a disk."""
    return Block(block.classes[:count].copy(), block.confidence[:count].copy(), block.sensors[:count].copy())


if __name__ == "__main__":
    quiet_and_repeatable()
    with tempfile.TemporaryDirectory() as name:
        print(*_draw(Path(name)))
