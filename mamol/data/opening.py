"""What every reader of raw files needs: is a file there, is there room for it, and in one line what went wrong."""

import math
import os
from pathlib import Path

import numpy as np
import psutil

from mamol.core.errors import MamolError

LONGEST = 300
"""Letters of a path, or of another library's message, that a message shows."""


def check_memory(path: Path | str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuses an array that this machine's memory cannot hold, before anything is allocated.

    Args:
        path: Its file, or what else to call it.
        shape: As the header says.
        dtype: As the header says.

    Raises:
        MamolError: If it is so.
    """
    needed, total = math.prod(shape) * dtype.itemsize, psutil.virtual_memory().total
    if needed > total:
        raise MamolError(
            f"{path}: {' x '.join(map(str, shape))} of {dtype} are {needed / 1e9:.4g} GB, and this machine has "
            f"{total / 1e9:.4g} GB of memory; cut out the part that is needed, or copy the file again if that is wrong"
        )


def why(error: BaseException) -> str:
    """What went wrong, in one line and without the traceback's words.

    Args:
        error: Of a library.
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _shortened(" ".join(text.split())) or type(error).__name__


def unreadable(path: Path, kind: str, error: BaseException) -> MamolError:
    """The error of a file that cannot be read.

    Args:
        path: The file.
        kind: What it should be: "GeoTIFF".
        error: Of the library that reads it.
    """
    if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
        return MamolError(f"{path}: cannot be read (Permission denied); give yourself the right to read it")
    return MamolError(f"{path}: not a readable {kind} ({why(error)}); copy or download it again")


def is_file(path: Path) -> bool:
    """Whether a file is there.

    Args:
        path: Its path.

    Raises:
        MamolError: If that cannot be said: the name is too long, or a folder on the way is closed.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise MamolError(f"{_shortened(str(path))}: cannot be looked up ({why(error)}); give another path") from error


def check_utf8(path: Path) -> None:
    """Refuses a path that tables cannot hold and libraries cannot open.

    Args:
        path: It need not be there.

    Raises:
        MamolError: If it is no UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise MamolError(f"{path}: its name is no UTF-8, which tables need; give another") from error


def check_out(folder: Path) -> None:
    """Refuses an output folder that tables cannot be written to, before anything is read.

    Args:
        folder: It need not be there.

    Raises:
        MamolError: If its name is none, or it holds folders under the names of tables.
    """
    check_utf8(folder)
    if is_file(folder):
        raise MamolError(f"out {folder}: is a file; give a folder")
    if taken := [path.name for path in sorted(folder.glob("*.arrow")) if path.is_dir()]:
        raise MamolError(f"out {folder}: {taken[0]} is a folder there, and tables are files; give another folder")


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, sorted.

    Args:
        folder: Its path.

    Raises:
        MamolError: If it cannot be read.
    """
    try:
        return sorted(each for each in folder.iterdir() if each.is_file())
    except OSError as error:
        raise MamolError(f"{folder}: cannot be read ({why(error)}); give yourself the right to read it") from error


def names_in(folder: Path) -> str:
    """The files of a folder, for messages.

    Args:
        folder: Its path.

    Raises:
        MamolError: If it cannot be read.
    """
    return ", ".join(each.name for each in files_in(folder)) or "no files"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
