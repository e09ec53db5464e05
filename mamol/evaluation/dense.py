"""A map from windows all of whose pixels are classified, blended where windows overlap.

Windows stand at multiples of the stride in the scene, the last ones at its border. A row of windows is classified from
left to right in batches that the columns of the map alone decide, so that a map has the same bits whatever its blocks
are: a block computes again the rows of windows that reach into it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mamol.evaluation.blocks import Classifier, Found, Rows
from mamol.evaluation.frame import Frame


def window_starts(length: int, size: int, stride: int, first: int, last: int) -> NDArray[np.int64]:
    """Where the windows begin that hold something of a stretch of an axis.

    Args:
        length: Of the axis.
        size: Side P of the windows.
        stride: From window to window.
        first: Of the stretch.
        last: Behind its end.

    Returns:
        Ascending; all windows lie on the axis, unless it is shorter than one.
    """
    end = max(length - size, 0)
    starts = np.union1d(np.arange(0, end + 1, stride), [end])
    return starts[(starts < last) & (starts + size > first)].astype(np.int64)


def blending(size: int) -> NDArray[np.float32]:
    """How much each place of a window counts along an axis where windows overlap: least at the window's border.

    Args:
        size: Side P.
    """
    return (np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2).astype(np.float32)


@dataclass(frozen=True)
class DenseClassifier(Classifier):
    """``predict`` gives probabilities of all pixels of its windows, (B, P, P, K).

    A modality is present in a window where it saw any pixel of it, and counts at the pixels that it saw.

    Attributes:
        stride: From window to window, 1 to P.
    """

    stride: int = 1

    def windows(self, frame: Frame) -> int:
        """Windows of a map at most."""
        down, across = self._starts(frame, 0, frame.height)
        return len(down) * len(across)

    def uncalibrated(
        self, frame: Frame, first: int, last: int, advance: Callable[[int], None] = lambda pixels: None
    ) -> Iterator[Found]:
        """A row of windows after the other."""
        down, across = self._starts(frame, first, last)
        strip = _Strip(self, frame, across)
        ends = [*(int(top) - frame.top for top in down[1:]), last]
        done = first
        for top, end in zip(down.tolist(), ends, strict=True):
            strip.classify(top)
            if end > done:  # no window further down reaches these rows
                yield strip.found(done, end)
                advance((end - done) * frame.width)
                done = end

    def _starts(self, frame: Frame, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First rows and columns, in the scene, of the windows that show some rows of the map."""
        source = next(iter(self.sources.values()))
        return (
            window_starts(source.height, self.size, self.stride, frame.top + first, frame.top + last),
            window_starts(source.width, self.size, self.stride, frame.left, frame.left + frame.width),
        )


class _Strip:
    """The rows of a map, P of them, to which a row of windows adds."""

    def __init__(self, classifier: DenseClassifier, frame: Frame, across: NDArray[np.int64]) -> None:
        self._of, self._frame, self._across = classifier, frame, across
        size, source = classifier.size, next(iter(classifier.sources.values()))
        self._left, span = int(across[0]), int(across[-1] - across[0]) + size
        self._rows = Rows(classifier, Frame(0, self._left, source.height, span), source.height)
        self._weights = blending(size)[:, None] * blending(size)
        self._top: int | None = None  # row of the scene
        self._sums = np.zeros((size, span, classifier.classes), np.float32)
        self._counts = np.zeros((size, span), np.float32)
        self._present = np.zeros((size, span, len(classifier.sources)), bool)

    def classify(self, top: int) -> None:
        """Adds the windows whose first row is ``top``."""
        self._move(top)
        size, batch = self._of.size, self._of.batch
        middle = top + size // 2
        self._rows.need(middle, middle)
        for start in range(0, len(self._across), batch):
            lefts = self._across[start : start + batch] - self._left
            windows = self._rows.windows(np.full(len(lefts), middle), lefts + size // 2)
            valid = np.stack([~np.isnan(each[:, 0]) for each in windows.values()], axis=3)
            seen = valid.any(axis=(1, 2, 3))
            if seen.any():
                present = np.asarray(valid[seen].any(axis=(1, 2)))
                found = self._of.predict({name: each[seen] for name, each in windows.items()}, present)
                self._add(lefts[seen], found, valid[seen])

    def _move(self, top: int) -> None:
        """Lets go of the rows above ``top``."""
        gone = 0 if self._top is None else min(top - self._top, self._of.size)
        for kept in (self._sums, self._counts, self._present):
            kept[: len(kept) - gone] = kept[gone:].copy()
            kept[len(kept) - gone :] = 0
        self._top = top

    def _add(self, lefts: NDArray[np.int64], found: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        for left, probabilities, saw in zip(lefts, found, valid, strict=True):
            here = slice(left, left + self._of.size)
            self._sums[:, here] += self._weights[..., None] * probabilities
            self._counts[:, here] += self._weights
            self._present[:, here] |= saw

    def found(self, first: int, last: int) -> Found:
        """What the windows say of some rows of the map, which lie in the strip."""
        frame, top = self._frame, self._top or 0
        here = slice(frame.top + first - top, frame.top + last - top)
        across = slice(frame.left - self._left, frame.left - self._left + frame.width)
        present, shown = self._present[here, across], frame.shown(first, last)
        seen = np.asarray(present.any(axis=2) & (True if shown is None else shown))
        pixels = np.flatnonzero(seen) + first * frame.width
        probabilities = self._sums[here, across][seen] / self._counts[here, across][seen][:, None]
        self._of.check(probabilities, pixels, frame)
        return pixels, present[seen], probabilities
