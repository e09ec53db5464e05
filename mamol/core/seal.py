"""A checksum inside a file, over every byte of it: what was damaged or edited is not read as something else.

A writer puts ``UNSEALED`` into whatever its format has for remarks (Arrow and Parquet metadata, the header of
safetensors, the comment of a zip file, a key of JSON); ``seal`` then writes the sha256 of the whole file over its
zeros. ``verify`` computes it again, the digits counted as zeros. So one rule serves all formats, and no byte is left
out. Files of earlier versions and of others have no such mark; they are read with one warning.
"""

import hashlib
import json
import logging
import mmap
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.files import replacing

logger = logging.getLogger(__name__)

MARK = "mamol-sha256:"
UNSEALED = MARK + "0" * 64
KEY = "seal"
"""Under which formats with keys have it."""
EDGE = 2**22
"""Bytes at the beginning and the end of a file in which marks are looked for; metadata are smaller."""
_SEAL = re.compile(re.escape(MARK).encode() + b"([0-9a-f]{64})")


def seal(path: Path) -> None:
    """Writes the checksum into a file that has ``UNSEALED`` in it, once or more.

    Args:
        path: The file, which nobody else reads yet.

    Raises:
        ValueError: There is no mark: its writer forgot it.
    """
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        places = _places(content)
        if not places:
            raise ValueError(f"{path}: nowhere to write its checksum")
        digest = _digest(content, places)
        for place in places:
            content[place : place + 64] = digest


def verify(path: Path, remedy: str) -> str:
    """Computes the checksum of a file again; each state of a file once per process.

    Args:
        path: The file.
        remedy: What to do where it was damaged, for the message.

    Returns:
        It, 64 hex digits; "" of a file without one, which is told in a warning.

    Raises:
        MamolError: It is another one, or the file is empty.
        OSError: The file cannot be read.
    """
    state = path.stat()
    if not state.st_size:
        raise MamolError(f"{path}: is empty; {remedy}")
    return _verified(path, remedy, (state.st_ino, state.st_size, state.st_mtime_ns))


@cache
def _verified(path: Path, remedy: str, state: tuple[int, ...]) -> str:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        places = _places(content)
        if not places:
            logger.warning("%s has no checksum, as of an earlier version or another program: damage stays unseen", path)
            return ""
        digest = _digest(content, places)
        if any(content[place : place + 64] != digest for place in places):
            raise MamolError(f"{path}: its content does not fit its checksum, it was damaged or edited; {remedy}")
    return digest.decode()


def _places(content: mmap.mmap) -> list[int]:
    """Where the digits of the marks begin."""
    size = len(content)
    edges = [(0, size)] if size <= 2 * EDGE else [(0, EDGE), (size - EDGE, size)]
    return [found.start(1) for edge in edges for found in _SEAL.finditer(content, *edge)]


def _digest(content: mmap.mmap, places: list[int]) -> bytes:
    """The hexadecimal sha256 of a file whose checksums are zeros."""
    digest, done = hashlib.sha256(), 0
    with memoryview(content) as view:
        for place in places:
            digest.update(view[done:place])
            digest.update(b"0" * 64)
            done = place + 64
        digest.update(view[done:])
    return digest.hexdigest().encode()


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes indented JSON with its checksum at the end, atomically.

    Args:
        path: The file; its folder is created.
        content: What to write; NaN and infinities are refused by ``json``.
    """
    with replacing(path) as temporary:
        text = json.dumps({**content, KEY: UNSEALED}, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", "utf-8")
        seal(temporary)


def read_sealed_json(path: Path, remedy: str) -> dict[str, Any]:
    """Reads what ``write_sealed_json`` wrote, or an earlier version without a checksum.

    Args:
        path: The file.
        remedy: What to do where it was damaged, for the message.

    Returns:
        The content without the checksum.

    Raises:
        MamolError: It cannot be read, is no JSON object, or was damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        sealed = verify(path, remedy)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, MamolError):
            raise
        raise MamolError(f"{path}: cannot be read ({error}); {remedy}") from error
    if not isinstance(content, dict) or (KEY in content) != bool(sealed):
        raise MamolError(f"{path}: is not what this program wrote; {remedy}")
    content.pop(KEY, None)
    return content
