"""The class probabilities of every tested sample, kept while a table is tested."""

import torch
from torch import Tensor
from torchmetrics import Metric


class KeptPredictions(Metric):
    """The class probabilities of every sample of a table; torchmetrics adds them up over ranks.

    Attributes:
        probabilities: (N, K), zero where a sample has not been tested.
        tested: (N,), how often each sample has been.
    """

    full_state_update = False
    probabilities: Tensor
    tested: Tensor

    def __init__(self, samples: int, classes: int) -> None:
        """Starts with nothing known.

        Args:
            samples: N.
            classes: K.
        """
        super().__init__()
        self.add_state("probabilities", torch.zeros(samples, classes), dist_reduce_fx="sum")
        self.add_state("tested", torch.zeros(samples, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, index: Tensor, probabilities: Tensor) -> None:
        """Keeps a batch.

        Args:
            index: (B,) sample numbers.
            probabilities: (B, K).
        """
        self.probabilities[index] = probabilities
        self.tested[index] += 1

    def compute(self) -> tuple[Tensor, Tensor]:
        """The samples tested, (n,) in the table's order, and their probabilities, (n, K).

        Raises:
            RuntimeError: A sample was tested more than once.
        """
        if (self.tested > 1).any():
            raise RuntimeError("a sample was given to more than one process")
        index = self.tested.nonzero().squeeze(1)
        return index, self.probabilities[index]
