"""Files that are either whole or not there."""

import errno
import fcntl
import hashlib
import itertools
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from mamol.core.errors import MamolError

JOURNAL = ".publishing.json"
Filled = TypeVar("Filled")
_TEMPORARY = re.compile(r"\..+\.(?P<process>\d+)@(?P<host>[^@]*?)\.tmp(\..+)?")
"""With what libraries put behind the name, such as GDAL for overviews."""


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that says whose it is."""
    return path.with_name(f".{path.name}.{os.getpid()}@{platform.node()}.tmp")


def sweep(folder: Path) -> None:
    """Removes what killed processes of this machine left half-written in a folder.

    Args:
        folder: It need not be there. Files that its journal lists are whole, and stay until they are renamed.
    """
    if (folder / JOURNAL).is_file():
        return
    for path in folder.glob(".*.tmp*"):
        found = _TEMPORARY.fullmatch(path.name)
        if not found or found["host"] != platform.node() or _alive(int(found["process"])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of somebody else
        return True
    return True


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it to ``path`` on success, removes it on failure.

    Args:
        path: The file to be written; its folder is created.

    Yields:
        The path to write to.

    Raises:
        OSError: It cannot be written; with its name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder; renames it to ``folder`` on success, removes it on failure.

    Args:
        folder: It is not there, or empty; the one that it lies in is created.

    Yields:
        The folder to write to.

    Raises:
        OSError: It cannot be written; with the name of a file or of the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(folder)
    except OSError as error:
        if error.filename is None:  # a short write has none
            raise OSError(error.errno, error.strerror or str(error), str(folder)) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def new_folder(home: Path, name: str, fill: Callable[[Path], Filled]) -> tuple[Path, Filled]:
    """Writes a folder, whole or not at all, beside others of its name that are there.

    Args:
        home: The folder that it belongs in.
        name: Of the new one.
        fill: Writes into a folder that nobody reads yet.

    Returns:
        The folder, ``name`` or the first of ``name_2``, ``name_3`` … that is not there; and what ``fill`` gave.

    Raises:
        MamolError: Another process writes there, or nothing can be written.
    """
    with alone(home):
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        folder = next(home / each for each in names if not (home / each).exists())
        with replacing_folder(folder) as temporary:
            filled = fill(temporary)
    return folder, filled


@contextmanager
def publishing(folder: Path, gone: Collection[str] = ()) -> Iterator[Callable[[str], Path]]:
    """Several files of a folder that replace earlier ones together: all of them or none, whenever it is stopped.

    They are written under temporary names, then listed in a journal, then renamed. Who is killed before the journal is
    there leaves the earlier files; behind it, whoever comes next renames the rest (``finish_publishing``).

    Args:
        folder: It is created.
        gone: Names of earlier files that are removed with it.

    Yields:
        A function from a file's name to the path to write it to.

    Raises:
        MamolError: Another process writes there at the moment.
    """
    with alone(folder):
        finish_publishing(folder)
        sweep(folder)
        wanted: dict[str, str] = {}

        def place(name: str) -> Path:
            wanted[name] = _temporary(folder / name).name
            return folder / wanted[name]

        try:
            yield place
            write_json(folder / JOURNAL, {"new": wanted, "gone": sorted(gone)})
        except BaseException:
            for name in () if (folder / JOURNAL).is_file() else wanted.values():  # what is listed is renamed
                (folder / name).unlink(missing_ok=True)
            raise
        finish_publishing(folder)


def finish_publishing(folder: Path) -> None:
    """Renames what a killed writer had finished and listed.

    Args:
        folder: Of its files.

    Raises:
        MamolError: It cannot be done, or the journal is none.
    """
    journal = folder / JOURNAL
    if not journal.is_file():
        return
    try:
        listed = json.loads(journal.read_text("utf-8"))
        new, gone = listed["new"], listed["gone"]
        if strange := [name for name in (*new, *new.values(), *gone) if Path(name).name != name]:
            raise ValueError(f"{strange[0]!r} is no name of a file")
        for name, temporary in new.items():
            with suppress(FileNotFoundError):  # renamed already
                (folder / temporary).replace(folder / name)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise MamolError(
            f"{folder}: its files were not replaced to the end, and {JOURNAL} in it cannot be followed ({error}); "
            "write them again"
        ) from error


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Keeps other processes from writing to a folder, without a file that could be left behind.

    Args:
        folder: It is created, and removed again where nothing was written.

    Yields:
        The folder.

    Raises:
        MamolError: Nothing can be written there, or another process writes there at the moment.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise MamolError(f"{folder}: cannot be written ({error.strerror}); give another folder") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MamolError(
                f"{folder}: another process is writing there; wait for its end, or give another folder"
            ) from None
        try:
            yield folder
        finally:
            with suppress(OSError):  # there is something in it
                folder.rmdir()
    finally:
        os.close(handle)


def write_json(path: Path | str, content: Any) -> None:  # noqa: ANN401 - JSON is any nesting of plain values
    """Writes indented JSON, atomically.

    Args:
        path: The file; its folder is created.
        content: What to write; NaN and infinities are refused by ``json``.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def sha256_of(path: Path | str) -> str:
    """The sha256 of a file, read in blocks.

    Args:
        path: The file.

    Returns:
        64 hex digits.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
