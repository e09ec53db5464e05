"""Reading the tables of a scene: what a split is on disk, and how windows come out of it.

``<out>/train.arrow``, ``val.arrow`` and ``test.arrow`` are Arrow IPC files. With layout ``patches`` each has the
windows of its pixels; with layout ``scene`` the rasters lie once in ``<out>/scene.arrow``, one image row per table row
(of several scenes one pixel per table row), and the windows are cut when they are asked for. Both give the same bits.
docs/DATASETS.md has the format.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from mamol.core.errors import MamolError
from mamol.core.names import UNLABELLED
from mamol.data.arrowfiles import SCENE_VERSION, check_columns, map_file
from mamol.data.patches import ChunkedRows, WindowCutter
from mamol.data.sceneinfo import AVAILABLE, OPTIONAL_COLUMNS, SCENE, SceneInfo, schema_of
from mamol.data.table import Table, mixed

Reader = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From sample numbers (B,) and shifts (B, 2) to windows (B, C, P, P)."""


class SceneTable(Table[SceneInfo]):
    """A split, memory-mapped. Opened by path; pickles as its path, so that workers map the same memory.

    Attributes:
        path: The file.
        info: What it says about itself.
        label: (N,) int64, from 0; of tiles (N, P, P) int16, ``UNLABELLED`` where there is none.
        row: (N,) int32.
        col: (N,) int32.
        scene: (N,) int32, the number of its scene; None where there is one.
        group: None: no pixel stands for several samples.
        fingerprint: sha256 over dataset, protocol, seed, split, row, col and label, and scene where there are
            several: which samples these are, whatever the layout and the modalities.
    """

    def __init__(self, path: Path | str) -> None:
        """Maps the file; see ``open``.

        Args:
            path: The file of a split.
        """
        self.path = Path(path)
        self.info, table = _map(self.path)
        if self.info.split == SCENE:
            raise MamolError(f"{self.path}: holds the rasters of the tables beside it; open one of those")
        self.row, self.col = (table[name].to_numpy() for name in ("row", "col"))
        self.label = _tile_labels(table, self.info.patch_size) if self.info.tiled else table["label"].to_numpy()
        classes = len(self.info.classes)
        known = (self.label >= 0) | (self.info.tiled & (self.label == UNLABELLED))
        if len(self.label) and not (known.all() and self.label.max() < classes):
            raise MamolError(
                f"{self.path}: labels go from {self.label.min()} to {self.label.max()}, expected 0 to {classes - 1}; "
                "build it again with make_arrow.py"
            )
        self.scene = table["scene"].to_numpy() if self.info.scenes else None
        if self.scene is not None and len(self) and not (self.scene.min() >= 0 and self.scene.max() < len(self.parts)):
            raise MamolError(
                f"{self.path}: scenes go from {self.scene.min()} to {self.scene.max()}, expected 0 to "
                f"{len(self.parts) - 1}; build it again with make_arrow.py"
            )
        self.natural = _natural(table)
        self.fingerprint = self._fingerprint()
        self._readers = self._window_readers(table)

    group = None

    @property
    def keys(self) -> dict[str, np.ndarray]:
        """The columns that identify a sample."""
        scene = {} if self.scene is None else {"scene": self.scene}
        return {**scene, "row": self.row, "col": self.col}

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The samples of each scene, where there are several."""
        if self.scene is None:
            return {}
        return {each.name: np.equal(self.scene, number) for number, each in enumerate(self.info.scenes)}

    @classmethod
    def open(cls, path: Path | str) -> "SceneTable":
        """Opens a table.

        Args:
            path: The file of a split.

        Raises:
            MamolError: If it is missing, truncated, of another format version, or has labels out of range.
        """
        return cls(path)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.label)

    def windows(self, modality: str, indices: np.ndarray, shift: np.ndarray | None = None) -> np.ndarray:
        """Windows of some samples.

        Args:
            modality: A name in ``info.modalities``.
            indices: (B,) sample indices.
            shift: (B, 2) pixels, at most ``info.reach``, by which each window lies lower and further right; None: the
                samples stand in the middle.

        Returns:
            A fresh (B, C, P, P) float32 array, NaN where the sensor saw nothing.

        Raises:
            MamolError: If the table has no such modality, or a value is infinite, or NaN in a table of version 1.
        """
        if modality not in self._readers:
            raise MamolError(f"{self.path}: no modality {modality!r}; it has {', '.join(self._readers)}")
        indices = np.asarray(indices, np.int64)
        windows = self._readers[modality](indices, np.zeros((len(indices), 2), np.int64) if shift is None else shift)
        # The sum is finite only if every value is, and costs a tenth of the test of every value.
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(windows.sum())
        holes_allowed = self.info.format_version == SCENE_VERSION
        if suspicious and not (np.isfinite(windows) | (np.isnan(windows) & holes_allowed)).all():
            raise MamolError(f"{self.path}: {modality} has NaN or infinite values; build it again with make_arrow.py")
        return windows

    def _window_readers(self, table: pa.Table) -> dict[str, Reader]:
        info = self.info
        if not len(self):
            return {name: _nothing(bands, info.patch_size) for name, bands in info.modalities.items()}
        if info.layout == "patches":
            return {name: self._crop_from(ChunkedRows(_tensors(table, name))) for name in info.modalities}
        rasters_info, rasters = open_rasters(self.path.with_name(f"{SCENE}.arrow"))
        if rasters_info.output != info.output:
            raise MamolError(mixed(self.path.parent))
        size = info.patch_size
        return {
            name: self._cut_with(WindowCutter.of_pixels(rasters[name], info.extents, size)) for name in info.modalities
        }

    def _cut_with(self, cutter: WindowCutter) -> Reader:
        return lambda indices, shift: cutter.cut(*self.middles(indices, shift))

    def middles(self, indices: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Which pixels are in the middle of windows.

        Args:
            indices: (B,) sample indices.
            shift: (B, 2) pixels by which each window lies lower and further right.

        Returns:
            Their rows and columns, which may be beyond the border, and their scenes; None where there is one scene.
        """
        scenes = None if self.scene is None else self.scene[indices]
        return self.row[indices] + shift[:, 0], self.col[indices] + shift[:, 1], scenes

    def _crop_from(self, stored: ChunkedRows) -> Reader:
        size, margin = self.info.patch_size, self.info.margin
        if not margin:
            return lambda indices, shift: stored.take(indices)
        offsets = np.arange(size) + margin

        def crop(indices: np.ndarray, shift: np.ndarray) -> np.ndarray:
            rows, cols = shift[:, :1] + offsets, shift[:, 1:] + offsets
            samples = np.arange(len(indices))[:, None, None]
            windows = stored.take(indices).transpose(0, 2, 3, 1)[samples, rows[:, :, None], cols[:, None]]
            return np.ascontiguousarray(windows.transpose(0, 3, 1, 2))

        return crop

    def _fingerprint(self) -> str:
        info = self.info
        digest = hashlib.sha256(json.dumps([info.dataset, info.protocol, info.seed, info.split]).encode())
        for column in (self.row, self.col, self.label, *([] if self.scene is None else [self.scene])):
            digest.update(column.tobytes())
        return digest.hexdigest()


def open_rasters(path: Path) -> tuple[SceneInfo, dict[str, ChunkedRows]]:
    """The rasters of a table with layout ``scene``, which hold no labels.

    Args:
        path: Of ``scene.arrow``.

    Returns:
        What it says about itself, and modality to pixels, items (C,), scene after scene.

    Raises:
        MamolError: It cannot be read.
    """
    info, table = _map(path)
    return info, {
        name: ChunkedRows([chunk.reshape(-1, bands) for chunk in _tensors(table, name)])
        for name, bands in info.modalities.items()
    }


def _map(path: Path) -> tuple[SceneInfo, pa.Table]:
    """The information and the memory-mapped content of a file."""
    metadata, table = map_file(path)
    info = SceneInfo.from_json(metadata, path)
    optional = [name for name in OPTIONAL_COLUMNS if name in table.column_names]
    check_columns(path, table, schema_of(info, optional))
    return info, table


def _tile_labels(table: pa.Table, size: int) -> np.ndarray:
    """(N, P, P) int16; a view of the mapped memory where there is one record batch."""
    chunks = _tensors(table, "label")
    return np.concatenate(chunks) if len(chunks) > 1 else (chunks or [np.empty((0, size, size), np.int16)])[0]


def _natural(table: pa.Table) -> np.ndarray | None:
    """(N, M) bool, which modalities each sample has; None if all have all, as in version 1."""
    if AVAILABLE not in table.column_names or not len(table):
        return None
    column = table[AVAILABLE].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    natural: np.ndarray = flat.reshape(len(table), -1)
    return None if natural.all() else natural


def _tensors(table: pa.Table, name: str) -> list[np.ndarray]:
    """A tensor column as views of the mapped memory, one per record batch."""
    return [chunk.to_numpy_ndarray() for chunk in table[name].chunks]


def _nothing(bands: int, size: int) -> Reader:
    """Reads the windows of an empty table."""
    empty = np.empty((0, bands, size, size), np.float32)
    return lambda indices, shift: empty.take(indices, axis=0)
