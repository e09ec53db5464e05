"""The Arrow files of make_arrow.py, whatever is in them: mapping one, and what its metadata has to be."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from mamol.core.errors import MamolError
from mamol.core.files import finish_publishing
from mamol.core.plain import record
from mamol.core.seal import verify
from mamol.data.tableinfo import TableInfo

Info = TypeVar("Info", bound=TableInfo)

FORMAT_VERSION = 1
SCENE_VERSION = 2
"""Of tables of scenes: samples say which modalities they have, invalid pixels are NaN. Version 1 is read as ever."""
METADATA_KEY = b"mamol"
REBUILD = "build it again with make_arrow.py"


def map_file(path: Path) -> tuple[bytes, pa.Table]:
    """The metadata (JSON) and the memory-mapped content of a file.

    Args:
        path: An Arrow IPC file that make_arrow.py wrote.

    Raises:
        MamolError: If it is missing, truncated, damaged or not written by make_arrow.py.
    """
    finish_publishing(path.parent)
    if not path.is_file():
        raise MamolError(f"{path}: no such table; build it with make_arrow.py")
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except PermissionError as error:
        raise MamolError(f"{path}: may not be read ({error.strerror}); ask for the right to read it") from error
    except (pa.ArrowException, OSError) as error:
        raise MamolError(f"{path}: truncated or not an Arrow file ({error}); {REBUILD}") from error
    metadata = table.schema.metadata or {}
    if METADATA_KEY not in metadata:
        raise MamolError(f"{path}: an Arrow file, but not a table of make_arrow.py; give its output folder")
    verify(path, REBUILD)
    return metadata[METADATA_KEY], table


def parsed(
    text: str | bytes,
    path: Path,
    keys: Collection[str] | None = None,
    optional: Collection[str] = (),
    versions: Collection[int] = (FORMAT_VERSION, SCENE_VERSION),
) -> dict[str, Any]:
    """The metadata of a file.

    Args:
        text: JSON.
        path: The file, for messages.
        keys: Which keys it has to have; None: any.
        optional: Keys that it may have besides.
        versions: Of the format, that can be read.

    Raises:
        MamolError: If it is damaged, of another version of the format, or has other keys.
    """
    try:
        content = json.loads(text)
        version = content["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MamolError(f"{path}: its metadata is damaged ({error!r}); {REBUILD}") from error
    if version not in versions:
        read = " and ".join(map(str, versions))
        raise MamolError(f"{path}: format version {version}, this program reads {read}; {REBUILD}")
    if keys is not None and (differing := (set(content) - set(optional)) ^ set(keys)):
        raise MamolError(f"{path}: its metadata lacks or adds {', '.join(sorted(differing))}; {REBUILD}")
    return content


def described(content: dict[str, Any], kind: type[Info], path: Path) -> Info:
    """What a table says about itself, each value of the type that its field has.

    Args:
        content: Field to value, as JSON has it.
        kind: The dataclass.
        path: The file, for messages.

    Raises:
        MamolError: A value is of another type, or makes no sense.
    """
    try:
        return kind(**record(content, kind))
    except ValueError as error:
        raise MamolError(f"{path}: its metadata is damaged ({error}); {REBUILD}") from error


def check_columns(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Refuses a file whose columns are not those that its metadata names.

    Args:
        path: The file, for messages.
        table: Its content.
        schema: The columns that its metadata names.

    Raises:
        MamolError: If names or types differ.
    """
    if not table.schema.equals(schema):
        raise MamolError(f"{path}: its columns are not those its metadata names; {REBUILD}")
