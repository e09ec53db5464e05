"""Arrow tables: what a split is on disk, and how it is read.

``<out>/train.arrow``, ``val.arrow`` and ``test.arrow`` are Arrow IPC files. With layout ``patches`` each has the
windows of its pixels; with layout ``scene`` the rasters lie once in ``<out>/scene.arrow``, one image row per table row,
and the windows are cut when they are asked for. Both give the same bits. docs/DATASETS.md has the format.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mamol.data.arrowfiles import check_columns, map_file, parsed
from mamol.data.imagetext.info import KIND as IMAGE_TEXT
from mamol.data.imagetext.info import ImageTextInfo
from mamol.data.imagetext.tables import ImageTextTable
from mamol.data.patches import ChunkedRows, WindowCutter
from mamol.data.splits import SPLITS
from mamol.data.tableinfo import SCENE, TableInfo, schema_of
from mamol.errors import MamolError


class Table:
    """A split, memory-mapped. Opened by path; pickles as its path, so that workers map the same memory.

    Attributes:
        path: The file.
        info: What it says about itself.
        label: (N,) int64, from 0.
        row: (N,) int32.
        col: (N,) int32.
        fingerprint: sha256 over dataset, protocol, seed, split, row, col and label: which samples these are,
            whatever the layout and the modalities.
    """

    def __init__(self, path: Path | str) -> None:
        """Maps the file; see ``open``."""
        self.path = Path(path)
        self.info, table = _map(self.path)
        if self.info.split == SCENE:
            raise MamolError(f"{self.path}: holds the rasters of the tables beside it; open one of those")
        self.label, self.row, self.col = (table[name].to_numpy() for name in ("label", "row", "col"))
        classes = len(self.info.classes)
        if len(self.label) and not (self.label.min() >= 0 and self.label.max() < classes):
            raise MamolError(
                f"{self.path}: labels go from {self.label.min()} to {self.label.max()}, expected 0 to {classes - 1}; "
                "build it again with make_arrow.py"
            )
        self.fingerprint = self._fingerprint()
        self._readers = self._window_readers(table)

    @property
    def keys(self) -> dict[str, np.ndarray]:
        """The columns that tell a sample."""
        return {"row": self.row, "col": self.col}

    @property
    def group(self) -> None:
        """No pixel is several samples."""
        return None

    @classmethod
    def open(cls, path: Path | str) -> "Table":
        """Opens a table.

        Raises:
            MamolError: If it is missing, truncated, of another format version, or has labels out of range.
        """
        return cls(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path only."""
        return type(self), (self.path,)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.label)

    def windows(self, modality: str, indices: np.ndarray) -> np.ndarray:
        """Windows of some samples.

        Args:
            modality: A name in ``info.modalities``.
            indices: (B,) sample indices.

        Returns:
            A fresh (B, C, P, P) float32 array.

        Raises:
            MamolError: If the table has no such modality, or a value is NaN or infinite.
        """
        if modality not in self._readers:
            raise MamolError(f"{self.path}: no modality {modality!r}; it has {', '.join(self._readers)}")
        windows = self._readers[modality](np.asarray(indices, np.int64))
        # The sum is finite only if every value is, and costs a tenth of the test of every value.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(windows.sum())
        if suspicious and not np.isfinite(windows).all():
            raise MamolError(f"{self.path}: {modality} has NaN or infinite values; build it again with make_arrow.py")
        return windows

    def _window_readers(self, table: pa.Table) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        info = self.info
        if not len(self):
            return {name: _nothing(bands, info.patch_size) for name, bands in info.modalities.items()}
        if info.layout == "patches":
            return {name: ChunkedRows(_tensors(table, name)).take for name in info.modalities}
        rasters_info, rasters = _map(self.path.with_name(f"{SCENE}.arrow"))
        if rasters_info.output != info.output:
            raise MamolError(_mixed(self.path.parent))
        height, width = info.scene_shape
        readers = {}
        for name, bands in info.modalities.items():
            pixels = ChunkedRows([chunk.reshape(-1, bands) for chunk in _tensors(rasters, name)])
            readers[name] = self._cut_with(WindowCutter.of_pixels(pixels, height, width, info.patch_size))
        return readers

    def _cut_with(self, cutter: WindowCutter) -> Callable[[np.ndarray], np.ndarray]:
        return lambda indices: cutter.cut(self.row[indices], self.col[indices])

    def _fingerprint(self) -> str:
        info = self.info
        digest = hashlib.sha256(json.dumps([info.dataset, info.protocol, info.seed, info.split]).encode())
        for column in (self.row, self.col, self.label):
            digest.update(column.tobytes())
        return digest.hexdigest()


AnyTable = Table | ImageTextTable
"""A split, whatever its samples are: pixels with windows, or images with texts."""
AnyInfo = TableInfo | ImageTextInfo
"""What it says about itself."""
KINDS: dict[str | None, Callable[[Path], AnyTable]] = {None: Table, IMAGE_TEXT: ImageTextTable}
"""Value of ``kind`` in the metadata -> what reads such a table."""


def open_tables(data_root: Path | str) -> dict[str, AnyTable]:
    """The three tables of a folder; ``val`` may be empty, the others not.

    Returns:
        ``train``, ``val``, ``test`` -> table.

    Raises:
        MamolError: If one is missing, cannot be read or is empty, or they were not written together.
    """
    root = Path(data_root)
    missing = [f"{split}.arrow" for split in SPLITS if not (root / f"{split}.arrow").is_file()]
    if missing:
        raise MamolError(
            f"data_root {root}: {', '.join(missing)} not found; build the tables with "
            f"python make_arrow.py --dataset … --root … --out {root}"
        )
    tables = {split: open_table(root / f"{split}.arrow") for split in SPLITS}
    if len({table.info.output for table in tables.values()}) > 1:
        raise MamolError(_mixed(root))
    for split, table in tables.items():
        if table.info.split != split:
            raise MamolError(f"{table.path}: holds split {table.info.split}; rename it or build the tables again")
        if not len(table) and split != "val":
            raise MamolError(f"{table.path}: has no samples; build it again with other numbers per class or protocol")
    return tables


def scene_tables(data_root: Path | str) -> dict[str, Table]:
    """The three tables of a folder that must hold a scene, otherwise as ``open_tables``.

    Raises:
        MamolError: If they hold something else, or cannot be read.
    """
    tables = {split: table for split, table in open_tables(data_root).items() if isinstance(table, Table)}
    if len(tables) < len(SPLITS):
        raise MamolError(f"{data_root}: holds images with texts, and this command is for scenes; train with run.py")
    return tables


def open_table(path: Path) -> AnyTable:
    """A table of whichever kind its metadata names.

    Raises:
        MamolError: If it cannot be read.
    """
    kind = parsed(map_file(path)[0], path).get("kind")
    if kind not in KINDS:
        raise MamolError(f"{path}: holds {kind!r}, which this program does not know; build it with make_arrow.py")
    return KINDS[kind](path)


def _mixed(root: Path) -> str:
    return f"{root}: its tables were not written together; build them again with make_arrow.py"


def _map(path: Path) -> tuple[TableInfo, pa.Table]:
    """The information and the memory-mapped content of a file."""
    metadata, table = map_file(path)
    info = TableInfo.from_json(metadata, path)
    check_columns(path, table, schema_of(info))
    return info, table


def _tensors(table: pa.Table, name: str) -> list[np.ndarray]:
    """A tensor column as views of the mapped memory, one per record batch."""
    return [chunk.to_numpy_ndarray() for chunk in table[name].chunks]


def _nothing(bands: int, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Reads the windows of an empty table."""
    empty = np.empty((0, bands, size, size), np.float32)
    return lambda indices: empty.take(indices, axis=0)
