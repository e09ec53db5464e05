"""What an image-text table says about itself, and the columns that follow from it."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa

from mamol.core.modality import IMAGE, TEXT, Modality
from mamol.core.names import SPLITS
from mamol.core.options import choice
from mamol.data.arrowfiles import FORMAT_VERSION, METADATA_KEY, described, parsed
from mamol.data.tableinfo import TableInfo, need_counts

KIND = "image_text"
"""Under the key ``kind`` of the metadata; the metadata of scenes have no such key."""
TOKENS = 77
"""Length of CLIP's texts, start and end token included."""
INPUTS = (Modality("image", IMAGE, 3), Modality("text", TEXT, TOKENS))
"""The modalities of every such table."""


@dataclass(frozen=True)
class ImageTextInfo(TableInfo):
    """What a table says about itself: the JSON under the schema's metadata key ``mamol``.

    Attributes:
        format_version: ``arrowfiles.FORMAT_VERSION``.
        dataset: Name in the registry.
        note: What a reader has to know of the data; may be empty.
        classes: Class names in label order.
        task: ``classes`` (one of several), ``genres`` (any number of several) or ``binary``.
        plots: Which texts of an item were taken; ``all`` makes each a sample.
        split: ``train``, ``val`` or ``test``.
        counts: Split -> class -> samples that have it.
        samples: Split -> samples.
        dropped: Reason -> items that were left out.
        sources: Raw file -> sha256.
        output: sha256 that all files written together share.
        kind: ``KIND``.
    """

    format_version: int
    dataset: str
    note: str
    classes: tuple[str, ...]
    task: str
    plots: str
    split: Annotated[str, choice(*SPLITS)]
    counts: dict[str, dict[str, int]]
    samples: dict[str, int]
    dropped: dict[str, int]
    sources: dict[str, str]
    output: str
    kind: Annotated[str, choice(KIND)] = KIND

    def __post_init__(self) -> None:
        """Refuses counts of other splits or classes than there are."""
        need_counts(self.counts, self.classes)
        if absent := [split for split in SPLITS if split not in self.samples]:
            raise ValueError(f"samples lacks {', '.join(absent)}")

    @property
    def protocol(self) -> str:  # type: ignore[override]  # the same for all, so not in the file
        """How the split was drawn: as published."""
        return "official"

    @property
    def inputs(self) -> tuple[Modality, ...]:
        """An image and a text."""
        return INPUTS

    def identity(self) -> dict[str, Any]:
        """The published split; nothing was drawn."""
        return {"dataset": self.dataset, "protocol": self.protocol, "seed": 0}

    def about(self) -> dict[str, Any]:
        """No item is in two splits, so there is no overlap to tell of."""
        return {"layout": KIND, "overlap": {}, "counts": self.counts}

    @property
    def multi_hot(self) -> bool:
        """Whether a sample may have several classes, or none."""
        return self.task == "genres"

    def plain(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)

    def to_json(self) -> str:
        """The JSON text."""
        return json.dumps(self.plain(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, path: Path) -> "ImageTextInfo":
        """The information in a table.

        Args:
            text: What ``to_json`` gave.
            path: The table's file, for messages.

        Raises:
            MamolError: If it is of another version of the format or not complete.
        """
        content = parsed(text, path, [each.name for each in fields(cls)], versions=(FORMAT_VERSION,))
        return described(content, cls, path)


def schema_of(info: ImageTextInfo) -> pa.Schema:
    """The schema of a file, with the metadata.

    Args:
        info: What the file says about itself.
    """
    label = pa.list_(pa.int8(), len(info.classes)) if info.multi_hot else pa.int64()
    columns = [("image", pa.binary()), ("text", pa.list_(pa.string())), ("label", label), ("id", pa.string())]
    return pa.schema(columns, metadata={METADATA_KEY: info.to_json().encode()})
