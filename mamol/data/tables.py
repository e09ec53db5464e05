"""The three tables of a folder, of whichever kind they are."""

from collections.abc import Callable
from pathlib import Path

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.arrowfiles import map_file, parsed
from mamol.data.imagetext.info import KIND as IMAGE_TEXT
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.scenetable import SceneTable
from mamol.data.table import Table, mixed
from mamol.data.tableinfo import TableInfo

AnyTable = Table[TableInfo]
KINDS: dict[str | None, Callable[[Path], AnyTable]] = {None: SceneTable, IMAGE_TEXT: ImageTextTable}
"""Value of ``kind`` in the metadata -> what reads such a table."""


def open_tables(data_root: Path | str) -> dict[str, AnyTable]:
    """The three tables of a folder; ``val`` may be empty, the others not.

    Args:
        data_root: Folder that make_arrow.py wrote.

    Returns:
        ``train``, ``val``, ``test`` -> table.

    Raises:
        MamolError: If one is missing, cannot be read or is empty, or they were not written together.
    """
    root = Path(data_root)
    missing = [f"{split}.arrow" for split in SPLITS if not (root / f"{split}.arrow").is_file()]
    if missing:
        raise MamolError(
            f"data_root {root}: {', '.join(missing)} not found; build the tables with "
            f"python make_arrow.py --dataset … --root … --out {root}"
        )
    tables = {split: open_table(root / f"{split}.arrow") for split in SPLITS}
    if len({table.info.output for table in tables.values()}) > 1:
        raise MamolError(mixed(root))
    for split, table in tables.items():
        if table.info.split != split:
            raise MamolError(f"{table.path}: holds split {table.info.split}; rename it or build the tables again")
        if not len(table) and split != "val":
            raise MamolError(f"{table.path}: has no samples; build it again with other numbers per class or protocol")
    return tables


def open_table(path: Path) -> AnyTable:
    """A table of whichever kind its metadata names.

    Args:
        path: The file of a split.

    Raises:
        MamolError: If it cannot be read.
    """
    kind = parsed(map_file(path)[0], path).get("kind")
    if not isinstance(kind, str | None) or kind not in KINDS:
        raise MamolError(f"{path}: holds {kind!r}, which this program does not know; build it with make_arrow.py")
    return KINDS[kind](path)
