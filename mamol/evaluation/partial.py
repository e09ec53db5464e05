"""A map that is being made: finished blocks on disk, so that it can go on after a stop."""

import glob
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.files import replacing, write_json
from mamol.evaluation.blocks import Block

logger = logging.getLogger(__name__)
RECORD = "record.json"


@dataclass(frozen=True)
class PartialMap:
    """The blocks of a map that are there; its folder bears the hash of all that decides their bits.

    Attributes:
        folder: Of the blocks.
        starts: First row of every block.
        threads: With which it was begun; another number would give other bits.
    """

    folder: Path
    starts: tuple[int, ...]
    threads: int

    @classmethod
    def open(cls, path: Path, decides: Mapping[str, Any], starts: tuple[int, ...], threads: int) -> "PartialMap":
        """Begins a map, or goes on with one of equal checkpoint, inputs and options.

        Args:
            path: Of the map, without ending.
            decides: All that decides its bits, as JSON.
            starts: First row of every block.
            threads: For a map that begins.

        Raises:
            MamolError: The folder cannot be written.
        """
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        folder = path.with_name(f"{path.name}.{key[:12]}.blocks")
        record = folder / RECORD
        try:
            if not record.is_file():
                write_json(record, {"sha256": key, "threads": threads, **decides})
            begun = json.loads(record.read_text("utf-8"))
        except OSError as error:
            raise MamolError(f"{folder}: cannot be written ({error.strerror}); free or give another disk") from error
        for other in sorted(set(path.parent.glob(f"{glob.escape(path.name)}.*.blocks")) - {folder}):
            logger.warning("%s: blocks of another checkpoint, input or option; delete them if nobody needs them", other)
        return cls(folder, starts, begun["threads"])

    @property
    def missing(self) -> list[int]:
        """First rows of the blocks that are not there."""
        return [start for start in self.starts if not self._path(start).is_file()]

    def write(self, start: int, block: Block) -> None:
        """Keeps a block: the file is whole as soon as it has its name.

        Args:
            start: Its first row.
            block: Its pixels.

        Raises:
            MamolError: It cannot be written.
        """
        parts = {name: value for name, value in vars(block).items() if value is not None}
        try:
            with replacing(self._path(start)) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **parts)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MamolError(
                f"{self.folder}: a block cannot be written ({error.strerror}); free some disk and start again, the "
                "map goes on where it is"
            ) from error

    def blocks(self) -> Iterator[Block]:
        """All blocks from the top down.

        Raises:
            MamolError: One cannot be read.
        """
        for start in self.starts:
            path = self._path(start)
            try:
                with np.load(path, allow_pickle=False) as content:
                    yield Block(**content)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise MamolError(f"{path}: cannot be read ({error}); delete it and start again") from error

    def remove(self) -> None:
        """Deletes the blocks."""
        shutil.rmtree(self.folder)

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08d}.npz"
