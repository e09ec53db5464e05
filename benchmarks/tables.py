"""Batches from the three kinds of tables against slices of the rasters, window by window; and the check of a table.

The plain way holds the rasters with their mirrored border, slices one window after the other with numpy and stacks
them. Both give the same batch.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.loading import BATCH, FILES, write_table
from mamol.core.seal import verify
from mamol.data.scenetable import SceneTable
from mamol.data.serving import Draw, WindowDataset

OURS, SLICES, HASH = "ours", "numpy slices, window by window", "sha256 over the bytes of the file"
TABLES = {"patches": ("patches", 1), "a scene": ("scene", 1), "3 scenes together": ("scene", 3)}
"""What a table is of: layout, and number of scenes."""


class Slices:
    """The rasters of a table's scenes, in memory."""

    def __init__(self, table: SceneTable, root: Path) -> None:
        """Reads them.

        Args:
            table: It says which pixels there are.
            root: Of the raw files, as ``write_table`` wrote them.
        """
        size = table.info.patch_size
        around = ((size // 2, size - size // 2), (size // 2, size - size // 2), (0, 0))
        folders = [root / each.name for each in table.info.scenes] or [root]
        self.table, self.size = table, size
        self.rasters = {
            name: [
                np.pad(np.atleast_3d(loadmat(folder / f"{file}.mat")[file]), around, "symmetric") for folder in folders
            ]
            for name, file in FILES.items()
        }

    def batch(self, chosen: np.ndarray) -> dict[str, Tensor]:
        """Modality to (B, C, P, P).

        Args:
            chosen: (B,) sample numbers.
        """
        table, size = self.table, self.size
        scenes = np.zeros(len(table), int) if table.scene is None else table.scene
        places = [(scenes[i], table.row[i], table.col[i]) for i in chosen]
        return {
            name: torch.from_numpy(_stacked([each[s][row : row + size, col : col + size] for s, row, col in places]))
            for name, each in self.rasters.items()
        }


def _stacked(windows: list[np.ndarray]) -> np.ndarray:
    """(B, C, P, P), laid out like that, too: numpy stacks in the order in which the windows lie in memory."""
    return np.ascontiguousarray(np.stack(windows).transpose(0, 3, 1, 2))


def run(rounds: int = 9) -> list[Figure]:
    """A figure for each kind of table, and one for the check.

    Args:
        rounds: Timed batches of each.
    """
    figures = []
    for what, (layout, scenes) in TABLES.items():
        with TemporaryDirectory() as folder:
            path = write_table(Path(folder), layout, scenes)
            figures.append(loading(what, SceneTable.open(path), Path(folder), rounds))
            if layout == "patches":
                figures.append(verification(path, rounds))
    return figures


def loading(what: str, table: SceneTable, root: Path, rounds: int) -> Figure:
    """A batch of the loader against slices.

    Args:
        what: Of the table, for the name.
        table: It.
        root: Of the raw files.
        rounds: Timed batches of each.
    """
    ours, plain = served(table), Slices(table, root)
    chosen = np.random.default_rng(0).permutation(len(table))[:BATCH]
    batch = ours(chosen)
    if not all(torch.equal(batch[name], windows) for name, windows in plain.batch(chosen).items()):
        raise RuntimeError("both ways must give the same batch")
    seconds = alternate({OURS: lambda: ours(chosen), SLICES: lambda: plain.batch(chosen)}, rounds)
    bands = " + ".join(str(count) for count in table.info.modalities.values())
    note = f"{bands} bands, in memory, with labels and places"
    return ratio_figure(f"loading a batch of {BATCH}, {what}", seconds, OURS, SLICES, at_most=1.25, note=note)


def served(table: SceneTable) -> Callable[[np.ndarray], dict[str, Tensor]]:
    """What the loader does for a batch of complete samples.

    Args:
        table: Any.
    """
    dataset = WindowDataset(table, tuple(table.info.modalities))

    def batch(chosen: np.ndarray) -> dict[str, Tensor]:
        return dataset[Draw(chosen, np.ones((len(chosen), len(dataset.modalities)), bool))]

    return batch


def verification(path: Path, rounds: int) -> Figure:
    """The check of a table's checksum, which is done before each run.

    Args:
        path: The table.
        rounds: Timed checks.
    """

    def check() -> str:
        os.utime(path)  # a state of a file is checked once per process
        return verify(path, "build it again")

    if not check():
        raise RuntimeError("the table must have a checksum")
    seconds = alternate({OURS: check, HASH: lambda: hashlib.sha256(path.read_bytes()).hexdigest()}, rounds)
    note = f"a table of {path.stat().st_size / 1e6:.0f} MB, in memory"
    return ratio_figure("check of a table's checksum", seconds, OURS, HASH, at_most=1.1, note=note)
