"""The class of every pixel of a scene, block by block: a block is some whole rows of the map.

The pixels go through the network in batches, counted row by row from the first pixel of the map. Blocks end where a
batch does, so a map has the same bits whatever its blocks are, and whoever computes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from mamol.core.calibration import AS_IS, Calibration
from mamol.core.errors import MamolError
from mamol.data.patches import WindowCutter
from mamol.data.sources import Source
from mamol.evaluation.frame import Frame

Windows = dict[str, NDArray[np.float32]]
Predict = Callable[[Windows, NDArray[np.bool_]], NDArray[np.float32]]
"""From the windows (B, C, P, P) of each modality, and whether it is present (B, M), to probabilities (B, K); of a
dense head, (B, P, P, K)."""
Found = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float32]]
"""Of pixels that a sensor saw: numbers in the map (n,), presence (n, M), probabilities (n, K)."""

MIN_VALID = 0.5
READ_BYTES = 64 << 20  # of rasters at once, about; a block is read in parts where its bands are many
MOST_PIXELS = 1 << 24  # of a block, about
PROBABILITY_STEPS = 10_000
NO_PROBABILITY = 65_535


@dataclass(frozen=True)
class Block:
    """Some rows of a map.

    Attributes:
        classes: (h, W) codes from 1 as in a label map; 0 where no sensor saw.
        confidence: (h, W) float32, probability of that class, 0-1; NaN where no sensor saw.
        sensors: (h, W); bit i says whether modality i was used.
        probabilities: (K, h, W) uint16, in steps of 1/10000; None unless wanted.
        set_size: (h, W), classes in the set of a pixel, 0 where no sensor saw; None of a network without sets.
    """

    classes: np.ndarray
    confidence: np.ndarray
    sensors: np.ndarray
    probabilities: np.ndarray | None = None
    set_size: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence["Block"]) -> "Block":
        """Blocks below each other as one.

        Args:
            parts: One or more, from above.
        """
        names = [name for name, part in vars(parts[0]).items() if part is not None]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts], axis=-2) for name in names})


def code_type(count: int) -> type[np.unsignedinteger]:
    """The smallest type of class codes, 0 among them.

    Args:
        count: Number of classes.
    """
    return np.uint8 if count <= 255 else np.uint16


def undecided_code(count: int) -> int:
    """The code of pixels that are left undecided: the largest of its type, which is no class.

    Args:
        count: Number of classes.
    """
    return int(np.iinfo(code_type(count + 1)).max)


def among_all(present: NDArray[np.bool_], columns: Sequence[int], count: int) -> NDArray[np.bool_]:
    """The presence of some modalities among all, (n, M): the others are absent.

    Args:
        present: (n, m).
        columns: Which of all they are.
        count: M.
    """
    available = np.zeros((len(present), count), bool)
    available[:, columns] = present
    return available


def sensor_type(count: int) -> type[np.unsignedinteger]:
    """The smallest type with a bit for each modality.

    Args:
        count: Number of modalities.
    """
    return np.uint8 if count <= 8 else np.uint16 if count <= 16 else np.uint32


def block_rows(wanted: int, width: int, batch: int) -> int:
    """The rows of a block, so that blocks end where batches do, and are not too large in a wide scene.

    Args:
        wanted: Rows; some more are taken up to where a batch ends.
        width: Of the map.
        batch: Pixels at once; of dense windows, those of a row of windows.
    """
    step = batch // gcd(width, batch)
    return -(-min(wanted, max(1, MOST_PIXELS // width)) // step) * step


@dataclass(frozen=True)
class Classifier(ABC):
    """What a map is computed with.

    Attributes:
        predict: From windows to probabilities.
        sources: Modality to its raster, in the order of the columns that ``predict`` gets.
        bits: Modality to its bit in ``Block.sensors``.
        size: Side P of the windows.
        classes: Number of classes.
        batch: Windows per call of ``predict``.
        probabilities: Whether all probabilities are kept.
        calibration: What the probabilities of a pixel go through, by the sensors that saw it.
        abstain: Accepted share of wrong pixels; others stay undecided. None: all are decided.
    """

    predict: Predict
    sources: Mapping[str, Source]
    bits: Mapping[str, int]
    size: int
    classes: int
    batch: int
    probabilities: bool = False
    calibration: Calibration = AS_IS
    abstain: float | None = None

    @abstractmethod
    def windows(self, frame: Frame) -> int:
        """Windows of a map, at most.

        Args:
            frame: The part of the scene that it shows.
        """

    @abstractmethod
    def uncalibrated(
        self, frame: Frame, first: int, last: int, advance: Callable[[int], None] = lambda pixels: None
    ) -> Iterator[Found]:
        """What the network itself says of some rows, part by part.

        Args:
            frame: The part of the scene that the map shows.
            first: Row of the map, where a block begins.
            last: The row behind the last one.
            advance: Is told how many pixels are done.

        Raises:
            MamolError: If a probability is NaN or infinite.
        """

    def batches(
        self, frame: Frame, first: int, last: int, advance: Callable[[int], None] = lambda pixels: None
    ) -> Iterator[Found]:
        """Classifies some rows, part by part.

        Args:
            frame: The part of the scene that the map shows.
            first: Row of the map, where a block begins.
            last: The row behind the last one.
            advance: Is told how many pixels are done.

        Raises:
            MamolError: If a probability is NaN or infinite.
        """
        yield from self._calibrated(self.uncalibrated(frame, first, last, advance))

    def _calibrated(self, parts: Iterable[Found]) -> Iterator[Found]:
        for pixels, present, found in parts:
            yield pixels, present, self.calibration.calibrated(found, self._available(present))

    def _available(self, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The presence of all modalities of the network."""
        return among_all(present, [self.bits[name] for name in self.sources], len(self.bits))

    def block(self, frame: Frame, first: int, last: int, advance: Callable[[int], None] = lambda pixels: None) -> Block:
        """Classifies some rows.

        Args:
            frame: The part of the scene that the map shows.
            first: Row of the map.
            last: The row behind the last one.
            advance: Is told how many pixels are done, batch by batch.

        Raises:
            MamolError: If a probability is NaN or infinite.
        """
        start, shape = first * frame.width, (last - first, frame.width)
        found = self.batches(frame, first, last, advance)
        return self.gathered(((pixels - start, present, said) for pixels, present, said in found), shape)

    def gathered(self, parts: Iterable[Found], shape: tuple[int, int]) -> Block:
        """The pixels that were classified, as a block.

        Args:
            parts: With the places of the pixels in the block, row by row, instead of their numbers in the map.
            shape: Rows and columns of the block.
        """
        count = shape[0] * shape[1]
        undecided = undecided_code(self.classes)
        classes = np.zeros(count, code_type(self.classes if self.abstain is None else undecided))
        confidence = np.full(count, np.nan, np.float32)
        sensors = np.zeros(count, sensor_type(max(self.bits.values()) + 1))
        every = np.full((self.classes, count), NO_PROBABILITY, np.uint16) if self.probabilities else None
        sets = None if self.calibration.coverage is None else np.zeros(count, code_type(self.classes))
        bits = np.array([1 << self.bits[name] for name in self.sources], sensors.dtype)
        for where, present, found in parts:
            classes[where] = found.argmax(axis=1) + 1
            confidence[where] = found.max(axis=1)
            sensors[where] = present.astype(sensors.dtype) @ bits
            if every is not None:
                every[:, where] = np.rint(found.T * PROBABILITY_STEPS)
            chosen = self.calibration.sets(found, self._available(present))
            if sets is not None and chosen is not None:
                sets[where] = chosen.sum(1)
            if self.abstain is not None:
                sure = self.calibration.decided(found, self._available(present), self.abstain)
                classes[where[~sure]] = undecided
        whole = None if every is None else every.reshape(-1, *shape)
        sizes = None if sets is None else sets.reshape(shape)
        return Block(classes.reshape(shape), confidence.reshape(shape), sensors.reshape(shape), whole, sizes)

    @staticmethod
    def check(found: NDArray[np.float32], pixels: NDArray[np.int64], frame: Frame) -> None:
        """Refuses probabilities that are no numbers.

        Args:
            found: (n, K).
            pixels: (n,) numbers in the map.
            frame: The part of the scene that the map shows.

        Raises:
            MamolError: If a probability is NaN or infinite.
        """
        broken = ~np.isfinite(found).all(axis=1)
        if broken.any():
            row, col = np.add(divmod(int(pixels[broken][0]), frame.width), (frame.top, frame.left))
            raise MamolError(
                f"map: found a probability that is NaN or infinite at row {row}, column {col}, expected "
                "finite ones; look for invalid values in the scene there, or use precision=32"
            )

    @property
    def row_bytes(self) -> int:
        """Bytes of one pixel of all rasters, float32."""
        return 4 * sum(source.bands for source in self.sources.values())


@dataclass(frozen=True)
class WindowClassifier(Classifier):
    """``predict`` gives the probabilities of the pixel in the middle of each window, (B, K).

    Attributes:
        min_valid: Share of a window that has to be valid for the modality to be present.
    """

    min_valid: float = MIN_VALID

    def windows(self, frame: Frame) -> int:
        """One for each pixel."""
        return frame.height * frame.width

    def uncalibrated(
        self, frame: Frame, first: int, last: int, advance: Callable[[int], None] = lambda pixels: None
    ) -> Iterator[Found]:
        """Batch by batch; a batch begins at ``first``."""
        yield from self._some(np.arange(first * frame.width, last * frame.width), frame, last, advance)

    def preview(
        self,
        frame: Frame,
        rows: NDArray[np.int64],
        cols: NDArray[np.int64],
        advance: Callable[[int], None] = lambda pixels: None,
    ) -> Block:
        """Some rows and columns of the map.

        Args:
            frame: The part of the scene that the map shows.
            rows: Of the map, ascending.
            cols: Of the map, ascending.
            advance: Is told how many pixels are done.

        Raises:
            MamolError: If a probability is NaN or infinite.
        """
        numbers = (rows[:, None] * frame.width + cols).ravel()
        found = self._calibrated(self._some(numbers, frame, frame.height, advance))
        places = ((np.searchsorted(numbers, pixels), present, said) for pixels, present, said in found)
        return self.gathered(places, (len(rows), len(cols)))

    def _some(
        self, numbers: NDArray[np.int64], frame: Frame, last: int, advance: Callable[[int], None]
    ) -> Iterator[Found]:
        """Classifies pixels of ascending numbers, batch by batch."""
        rows = Rows(self, frame, last)
        for start in range(0, len(numbers), self.batch):
            pixels = numbers[start : start + self.batch]
            down, across = np.divmod(pixels, frame.width)
            rows.need(int(down[0]), int(down[-1]))
            present = rows.presence(down, across, self.min_valid)
            seen = present.any(axis=1)
            if seen.any():
                down, across, present = down[seen], across[seen], present[seen]
                found = self.predict(rows.windows(down, across), present)
                self.check(found, pixels[seen], frame)
                yield pixels[seen], present, found
            advance(len(pixels))


class Rows:
    """The rasters of some rows, with half a window around them, so that windows are those of the whole scene."""

    def __init__(self, classifier: Classifier, frame: Frame, last: int) -> None:
        """Nothing is read yet.

        Args:
            classifier: It has the rasters.
            frame: The part of the scene that the map shows.
            last: Row of the map behind the last one that will be needed.
        """
        self._of, self._frame, self._last = classifier, frame, last
        self._first = self._end = 0  # rows of the map that are here
        self._cutters: dict[str, WindowCutter] = {}
        self._valid: dict[str, WindowCutter | None] = {}  # None: all pixels are
        self._shown: NDArray[np.bool_] | None = None  # None: all are
        self._top = self._left = 0  # of what is here, in the scene

    def need(self, first: int, last: int) -> None:
        """Reads rows of the map, and some behind them, unless they are here.

        Args:
            first: The first one.
            last: The last one.
        """
        if self._first <= first and last < self._end:
            return
        frame, half = self._frame, self._of.size // 2
        at_once = READ_BYTES // (self._of.row_bytes * frame.width) - self._of.size
        self._first, self._end = first, min(max(first + at_once, last + 1), self._last)
        self._top, self._left = max(0, frame.top + first - half), max(0, frame.left - half)
        self._shown = frame.shown(self._first, self._end)
        self._cutters, self._valid = {}, {}  # before reading: the old rows make room
        for name, source in self._of.sources.items():
            bottom = min(source.height, frame.top + self._end + half)
            right = min(source.width, frame.left + frame.width + half)
            raster = source.read(slice(self._top, bottom), slice(self._left, right))
            valid = ~np.isnan(raster[..., :1])
            self._cutters[name] = WindowCutter(raster, self._of.size)
            self._valid[name] = None if valid.all() else WindowCutter(valid, self._of.size)

    def presence(self, rows: np.ndarray, cols: np.ndarray, min_valid: float) -> NDArray[np.bool_]:
        """Whether each modality is present: the pixel is valid and enough of its window is, (n, M).

        Args:
            rows: (n,) rows of the map.
            cols: (n,) columns of the map.
            min_valid: Share of a window that is enough.
        """
        shown = np.ones(len(rows), bool) if self._shown is None else self._shown[rows - self._first, cols]
        present = np.repeat(shown[:, None], len(self._cutters), axis=1)
        for column, valid in enumerate(self._valid.values()):
            if valid is not None:
                shares = valid.cut(*self._here(rows, cols)).mean(axis=(1, 2, 3))
                centres = valid.centres(*self._here(rows, cols))[:, 0]
                present[:, column] &= centres & (shares >= min_valid)
        return present

    def windows(self, rows: np.ndarray, cols: np.ndarray) -> Windows:
        """The windows of pixels of the map.

        Args:
            rows: (n,) rows of the map.
            cols: (n,) columns of the map.
        """
        return {name: cutter.cut(*self._here(rows, cols)) for name, cutter in self._cutters.items()}

    def _here(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows + self._frame.top - self._top, cols + self._frame.left - self._left
