"""What the labels of a table are decides label shape, loss, probabilities, scores: one ``Task`` for each kind."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.names import UNLABELLED as UNLABELLED
from mamol.core.names import pattern_name
from mamol.core.registry import Instances

if TYPE_CHECKING:
    from mamol.core.predictions import KeptPredictions

Probabilities = NDArray[np.float32]
Labels = NDArray[np.integer[Any]]
Scores = Mapping[str, float | None]


class Task(ABC):
    """A kind of labels; all rates are in percent.

    Attributes:
        scores: Names of the scores, in the order of tables; the first one picks the best checkpoint.
        shares: Those of them that are the share of the samples that are right, so that n samples give an interval.
        pixels: Whether a sample has a label at every pixel of its window, which takes a network that classifies all.
    """

    scores: tuple[str, ...]
    shares: tuple[str, ...] = ("OA", "accuracy")
    pixels: bool = False

    @property
    def selection(self) -> str:
        """The score whose maximum on the validation table picks the best checkpoint."""
        return self.scores[0]

    def label_shape(self, classes: int) -> tuple[int, ...]:
        """Shape of one sample's label: (), a class number, unless a task says otherwise.

        Args:
            classes: K.
        """
        return ()

    def metric(self, samples: int, classes: int) -> "KeptPredictions":
        """What gathers the predictions of a table while it is tested, over all processes.

        Args:
            samples: N of the table.
            classes: K.
        """
        from mamol.core.predictions import KeptPredictions  # torchmetrics takes seconds, and only a test needs it

        return KeptPredictions(samples, *self.kept_shape(classes))

    def kept_shape(self, classes: int) -> tuple[int, ...]:
        """Shape of what is kept of a tested sample: (K,), its class probabilities, unless a task says otherwise.

        Args:
            classes: K.
        """
        return (classes,)

    def kept(self, logits: Tensor, label: Tensor) -> Tensor:
        """What is kept of tested samples, and what all scores come from.

        Args:
            logits: (B, K), of any precision; (B, P, P, K) where labels are of all ``pixels``.
            label: (B, *label_shape); (B, P, P), ``UNLABELLED`` where there is none.

        Returns:
            (B, *kept_shape) float32. The other methods call it ``probabilities``.
        """
        return self.probabilities(logits)

    def columns(self, probabilities: Probabilities, label: Labels, classes: Sequence[str]) -> dict[str, Any]:
        """The columns of ``predictions.parquet`` that say what was right and what was predicted.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
            classes: Names, K of them.

        Returns:
            ``label``, ``prediction``, and others by name, n values each.
        """
        said = {f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)}
        return {"label": _numbers(label), "prediction": _numbers(self.predictions(probabilities)), **said}

    def with_loss(self, name: str) -> "Task":
        """The same task with another loss.

        Args:
            name: ``ce``, the task's own, or ``ce+dice``.

        Raises:
            MamolError: The task has no such loss.
        """
        if name == "ce":
            return self
        raise MamolError(f"loss={name}: is for tables with one class per pixel or sample; use loss=ce for this one")

    def balanced(self, counts: Sequence[int]) -> "Task":
        """The same task with a loss in which every class counts as much as any other, whatever its samples.

        Args:
            counts: Training samples of each class, in label order.

        Raises:
            MamolError: The task has no such loss.
        """
        raise MamolError(
            "class_weight=balanced: is for tables with one class per sample; use class_weight=none for this one"
        )

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """The mean loss of a batch.

        Args:
            logits: (B, K); (B, P, P, K) of a dense head.
            label: (B, *label_shape); (B, P, P) of a dense head, ``UNLABELLED`` at pixels that do not train.
        """

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """What the logits say of each class.

        Args:
            logits: (B, K), of any precision.

        Returns:
            (B, K) float32 in 0-1.
        """

    @abstractmethod
    def predictions(self, probabilities: Probabilities) -> Labels:
        """The labels that probabilities stand for.

        Args:
            probabilities: (n, K) in 0-1.

        Returns:
            (n, *label_shape), in the form of a table's.
        """

    @abstractmethod
    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """(n,), which samples with these labels have a class.

        Args:
            label: Of n samples.
            number: The class, from 0.
        """

    def report(
        self,
        probabilities: Probabilities,
        label: Labels,
        available: NDArray[np.bool_],
        modalities: Sequence[str],
        classes: Sequence[str],
        group: NDArray[np.int64] | None = None,
        scenes: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> dict[str, Any]:
        """All scores of a test of n samples.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
            available: (n, M), True where present.
            modalities: Names, M of them.
            classes: Names, K of them.
            group: (n,), the number of each sample's item, where items can have several samples.
            scenes: Name of each scene -> (n,), which samples lie in it, where there are several.

        Returns:
            ``n`` and the scores (None where they are not defined), ``per_class`` (name to number), what is the task's
            own, ``per_pattern`` (pattern to n and scores), most complete pattern first, and of several scenes
            ``per_scene`` (name to n and scores).
        """
        patterns = {
            pattern_name(row, modalities): self.row(probabilities[chosen], label[chosen])
            for row in sorted(np.unique(available, axis=0).tolist(), key=lambda row: (-sum(row), row[::-1]))
            if (chosen := (available == row).all(1)).any()
        }
        return {
            **self.row(probabilities, label),
            "per_class": dict(zip(classes, self.per_class(probabilities, label), strict=True)),
            **self.own(probabilities, label, classes, group),
            "per_pattern": patterns,
            **({"per_scene": self.per_scene(probabilities, label, scenes)} if scenes else {}),
        }

    def per_scene(
        self, probabilities: Probabilities, label: Labels, scenes: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, dict[str, Any]]:
        """``n`` and the scores of each scene that has samples.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
            scenes: Name of each scene -> (n,), which samples lie in it.
        """
        there = {name: chosen for name, chosen in scenes.items() if chosen.any()}
        return {name: self.row(probabilities[chosen], label[chosen]) for name, chosen in there.items()}

    def row(self, probabilities: Probabilities, label: Labels) -> dict[str, Any]:
        """``n`` and the scores of n samples, None of no samples.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
        """
        known = self.scored(probabilities, label) if len(label) else dict.fromkeys(self.scores)
        return {"n": len(label), **known}

    @abstractmethod
    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """One number per class.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
        """

    @abstractmethod
    def scored(self, probabilities: Probabilities, label: Labels) -> Scores:
        """The scores of at least one sample.

        Args:
            probabilities: (n, K).
            label: (n, *label_shape).
        """

    def own(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], group: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """What only this task reports.

        Args:
            probabilities: As of ``report``.
            label: As of ``report``.
            classes: As of ``report``.
            group: As of ``report``.
        """
        return {}


def _numbers(label: Labels) -> NDArray[Any] | list[list[int]]:
    """Class numbers (n,) as they are, those of (n, K) as lists."""
    return label if label.ndim == 1 else [np.flatnonzero(row).tolist() for row in label]


TASKS: Instances[Task] = Instances("task")
"""By what a table says that its labels are."""


def check_finite(probabilities: NDArray[np.float32], index: NDArray[np.int64], source: str) -> None:
    """Refuses predictions that are no numbers, so that nobody scores them.

    Args:
        probabilities: (n, …).
        index: (n,) sample numbers.
        source: Whose they are, for the message.

    Raises:
        MamolError: One is NaN or infinite.
    """
    broken = ~np.isfinite(probabilities).reshape(len(probabilities), -1).all(1)
    if broken.any():
        raise MamolError(
            f"{source}: the network's output for sample {index[broken.argmax()]} is NaN or infinite; "
            "use precision=32, or look for extreme values in the table"
        )
