"""A split, whatever its samples are: the contract of its readers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.data.tableinfo import TableInfo

InfoT = TypeVar("InfoT", bound=TableInfo, covariant=True)


class Table(ABC, Generic[InfoT]):
    """A split, memory-mapped. Opened by path; pickles as its path, so that workers map the same memory.

    Attributes:
        path: The file.
        info: What it says about itself.
        label: (N, …), one label per sample, in the shape of its task.
        group: (N,) int64 number of each sample's item where items may have several samples, else None.
        natural: (N, M) bool, which modalities of the table each sample has by nature; None if all have all.
        fingerprint: sha256 of which samples these are, whatever form they are stored in.
    """

    path: Path
    info: InfoT
    label: NDArray[Any]
    group: NDArray[np.int64] | None
    natural: NDArray[np.bool_] | None = None
    fingerprint: str

    @property
    @abstractmethod
    def keys(self) -> Mapping[str, NDArray[Any]]:
        """The columns that identify a sample, (N,) each."""

    @property
    def parts(self) -> Mapping[str, NDArray[np.bool_]]:
        """Name of each scene -> (N,), which samples lie in it; empty unless the table has several scenes."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    def natural_of(self, modalities: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which of some modalities each sample has by nature.

        Args:
            modalities: Names in the table, in the order wanted.

        Returns:
            (N, len(modalities)) bool; None if all samples have all.

        Raises:
            MamolError: A sample has none of them.
        """
        if self.natural is None:
            return None
        names = self.info.names
        chosen = self.natural[:, [names.index(name) for name in modalities]]
        empty = int((~chosen.any(1)).sum())
        if empty:
            raise MamolError(
                f"modalities={','.join(modalities)}: {empty} of {len(self)} samples in {self.path} have none of them; "
                f"build tables with --modalities {','.join(modalities)}"
            )
        return None if chosen.all() else chosen

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path only."""
        return type(self), (self.path,)


def mixed(root: Path) -> str:
    """The message about files that were not written together.

    Args:
        root: Their folder.
    """
    return f"{root}: its tables were not written together; build them again with make_arrow.py"
