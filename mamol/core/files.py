"""Files that are either whole or not there."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it to ``path`` on success, removes it on failure.

    Args:
        path: The file to be written; its folder is created.

    Yields:
        The path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
