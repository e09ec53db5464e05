"""Tables written again with another content, as a program with a fault would write them: whole, and sealed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mamol.core.seal import KEY, UNSEALED, seal


def content_of(path: Path) -> pa.Table:
    """What is in a table, read into memory.

    Args:
        path: The file.
    """
    return pa.ipc.open_file(path.read_bytes()).read_all()


def write_again(path: Path, table: pa.Table, info: Any = None) -> None:
    """Writes a table in place of another.

    Args:
        path: The file.
        table: Its content, with the metadata of the other.
        info: What its metadata says otherwise; what is no dictionary stands in place of them.
    """
    metadata = info
    if info is None or isinstance(info, Mapping):
        metadata = json.loads(table.schema.metadata[b"mamol"]) | dict(info or {})
    table = table.replace_schema_metadata({"mamol": json.dumps(metadata), KEY: UNSEALED})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    seal(path)
