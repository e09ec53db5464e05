"""Reading an image-text table: one row per item; a sample is an item with one of its texts."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from mamol.core.errors import MamolError
from mamol.data.arrowfiles import REBUILD, check_columns, map_file
from mamol.data.imagetext.info import ImageTextInfo, schema_of
from mamol.data.table import Table


class ImageTextTable(Table[ImageTextInfo]):
    """A split, memory-mapped. Opened by path; pickles as its path, so that workers map the same memory.

    Attributes:
        path: The file.
        info: What it says about itself.
        label: (N,) int64 from 0, or (N, K) int8, 1 where a class applies.
        keys: What identifies a sample: ``id`` (N,) str, and ``text`` (N,) int64, which of the item's texts it has.
        group: (N,) int64 number of each sample's item where items may have several samples, else None.
        fingerprint: sha256 over dataset, choice of texts, split, keys and label: which samples these are.
    """

    def __init__(self, path: Path | str) -> None:
        """Maps the file; see ``open``.

        Args:
            path: The file of a split.
        """
        self.path = Path(path)
        metadata, self._table = map_file(self.path)
        self.info = ImageTextInfo.from_json(metadata, self.path)
        check_columns(self.path, self._table, schema_of(self.info))
        texts = self._texts_of_items()
        self._item = np.repeat(np.arange(len(texts)), texts)
        number = np.arange(len(self._item)) - np.repeat(np.cumsum(texts) - texts, texts)
        ids = np.array(self._table["id"].to_pylist(), dtype=np.str_)
        self._keys = {"id": ids[self._item], "text": number}
        self.group = self._item if self.info.plots == "all" else None
        self.label = self._labels()[self._item]
        self.fingerprint = self._fingerprint()

    @classmethod
    def open(cls, path: Path | str) -> "ImageTextTable":
        """Opens a table.

        Args:
            path: The file of a split.

        Raises:
            MamolError: If it is missing, truncated, of another format version, or has other columns than it names,
                empty cells, or labels out of range.
        """
        return cls(path)

    @property
    def keys(self) -> dict[str, np.ndarray]:
        """The columns that identify a sample."""
        return self._keys

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._item)

    def image(self, index: int) -> bytes:
        """The encoded image file of a sample.

        Args:
            index: Number of the sample, 0 … N-1.
        """
        return self._table["image"][int(self._item[index])].as_py()

    def text(self, index: int) -> str:
        """The text of a sample.

        Args:
            index: Number of the sample, 0 … N-1.
        """
        return self._table["text"][int(self._item[index])][int(self.keys["text"][index])].as_py()

    def name(self, index: int) -> str:
        """The id of a sample's item.

        Args:
            index: Number of the sample, 0 … N-1.
        """
        return str(self.keys["id"][index])

    def _texts_of_items(self) -> np.ndarray:
        """(items,) int64, how many texts each item has; at least one."""
        empty = [name for name in self._table.column_names if self._table[name].null_count]
        lengths = [chunk.value_lengths() for chunk in self._table["text"].chunks]
        texts = pa.chunked_array(lengths, pa.int32()).fill_null(0).to_numpy().astype(np.int64)
        if empty or not texts.all():
            raise MamolError(f"{self.path}: {', '.join(empty) or 'text'} has empty cells; {REBUILD}")
        return texts

    def _labels(self) -> np.ndarray:
        """(items,) int64 or (items, K) int8."""
        column, classes = self._table["label"].combine_chunks(), len(self.info.classes)
        multi_hot = self.info.multi_hot
        labels = column.flatten().to_numpy().reshape(-1, classes) if multi_hot else column.to_numpy()
        largest = 1 if multi_hot else classes - 1
        if labels.size and not (labels.min() >= 0 and labels.max() <= largest):
            raise MamolError(
                f"{self.path}: labels go from {labels.min()} to {labels.max()}, expected 0 to {largest}; {REBUILD}"
            )
        return labels

    def _fingerprint(self) -> str:
        info = self.info
        digest = hashlib.sha256(json.dumps([info.dataset, info.plots, info.split]).encode())
        digest.update("\n".join(self.keys["id"]).encode())
        digest.update(self.keys["text"].tobytes())
        digest.update(np.ascontiguousarray(self.label).tobytes())
        return digest.hexdigest()
