"""What an image-text table says about itself, and the columns that follow from it."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from mamol.data.arrowfiles import METADATA_KEY, parsed

KIND = "image_text"
"""Under the key ``kind`` of the metadata; the metadata of scenes have no such key."""
TOKENS = 77
"""Length of CLIP's texts, start and end token included."""
MODALITIES = {"image": 3, "text": TOKENS}
"""Modality -> channels of an image, tokens of a text."""
INPUTS = {"image": "image", "text": "text"}
"""Modality -> kind of network input."""


@dataclass(frozen=True)
class ImageTextInfo:
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
    split: str
    counts: dict[str, dict[str, int]]
    samples: dict[str, int]
    dropped: dict[str, int]
    sources: dict[str, str]
    output: str
    kind: str = KIND

    @property
    def modalities(self) -> dict[str, int]:
        """Modality -> channels of an image, tokens of a text."""
        return dict(MODALITIES)

    @property
    def inputs(self) -> dict[str, str]:
        """Modality -> kind of network input."""
        return dict(INPUTS)

    @property
    def layout(self) -> str:
        """How the samples lie in the file."""
        return KIND

    @property
    def protocol(self) -> str:
        """How the split was drawn: as published."""
        return "official"

    @property
    def seed(self) -> int:
        """Nothing was drawn."""
        return 0

    @property
    def overlap(self) -> dict[str, Any]:
        """Overlap of test with train: no item is in two splits."""
        return {}

    @property
    def multi_hot(self) -> bool:
        """Whether a sample may have several classes, or none."""
        return self.task == "genres"

    def to_json(self) -> str:
        """The JSON text."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, path: Path) -> "ImageTextInfo":
        """The information in a table.

        Args:
            text: What ``to_json`` gave.
            path: The table's file, for messages.

        Raises:
            MamolError: If it is of another version of the format or not complete.
        """
        content = parsed(text, path, [each.name for each in fields(cls)])
        return cls(**content | {"classes": tuple(content["classes"])})


def schema_of(info: ImageTextInfo) -> pa.Schema:
    """The schema of the file that ``info`` describes, with the metadata."""
    label = pa.list_(pa.int8(), len(info.classes)) if info.multi_hot else pa.int64()
    columns = [("image", pa.binary()), ("text", pa.list_(pa.string())), ("label", label), ("id", pa.string())]
    return pa.schema(columns, metadata={METADATA_KEY: info.to_json().encode()})
