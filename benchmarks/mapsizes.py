"""What ``batch`` and ``block`` of a map cost, by which their defaults are chosen."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Figure
from benchmarks.maps import BANDS, PLACE, SparseFile
from benchmarks.memory import STATUS, resident
from benchmarks.workload import CLASSES, WINDOW, frozen_tower, network
from mamol.data.scenes import GeoReference
from mamol.evaluation.blocks import WindowClassifier, block_rows
from mamol.evaluation.frame import Frame
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.mapper import predictor
from mamol.evaluation.partial import PartialMap

BATCHES = (16, 32, 64, 128, 256, 512, 1024)
BLOCKS = (64, 128, 256, 512, 1024)
SIDE, LEAST = 1024, 256
CLEAR = Path("/proc/self/clear_refs")


def run(batches: Sequence[int] = BATCHES, blocks: Sequence[int] = BLOCKS, side: int = SIDE) -> list[Figure]:
    """Windows a second of the tiny tower at each batch; seconds of all but the network at each block.

    Both in processor time of one thread, of a sparse file of 6 bands. Reading, cutting, keeping blocks and writing the
    files of the map is measured with a stand-in for the network, which takes no time.

    Args:
        batches: Pixels at once.
        blocks: Rows of a block.
        side: Rows and columns of the scene of the second figure.
    """
    with tempfile.TemporaryDirectory() as name:
        return [_by_batch(Path(name), batches, side), _by_block(Path(name), blocks, side)]


def _by_batch(folder: Path, batches: Sequence[int], side: int) -> Figure:
    file = SparseFile(folder / "scene.tif", side, side)
    file.create()
    frame = Frame(0, 0, side, side, GeoReference("", PLACE))
    made = network(frozen_tower("tiny"), {"ms": BANDS}, "tiny").eval()
    device = torch.device("cpu")

    def classify(batch: int, windows: int) -> None:
        classifier = WindowClassifier(
            predictor(made, ["ms"], device), {"ms": file}, {"ms": 0}, WINDOW, len(CLASSES), batch
        )
        for _ in islice(classifier.batches(frame, 0, -(-windows // side)), windows // batch):
            pass

    classify(batches[0], batches[0])  # the first one is slower
    counts = {batch: max(batch, LEAST) for batch in batches}
    measured = {str(batch): _measured(partial(classify, batch, count)) for batch, count in counts.items()}
    speeds = {str(batch): count / measured[str(batch)][0] for batch, count in counts.items()}
    best = max(speeds, key=lambda name: speeds[name])
    told = ", ".join(f"{name}: {speed:.0f} ({measured[name][1] / 1e6:.0f} MB)" for name, speed in speeds.items())
    return Figure(
        "batch of a map",
        float(best),
        "windows at once are the fastest",
        note=f"windows a second, and memory that a batch adds: {told}; tiny tower, one modality of {BANDS} bands",
        details={"windows_per_second": speeds, "bytes": {name: grown for name, (_, grown) in measured.items()}},
    )


def _by_block(folder: Path, blocks: Sequence[int], side: int) -> Figure:
    scene = folder / "scene.tif"
    told = {str(block): _measured(partial(_draw, folder / f"map{block}", scene, block, side))[0] for block in blocks}
    best = min(told, key=lambda name: told[name])
    return Figure(
        "block of a map",
        float(best),
        "rows take the least time",
        note="seconds of reading, cutting, keeping blocks and writing files: "
        + ", ".join(f"{name}: {seconds:.1f} s" for name, seconds in told.items())
        + f"; {side} × {side} pixels, a stand-in for the network",
        details=told,
    )


def _draw(folder: Path, scene: Path, block: int, side: int) -> None:
    """All of a map but the network."""
    file, frame = SparseFile(scene, side, side), Frame(0, 0, side, side, GeoReference("", PLACE))
    uniform = np.random.default_rng(0).dirichlet(np.ones(len(CLASSES)), 1024).astype(np.float32)
    classifier = WindowClassifier(
        lambda windows, present: uniform[: len(present)], {"ms": file}, {"ms": 0}, WINDOW, len(CLASSES), 1024
    )
    rows = block_rows(block, side, 1024)
    starts = tuple(range(0, side, rows))
    made = PartialMap.open(folder / "map", {}, starts, 1)
    for start in starts:
        made.write(start, classifier.block(frame, start, min(start + rows, side)))
    info = MapInfo(CLASSES, "map", frame.georeference, (), ("ms",))
    files = MapFiles(info, (side, side), made.blocks)
    for ending in (".tif", ".png", ".csv"):  # those that have no limit of size
        files.save(folder / f"map{ending}")


def _measured(call: Callable[[], None]) -> tuple[float, int]:
    """Processor seconds of a call, and bytes by which the process grows, by the kernel's mark; 0 where it has none."""
    watched = STATUS.is_file() and CLEAR.exists()
    if watched:
        CLEAR.write_text("5")  # the mark begins anew
    before, began = resident("VmRSS") if watched else 0, time.process_time()
    call()
    seconds = time.process_time() - began
    return seconds, resident("VmHWM") - before if watched else 0
