"""What is kept of every tested sample while a table is tested: its class probabilities, or what its task says."""

import torch
from torch import Tensor
from torchmetrics import Metric


class KeptPredictions(Metric):
    """What is kept of every sample of a table; torchmetrics adds it up over ranks.

    Attributes:
        probabilities: (N, …), zero where a sample has not been tested.
        tested: (N,), how often each sample has been.
    """

    full_state_update = False
    probabilities: Tensor
    tested: Tensor

    def __init__(self, samples: int, *shape: int) -> None:
        """Starts with nothing known.

        Args:
            samples: N.
            shape: Of what is kept of a sample; K of its class probabilities.
        """
        super().__init__()
        self.add_state("probabilities", torch.zeros(samples, *shape), dist_reduce_fx="sum")
        self.add_state("tested", torch.zeros(samples, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, index: Tensor, probabilities: Tensor) -> None:
        """Keeps a batch.

        Args:
            index: (B,) sample numbers.
            probabilities: (B, …).
        """
        self.probabilities[index] = probabilities
        self.tested[index] += 1

    def compute(self) -> tuple[Tensor, Tensor]:
        """The samples tested, (n,) in the table's order, and what was kept of them, (n, …).

        Raises:
            RuntimeError: A sample was tested more than once.
        """
        if (self.tested > 1).any():
            raise RuntimeError("a sample was given to more than one process")
        index = self.tested.nonzero().squeeze(1)
        return index, self.probabilities[index]

    def found(self) -> tuple[Tensor, Tensor]:
        """As ``compute``, also of one sample, whose number torchmetrics would make a scalar.

        Raises:
            RuntimeError: A sample was tested more than once.
        """
        index, probabilities = self.compute()
        return index.reshape(-1), probabilities.reshape(-1, *self.probabilities.shape[1:])
