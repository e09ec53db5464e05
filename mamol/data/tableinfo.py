"""What any table says about itself, whatever its samples are."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from mamol.core.modality import Modality
from mamol.core.names import SPLITS
from mamol.core.options import RATE

Statistics = Mapping[str, Sequence[float]]
"""Modality to one number per band."""


class Identity(TypedDict, total=False):
    """Which draw of samples something belongs to, as checkpoints keep it; of the released code's nothing is known."""

    dataset: str
    protocol: str
    seed: int
    min_valid: Annotated[float, RATE]
    fingerprint: str


def need_counts(counts: Mapping[str, Mapping[str, int]], classes: Collection[str]) -> None:
    """Refuses counts that are not of every split and class.

    Args:
        counts: Split -> class -> samples.
        classes: Names of the classes.

    Raises:
        ValueError: Something is not counted.
    """
    for split in SPLITS:
        absent = [name for name in classes if name not in counts.get(split, {})]
        if absent:
            raise ValueError(f"counts.{split} lacks {', '.join(absent)}")


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
