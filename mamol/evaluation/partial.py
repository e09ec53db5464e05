"""A map that is being made: finished blocks on disk, so that it can go on after a stop."""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.files import replacing, write_json
from mamol.evaluation.blocks import Block

RECORD = "record.json"
FINISHED = "finished.json"


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
    def open(
        cls, path: Path, decides: Mapping[str, Any], starts: tuple[int, ...], threads: int, *, begins: bool = True
    ) -> "PartialMap":
        """Begins a map, or goes on with one of equal checkpoint, inputs and options.

        Args:
            path: Of the map, without ending.
            decides: All that decides its bits, as JSON.
            starts: First row of every block.
            threads: For a map that begins.
            begins: Whether it may begin; else it must have been begun.

        Raises:
            MamolError: The folder cannot be written, or no map was begun.
        """
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        folder = path.with_name(f"{path.name}.{key[:12]}.blocks")
        record = folder / RECORD
        try:
            if not record.is_file():
                if not begins:
                    raise MamolError(
                        f"{folder}: no map was begun with these files and options, and with this kind of device and "
                        "version of torch; a worker helps the command that began one, on a machine of the same kind"
                    )
                write_json(record, {"sha256": key, "threads": threads, **decides})
            begun = json.loads(record.read_text("utf-8"))
        except OSError as error:
            raise MamolError(f"{folder}: cannot be written ({error.strerror}); free or give another disk") from error
        return cls(folder, starts, begun["threads"])

    @property
    def missing(self) -> list[int]:
        """First rows of the blocks that are not there."""
        return [start for start in self.starts if not self._path(start).is_file()]

    @property
    def finished(self) -> list[Path]:
        """The files of the map, if it is finished and they are as they were written; else none."""
        try:
            written: dict[str, int] = json.loads((self.folder / FINISHED).read_text("utf-8"))
            same = all((self.folder.parent / name).stat().st_mtime_ns == time for name, time in written.items())
        except OSError:
            return []
        return [self.folder.parent / name for name in written] if same else []

    @property
    def others(self) -> list[Path]:
        """Blocks of this map with another checkpoint, input or option."""
        name = self.folder.name.rsplit(".", 2)[0]
        return sorted(set(self.folder.parent.glob(f"{glob.escape(name)}.*.blocks")) - {self.folder})

    @contextmanager
    def claim(self, start: int, *, wait: bool) -> Iterator[bool]:
        """Keeps other processes from a block while it is computed.

        Args:
            start: Its first row.
            wait: Whether to wait for one that is at it.

        Yields:
            Whether it is to be computed: it is not there, and nobody else is at it.

        Raises:
            MamolError: The folder cannot be written.
        """
        try:
            file = self._path(start).with_suffix(".lock").open("w")
        except OSError as error:
            raise self._unwritable(error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            except OSError:  # a disk without locks: a block may be computed twice, with the same bits
                pass
            yield not self._path(start).is_file()

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
            raise self._unwritable(error) from error

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

    def finish(self, written: Sequence[Path]) -> None:
        """Deletes the blocks, and keeps until ``remove`` that the map is finished.

        Args:
            written: Its files, which lie beside the folder.

        Raises:
            MamolError: It cannot be written.
        """
        try:
            write_json(self.folder / FINISHED, {path.name: path.stat().st_mtime_ns for path in written})
        except OSError as error:
            raise self._unwritable(error) from error
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (RECORD, FINISHED):
                path.unlink()

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder)

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08d}.npz"

    def _unwritable(self, error: OSError) -> MamolError:
        return MamolError(
            f"{self.folder}: a block cannot be written ({error.strerror}); free some disk and start again, the map "
            "goes on where it is"
        )
