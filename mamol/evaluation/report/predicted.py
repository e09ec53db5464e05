"""What a trained network says of every test sample under every pattern, which all parts of a page but the maps read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mamol.core.names import pattern_name
from mamol.evaluation.grid import all_predictions
from mamol.evaluation.patterns import all_patterns, natural_or_all
from mamol.evaluation.trained import Trained
from mamol.tasks.single_label import SingleLabel


@dataclass(frozen=True)
class Predicted:
    """A trained network, and what it says of every test sample under every pattern.

    Attributes:
        trained: Checkpoint and tables.
        probabilities: (P, N, K), of ``grid.all_predictions``.
    """

    trained: Trained
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, trained: Trained) -> "Predicted":
        """Predicts.

        Args:
            trained: Checkpoint and tables.

        Raises:
            MamolError: A probability is NaN or infinite.
        """
        return cls(trained, all_predictions(trained))

    @property
    def samples(self) -> dict[str, NDArray[np.int64]]:
        """Pattern to the test samples that can be under it, as ``evaluate`` has them."""
        natural, names = natural_or_all(self.trained.table, self.trained.modalities), self.trained.modalities
        able = {pattern_name(row, names): np.flatnonzero((natural | ~row).all(1)) for row in all_patterns(len(names))}
        return {name: chosen for name, chosen in able.items() if len(chosen)}

    def said(self, pattern: str) -> NDArray[np.float32]:
        """What is said of all samples under a pattern, (N, K).

        Args:
            pattern: Its name.
        """
        names = self.trained.modalities
        rows = [pattern_name(row, names) for row in all_patterns(len(names))]
        found: NDArray[np.float32] = self.probabilities[rows.index(pattern)]
        return found

    @property
    def counted(self) -> SingleLabel | None:
        """The task, if it has a confusion matrix."""
        task = self.trained.task
        return task if isinstance(task, SingleLabel) else None

    @property
    def single(self) -> bool:
        """Whether every sample has one class and probabilities of all."""
        return self.counted is not None and not self.trained.task.pixels
