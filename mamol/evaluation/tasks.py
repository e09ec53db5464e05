"""What the labels of a table are decides loss, probabilities, scores and figures: one ``Task`` for each kind.

``classes``: one class per sample (all scenes, Food-101). ``genres``: any number of classes per sample (MM-IMDb).
``binary``: one of two classes, ranked (Hateful Memes). All rates are in percent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_auroc,
    binary_f1_score,
    multilabel_f1_score,
)

from mamol.data.missing import Mask, pattern_name
from mamol.evaluation.metrics import confusion, recall, scores
from mamol.evaluation.plots import confusion_plot
from mamol.evaluation.plots_scores import f1_plot, roc_plot

Probabilities = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Scores = Mapping[str, float | None]


class Task(ABC):
    """A kind of labels.

    Attributes:
        scores: Names of the scores, in the order of tables; the first one picks the best checkpoint.
    """

    scores: tuple[str, ...]

    @property
    def selection(self) -> str:
        """The score whose maximum on the validation table picks the best checkpoint."""
        return self.scores[0]

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The mean loss of a batch.

        Args:
            logits: (B, K).
            label: (B,) class numbers, or (B, K) float, 1 where a class applies.
        """

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, K) float32 in 0-1, from logits (B, K) of any precision."""

    @abstractmethod
    def predictions(self, probabilities: Probabilities) -> Labels:
        """The labels that (n, K) probabilities stand for, in the form of a table's."""

    @abstractmethod
    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """(n,), which samples with these labels have a class."""

    def report(
        self,
        probabilities: Probabilities,
        label: Labels,
        available: Mask,
        modalities: Sequence[str],
        classes: Sequence[str],
        group: NDArray[np.int64] | None = None,
    ) -> dict[str, Any]:
        """All scores of a test of n samples.

        Args:
            probabilities: (n, K).
            label: (n,) class numbers, or (n, K), 1 where a class applies.
            available: (n, M), True where present.
            modalities: Names, M of them.
            classes: Names, K of them.
            group: (n,), the number of each sample's item, where items can have several samples.

        Returns:
            ``n`` and the scores (None where they are not defined), ``per_class`` (name to number), what is the task's
            own, and ``per_pattern`` (pattern to n and scores), most complete pattern first.
        """
        patterns = {
            pattern_name(row, modalities): self._row(probabilities[chosen], label[chosen])
            for row in sorted(np.unique(available, axis=0).tolist(), key=lambda row: (-sum(row), row[::-1]))
            if (chosen := (available == row).all(1)).any()
        }
        return {
            **self._row(probabilities, label),
            "per_class": dict(zip(classes, self.per_class(probabilities, label), strict=True)),
            **self._own(probabilities, label, group),
            "per_pattern": patterns,
        }

    @abstractmethod
    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """One number per class."""

    @abstractmethod
    def figures(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
    ) -> dict[str, Figure]:
        """Figures of a test by file name, without ending; arguments as of ``report``."""

    @abstractmethod
    def _scores(self, probabilities: Probabilities, label: Labels) -> Scores:
        """The scores of at least one sample."""

    def _own(self, probabilities: Probabilities, label: Labels, group: NDArray[np.int64] | None) -> dict[str, Any]:
        """What only this task reports."""
        return {}

    def _row(self, probabilities: Probabilities, label: Labels) -> dict[str, Any]:
        return {
            "n": len(label),
            **(self._scores(probabilities, label) if len(label) else dict.fromkeys(self.scores)),
        }


class Classes(Task):
    """One class per sample: OA (share of correct samples, also called accuracy), AA (mean recall), kappa."""

    scores: tuple[str, ...] = ("OA", "AA", "kappa")

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, label)

    def probabilities(self, logits: Tensor) -> Tensor:
        """They sum to one."""
        return logits.float().softmax(1)

    def predictions(self, probabilities: Probabilities) -> Labels:
        """The most probable class, (n,)."""
        return probabilities.argmax(1)

    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """Where it is the label."""
        return label == number

    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """Recall; None where a class does not occur."""
        return recall(self._confusion(probabilities, label))

    def figures(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
    ) -> dict[str, Figure]:
        """The confusion matrix."""
        return {"confusion": confusion_plot(self._confusion(probabilities, label), classes, title)}

    def _scores(self, probabilities: Probabilities, label: Labels) -> Scores:
        return scores(self._confusion(probabilities, label))

    def _confusion(self, probabilities: Probabilities, label: Labels) -> NDArray[np.int64]:
        return confusion(self.predictions(probabilities), label, probabilities.shape[1])


class Genres(Task):
    """Any number of classes per sample: four kinds of F1, of the classes with a probability above one half.

    A class, or a sample, that is neither true nor predicted anywhere has an F1 of 0, as in scikit-learn.
    """

    scores = ("F1_macro", "F1_micro", "F1_samples", "F1_weighted")
    threshold = 0.5

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
        return (
            (100 * self._f1(probabilities, label, "none").double()).tolist() if len(label) else [None] * label.shape[1]
        )

    def figures(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
    ) -> dict[str, Figure]:
        """F1 and frequency of each class."""
        f1 = np.array(self.per_class(probabilities, label), float)
        return {"f1": f1_plot(f1, label.sum(0), self.predictions(probabilities).sum(0), classes, title)}

    def _scores(self, probabilities: Probabilities, label: Labels) -> Scores:
        kinds = {name: self._f1(probabilities, label, name.removeprefix("F1_")) for name in self.scores}
        return {name: 100 * float(value) for name, value in kinds.items()}

    def _own(self, probabilities: Probabilities, label: Labels, group: NDArray[np.int64] | None) -> dict[str, Any]:
        """``per_movie``: each item once, with the mean probability over its samples, where it can have several."""
        if group is None:
            return {}
        _, first, item, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
        total = np.zeros((len(first), probabilities.shape[1]))
        np.add.at(total, item, probabilities)
        return {"per_movie": self._row((total / size[:, None]).astype(np.float32), label[first])}

    def _f1(self, probabilities: Probabilities, label: Labels, average: str) -> Tensor:
        predicted, truth = torch.from_numpy(self.predictions(probabilities)), torch.from_numpy(label)
        if average == "samples":
            return binary_f1_score(predicted, truth, multidim_average="samplewise").double().mean()
        return multilabel_f1_score(predicted, truth, label.shape[1], average=average)  # type: ignore[arg-type]


class Binary(Classes):
    """One of two classes: AUROC of the second one's probability, and accuracy."""

    scores = ("AUROC", "accuracy")

    def figures(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
    ) -> dict[str, Figure]:
        """The confusion matrix and, where both classes occur, the ROC curve."""
        drawn = super().figures(probabilities, label, classes, title)
        auroc = self._auroc(probabilities, label)
        return drawn if auroc is None else {**drawn, "roc": roc_plot(probabilities[:, 1], label, auroc, title)}

    def _scores(self, probabilities: Probabilities, label: Labels) -> Scores:
        right = binary_accuracy(torch.from_numpy(self.predictions(probabilities)), torch.from_numpy(label))
        return {"AUROC": self._auroc(probabilities, label), "accuracy": 100 * float(right)}

    def _auroc(self, probabilities: Probabilities, label: Labels) -> float | None:
        """None where only one class occurs."""
        if len(np.unique(label)) < 2:
            return None
        return 100 * float(binary_auroc(torch.from_numpy(probabilities[:, 1].copy()), torch.from_numpy(label)))


TASKS: dict[str, Task] = {"classes": Classes(), "genres": Genres(), "binary": Binary()}
"""By ``info.task`` of a table."""
