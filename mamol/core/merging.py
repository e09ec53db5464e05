"""What of a method is the same for every token under one missing pattern, so that it goes into the tower's weights."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class LowRank(NamedTuple):
    """``up @ down @ z``, what is added to a frozen MLP's output.

    Attributes:
        down: (R, width).
        up: (width, R).
    """

    down: Tensor
    up: Tensor


@runtime_checkable
class Mergeable(Protocol):
    """A method whose updates stand beside the frozen MLPs, on their input."""

    def constant(self, present: Sequence[int]) -> Mapping[int, LowRank]:
        """The update of each block that has one, under one pattern; of all streams alike.

        Args:
            present: Numbers of the modalities that are there, ascending.

        Raises:
            MamolError: Tokens choose among several updates.
        """
