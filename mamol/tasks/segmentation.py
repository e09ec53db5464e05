"""Tiles with a class at every pixel: mean intersection over union, and the scores of single labels, over pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.task import TASKS, UNLABELLED, Labels, Probabilities, Scores
from mamol.tasks.metrics import f1, iou, mean_of, scores
from mamol.tasks.single_label import SingleLabel

RESAMPLES = 1000
LEVELS = (2.5, 97.5)


@TASKS.register("segmentation")
class Segmentation(SingleLabel):
    """A class at every pixel; what is kept of a tested tile are its pixels by true and predicted class, (K, K).

    All scores are of the sum over tiles: every labelled pixel counts once, whatever its tile. ``n`` are tiles.
    """

    scores = ("mIoU", "OA", "AA", "kappa")
    shares = ()
    pixels = True

    def kept_shape(self, classes: int) -> tuple[int, ...]:
        """(K, K)."""
        return (classes, classes)

    def kept(self, logits: Tensor, label: Tensor) -> Tensor:
        """Counts, which float32 holds exactly; NaN of a tile with an output that is no finite number."""
        classes, tiles = logits.shape[-1], len(logits)
        labelled = label != UNLABELLED
        tile = torch.arange(tiles, device=label.device)[:, None, None].expand_as(label)
        place = (tile * classes + label) * classes + logits.argmax(-1)
        counts = torch.bincount(place[labelled], minlength=tiles * classes**2).float()
        finite = logits.flatten(1).isfinite().all(1)
        return counts.view(tiles, classes, classes).where(finite[:, None, None], torch.nan)

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Zero where no present sensor saw a labelled pixel of the whole batch, instead of a mean of nothing."""
        if (label == UNLABELLED).all():
            return logits.sum() * 0
        return super().loss(logits, label)

    def with_class(self, label: Labels, number: int) -> NDArray[np.bool_]:
        """Where a pixel has it."""
        there: NDArray[np.bool_] = (label == number).any((1, 2))
        return there

    def confusion(self, probabilities: Probabilities, label: Labels) -> NDArray[np.int64]:
        """The sum over tiles.

        Args:
            probabilities: (n, K, K), what was kept.
            label: Not looked at.

        Returns:
            (K, K) counts, rows are the truth.
        """
        summed: NDArray[np.int64] = probabilities.sum(0, dtype=np.float64).astype(np.int64)
        return summed

    def scored(self, probabilities: Probabilities, label: Labels) -> Scores:
        """From the sum of all pixels."""
        return self._scored(self.confusion(probabilities, label))

    def per_class(self, probabilities: Probabilities, label: Labels) -> list[float | None]:
        """Intersection over union; None of a class that is neither true nor predicted anywhere."""
        return iou(self.confusion(probabilities, label))

    def own(
        self, probabilities: Probabilities, label: Labels, classes: Sequence[str], group: NDArray[np.int64] | None
    ) -> dict[str, Any]:
        """F1 of each class, the labelled pixels, and an interval of mIoU."""
        matrix = self.confusion(probabilities, label)
        return {
            "per_class_f1": dict(zip(classes, f1(matrix), strict=True)),
            "pixels": int(matrix.sum()),
            "mIoU_interval": self.interval(probabilities),
        }

    def interval(self, probabilities: Probabilities, seed: int = 0) -> list[float] | None:
        """95 % interval of mIoU when the tiles are drawn anew: pixels of one tile are alike, tiles less so.

        Args:
            probabilities: (n, K, K), what was kept.
            seed: Of the draws.

        Returns:
            Lower and upper end; None where there are fewer than two tiles with labels.
        """
        labelled = probabilities[probabilities.any((1, 2))].astype(np.float64)
        tiles = len(labelled)
        if tiles < 2:
            return None
        times = np.random.default_rng(seed).multinomial(tiles, np.full(tiles, 1 / tiles), RESAMPLES)
        sums = np.tensordot(times, labelled, 1)
        right = np.diagonal(sums, axis1=1, axis2=2)
        either = sums.sum(1) + sums.sum(2) - right
        shares = np.divide(right, either, out=np.full_like(right, np.nan), where=either > 0)
        low, high = np.percentile(100 * np.nanmean(shares, axis=1), LEVELS)
        return [float(low), float(high)]

    def columns(self, probabilities: Probabilities, label: Labels, classes: Sequence[str]) -> dict[str, Any]:
        """Pixels of each true class, of each predicted class, and of each pair of them, row by row."""
        counts = probabilities.astype(np.int64)
        return {
            "label": counts.sum(2).tolist(),
            "prediction": counts.sum(1).tolist(),
            "confusion": counts.reshape(len(counts), -1).tolist(),
        }

    @staticmethod
    def _scored(matrix: NDArray[np.int64]) -> dict[str, float | None]:
        known = scores(matrix)
        return {"mIoU": mean_of(iou(matrix)), **{name: known[name] for name in ("OA", "AA", "kappa")}}
