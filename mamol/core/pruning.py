"""What stays of a network or a backbone that ``prune`` cuts out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """What stays.

    Attributes:
        inputs: Numbers of the modalities, ascending.
        experts: Block to the numbers of its routed experts, ascending, one at least; every block that has some.
    """

    inputs: tuple[int, ...]
    experts: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class Remains:
    """What a method is made of again.

    Attributes:
        options: Its settings that change.
        state: All its weights.
    """

    options: Mapping[str, Any]
    state: Mapping[str, Tensor]


@runtime_checkable
class Prunable(Protocol):
    """A method with experts that can be taken out; it records their norms with its gates (``Trace.record``)."""

    def pruned(self, cut: Cut) -> Remains:
        """What is left of it without some experts and modalities.

        Args:
            cut: What stays.
        """
