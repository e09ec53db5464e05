"""Any number of classes per sample: four kinds of F1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mamol.core.task import TASKS, Labels, Probabilities, Scores, Task


@TASKS.register("genres")
class MultiLabel(Task):
    """Any number of classes per sample: F1 of the classes with a probability above one half.

    A class, or a sample, that is neither true nor predicted anywhere has an F1 of 0, as in scikit-learn.
    """

    scores = ("F1_macro", "F1_micro", "F1_samples", "F1_weighted")
    threshold = 0.5

    def label_shape(self, classes: int) -> tuple[int, ...]:
        """(K,), 1 where a class applies."""
        return (classes,)

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Binary cross-entropy, mean over samples and classes."""
        return functional.binary_cross_entropy_with_logits(logits, label.to(logits.dtype))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Each class by itself."""
        return logits.float().sigmoid()

    def predictions(self, probabilities: Probabilities) -> Labels:
        """(n, K) int8, 1 where the probability is above the threshold."""
        return (probabilities > self.threshold).astype(np.int8)

    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """Where it is one of the labels."""
        return label[:, number] > 0

    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """F1."""
        if not len(label):
            return [None] * label.shape[1]
        return [100 * float(value) for value in self._f1(probabilities, label, "none").double()]

    def scored(self, probabilities: Probabilities, label: Labels) -> Scores:
        """The four kinds."""
        kinds = {name: self._f1(probabilities, label, name.removeprefix("F1_")) for name in self.scores}
        return {name: 100 * float(value) for name, value in kinds.items()}

    def own(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], group: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """Each item once, with the mean probability over its samples, where items can have several.

        In files it is called ``per_movie``, after the first data that had it.
        """
        if group is None:
            return {}
        _, first, item, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
        total = np.zeros((len(first), probabilities.shape[1]))
        np.add.at(total, item, probabilities)
        return {"per_movie": self.row((total / size[:, None]).astype(np.float32), label[first])}

    def _f1(self, probabilities: Probabilities, label: Labels, average: str) -> Tensor:
        from torchmetrics.functional.classification import (  # takes seconds: not before a test
            binary_f1_score,
            multilabel_f1_score,
        )

        predicted, truth = torch.from_numpy(self.predictions(probabilities)), torch.from_numpy(label)
        if average == "samples":
            return binary_f1_score(predicted, truth, multidim_average="samplewise").double().mean()
        return multilabel_f1_score(predicted, truth, label.shape[1], average=average)  # type: ignore[arg-type]
