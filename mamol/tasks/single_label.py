"""One class per sample: overall accuracy, mean recall, kappa."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mamol.core.task import TASKS, UNLABELLED, Labels, Probabilities, Scores, Task
from mamol.tasks.metrics import confusion, recall
from mamol.tasks.metrics import scores as scores_of


@TASKS.register("classes")
class SingleLabel(Task):
    """One class per sample: OA (share of correct samples, also called accuracy), AA (mean recall), kappa."""

    scores: tuple[str, ...] = ("OA", "AA", "kappa")
    weight: tuple[float, ...] | None = None
    dice: bool = False

    def with_loss(self, name: str) -> Task:
        """``ce+dice`` adds the Dice loss to the cross-entropy."""
        task = copy(self)
        task.dice = name == "ce+dice"
        return task

    def balanced(self, counts: Sequence[int]) -> Task:
        """A sample weighs inversely to the number of its class; the loss is the mean by weight."""
        task = copy(self)
        most = max(counts, default=0)
        task.weight = tuple(most / max(count, 1) for count in counts)
        return task

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy; of the pixels of windows, the mean over all that are labelled."""
        logits, label = logits.flatten(0, -2), label.flatten()
        weight = None if self.weight is None else logits.new_tensor(self.weight)
        entropy = functional.cross_entropy(logits, label, weight, ignore_index=UNLABELLED)
        return entropy + dice_loss(logits, label) if self.dice else entropy

    def probabilities(self, logits: Tensor) -> Tensor:
        """They sum to one."""
        return logits.float().softmax(1)

    def predictions(self, probabilities: Probabilities) -> Labels:
        """The most probable class, (n,)."""
        best: Labels = probabilities.argmax(1)
        return best

    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """Where it is the label."""
        there: NDArray[np.bool_] = label == number
        return there

    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """Recall; None where a class does not occur."""
        return recall(self.confusion(probabilities, label))

    def scored(self, probabilities: Probabilities, label: Labels) -> Scores:
        """From the confusion matrix."""
        return scores_of(self.confusion(probabilities, label))

    def confusion(self, probabilities: Probabilities, label: Labels) -> NDArray[np.int64]:
        """The confusion matrix.

        Args:
            probabilities: (n, K).
            label: (n,).

        Returns:
            (K, K) counts, rows are the truth.
        """
        return confusion(self.predictions(probabilities), label, probabilities.shape[1])


def dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """One less soft Dice, 2 Σ p y / (Σ p + Σ y), mean over the classes that are labelled somewhere.

    Args:
        logits: (n, K).
        label: (n,), ``UNLABELLED`` at what does not count.
    """
    labelled = label != UNLABELLED
    said = logits[labelled].float().softmax(1)
    truth = functional.one_hot(label[labelled], logits.shape[1]).to(said.dtype)
    occurs = truth.sum(0) > 0
    both, either = (2 * (said * truth).sum(0))[occurs], (said.sum(0) + truth.sum(0))[occurs]
    return 1 - (both / either).mean()
