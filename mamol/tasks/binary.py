"""One of two classes, ranked: area under the ROC curve, and accuracy."""

import numpy as np
import torch

from mamol.core.task import TASKS, Labels, Probabilities, Scores
from mamol.tasks.single_label import SingleLabel


@TASKS.register("binary")
class Binary(SingleLabel):
    """One of two classes: AUROC of the second one's probability, and accuracy."""

    scores = ("AUROC", "accuracy")

    def scored(self, probabilities: Probabilities, label: Labels) -> Scores:
        """AUROC is None where only one class occurs."""
        from torchmetrics.functional.classification import binary_accuracy  # takes seconds: not before a test

        right = binary_accuracy(torch.from_numpy(self.predictions(probabilities)), torch.from_numpy(label))
        return {"AUROC": self.auroc(probabilities, label), "accuracy": 100 * float(right)}

    def auroc(self, probabilities: Probabilities, label: Labels) -> float | None:
        """Area under the ROC curve in percent, None where only one class occurs.

        Args:
            probabilities: (n, 2).
            label: (n,).
        """
        from torchmetrics.functional.classification import binary_auroc

        if len(np.unique(label)) < 2:
            return None
        return 100 * float(binary_auroc(torch.from_numpy(probabilities[:, 1].copy()), torch.from_numpy(label)))
