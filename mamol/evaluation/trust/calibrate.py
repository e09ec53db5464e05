"""``calibrate``: what the validation table says of a checkpoint's confidence, kept beside it, and tried on the test."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mamol.core.calibration import Curve, in_sets, tempered
from mamol.core.errors import MamolError
from mamol.core.files import alone
from mamol.core.settings import Settings
from mamol.core.version import VERSION
from mamol.evaluation.trained import Trained, open_trained
from mamol.evaluation.trust.fitting import (
    SPREAD,
    Temperatures,
    curve_of,
    least_probabilities,
    temperatures,
)
from mamol.evaluation.trust.page import write_page
from mamol.evaluation.trust.said import Said, said_of
from mamol.evaluation.trust.scores import reliability, scores_of, sets_scores, summed_up_to
from mamol.evaluation.trust.units import units_of
from mamol.training.calibrations import (
    FORMAT,
    AbstentionRow,
    CalibrationFile,
    CurveFile,
    PatternFile,
    ReliabilityRow,
    ScoreRow,
    calibration_path,
    weights_of,
    write_calibration,
)

FOLDER = "calibration"
LEAST_SAMPLES = 20
RISKS = (0.01, 0.05, 0.1)
"""Accepted ones of which is said what is decided."""
WAYS = NONE, COMMON, PATTERN = ("none", "common", "pattern")
"""What is compared: probabilities as they are, one temperature and threshold for all patterns, one for each."""


def calibrate(settings: Settings) -> tuple[Path, str]:
    """Fits temperatures, sets and thresholds on the validation table, and tries them on the test table.

    Args:
        settings: ``load_path``, the group ``calibrate``; ``data_root``, unless the run's own tables lie where they did.

    Returns:
        The folder of the page and its figures, and the page.

    Raises:
        MamolError: Something given does not fit, or there are too few validation samples; nothing is written then.
    """
    trained = open_trained(settings.changed(calibrated=False), "calibrate")
    said = said_of(trained, "val")
    table = trained.data.tables["val"]
    samples = max((len(each.label) for each in said), default=0)
    if samples < LEAST_SAMPLES:
        raise MamolError(
            f"calibrate: {table.path} has {samples} labelled validation samples, and {LEAST_SAMPLES} are needed; build "
            "the tables with more (make_arrow.py --val-per-class), or give data_root=<other tables of the scene>"
        )
    with alone(trained.folder(FOLDER)) as folder:
        content = Fitted(trained, said).content(units_of(table)[0], said_of(trained, "test"))
        page = write_page(folder, content, trained.title("calibration"))
        write_calibration(calibration_path(trained.checkpoint), content)
    return folder, page


@dataclass(frozen=True)
class Fitted:
    """What follows from validation samples.

    Attributes:
        trained: Checkpoint and tables.
        said: What the network says of them under each pattern.
    """

    trained: Trained
    said: Sequence[Said]

    @cached_property
    def temperature(self) -> Temperatures:
        """Of each pattern."""
        return temperatures(self.said)

    @cached_property
    def patterns(self) -> dict[str, PatternFile]:
        """Of each pattern what its own samples say."""
        found = {}
        for each in self.said:
            used = self.temperature.used[each.name]
            found[each.name] = self._fitted([each], [used], self.temperature.own[each.name])
        return found

    @cached_property
    def common(self) -> PatternFile:
        """What all patterns together say."""
        common = self.temperature.common
        return self._fitted(self.said, [common] * len(self.said), common)

    def _fitted(self, said: Sequence[Said], used: Sequence[float], own: float) -> PatternFile:
        asked, classes = self.trained.settings.calibrate, len(self.trained.classes)
        after = np.concatenate([tempered(each.probabilities, t) for each, t in zip(said, used, strict=True)])
        label, unit = (np.concatenate([getattr(each, name) for each in said]) for name in ("label", "unit"))
        weight = np.concatenate([each.weight for each in said])
        least: NDArray[Any] = np.zeros(0)
        enough: NDArray[Any] = np.zeros(0, bool)
        if asked.coverage is not None:
            true = after[np.arange(len(label)), label]
            least, enough = least_probabilities(
                true, label, unit, asked.coverage, classes, by_class=asked.class_conditional
            )
        return {
            "samples": len(label),
            "units": len(np.unique(unit)),
            "own_temperature": own,
            "temperature": used[0],
            "least": tuple(least.tolist()),
            "guaranteed": tuple(enough.tolist()),
            "curve": _plain(curve_of(after.max(1), after.argmax(1) == label, weight)),
        }

    def content(self, unit: str, tried: Sequence[Said]) -> CalibrationFile:
        """All of the file.

        Args:
            unit: What samples were exchanged in.
            tried: What the network says of the test table.
        """
        trained, asked = self.trained, self.trained.settings.calibrate
        scores: list[ScoreRow] = []
        bins: list[ReliabilityRow] = []
        left: list[AbstentionRow] = []
        curves: dict[str, CurveFile] = {}
        for split, every in (("val", self.said), ("test", tried)):
            for each in every:
                for way in WAYS:
                    after, row = self._scored(split, each, way)
                    scores.append(row)
                    if split == "test":
                        bins += _bins(each, way, after)
                if split == "test":
                    weight, right = np.ones(len(each.label)), after.argmax(1) == each.label
                    curves[each.name] = _plain(curve_of(after.max(1), right, weight))
                    left += self._decided(each.name, after.max(1), right)
        return {
            "format": FORMAT,
            "version": VERSION,
            "checkpoint": trained.checkpoint.name,
            "fingerprint": weights_of(trained.network),
            "table": trained.data.tables["val"].fingerprint,
            "task": trained.table.info.task,
            "classes": trained.classes,
            "modalities": trained.network.spec.names,
            "unit": unit,
            "temperature_spread": SPREAD,
            "coverage": asked.coverage,
            "class_conditional": asked.class_conditional,
            "common": self.common,
            "patterns": self.patterns,
            "scores": tuple(scores),
            "reliability": tuple(bins),
            "abstention": tuple(left),
            "test_curves": curves,
        }

    def _scored(self, split: str, each: Said, way: str) -> tuple[NDArray[np.float32], ScoreRow]:
        """The probabilities that a way gives, and a row of their scores."""
        fitted = self.common if way == COMMON else self.patterns.get(each.name, self.common)
        after = each.probabilities if way == NONE else tempered(each.probabilities, fitted["temperature"])
        row: dict[str, Any] = {"split": split, "present": each.name, "calibration": way, "n": len(each.label)}
        row |= scores_of(after, each.label)
        coverage = self.trained.settings.calibrate.coverage
        if coverage is not None:
            chosen = summed_up_to(after, coverage) if way == NONE else in_sets(after, np.array(fitted["least"]))
            row |= sets_scores(chosen, each.label)
        return after, cast(ScoreRow, row)

    def _decided(self, name: str, confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> Iterator[AbstentionRow]:
        """What is decided at some accepted risks."""
        curve = Curve(**self.patterns.get(name, self.common)["curve"])
        for risk in RISKS:
            sure = confidence >= curve.threshold(risk)
            wrong = float(1 - right[sure].mean()) if sure.any() else None
            yield {"present": name, "risk": risk, "share": float(sure.mean()), "wrong": wrong}


def _plain(curve: Curve) -> CurveFile:
    return {"confidence": curve.confidence, "share": curve.share, "risk": curve.risk}


def _bins(each: Said, way: str, after: NDArray[np.float32]) -> list[ReliabilityRow]:
    """The reliability diagram of one pattern."""
    found = reliability(after, each.label)
    return [cast(ReliabilityRow, {"present": each.name, "calibration": way, **asdict(one)}) for one in found]
