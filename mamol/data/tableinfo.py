"""What any table says about itself, whatever its samples are."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mamol.core.modality import Modality

Statistics = Mapping[str, Sequence[float]]
"""Modality to one number per band."""


class TableInfo(ABC):
    """What every table says about itself.

    Attributes:
        format_version: Of the file.
        dataset: Name in the registry.
        note: What a reader has to know of the data, e.g. that they are synthetic; may be empty.
        classes: Class names in label order.
        split: ``train``, ``val``, ``test``, or another file of the same output.
        counts: Split -> class -> samples that have it.
        sources: Raw file -> sha256.
        output: sha256 that all files written together share.
        task: What the labels are; a key of ``mamol.core.task.TASKS``.
        protocol: How the split was drawn.
    """

    format_version: int
    dataset: str
    note: str
    classes: tuple[str, ...]
    split: str
    counts: dict[str, dict[str, int]]
    sources: dict[str, str]
    output: str
    task: str
    protocol: str

    @property
    @abstractmethod
    def inputs(self) -> tuple[Modality, ...]:
        """The modalities, in table order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(modality.name for modality in self.inputs)

    @property
    def shown(self) -> str:
        """The name of what the samples are of, as titles write it."""
        return self.dataset

    @property
    def window(self) -> int | None:
        """Side of the windows in pixels; None where samples are no windows."""
        return None

    @property
    def normalisation(self) -> tuple[Statistics, Statistics] | None:
        """Mean and standard deviation of the training pixels; None where samples come normalised."""
        return None

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """``dataset``, ``protocol`` and ``seed``: which draw of samples this is, as checkpoints keep it."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """``layout``, ``overlap`` and ``counts``, for ``metrics.json``."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Its fields by name."""

    @abstractmethod
    def to_json(self) -> str:
        """The JSON text under the schema's metadata key ``mamol``."""
