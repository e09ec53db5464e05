"""The file beside a checkpoint that says how its probabilities are calibrated: written by ``calibrate``, read by all.

``<checkpoint>.calibration.json`` is sealed and bears a fingerprint of the weights, frozen ones included, that it was
fitted with.
"""

from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from mamol.core.calibration import AS_IS, ByPattern, Calibration, Curve, PatternCalibration
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint
from mamol.core.network import AnyNetwork
from mamol.core.options import RATE, SHARE
from mamol.core.plain import Spread, fitted, shown
from mamol.core.seal import read_sealed_json, verify, write_sealed_json
from mamol.core.settings import Settings
from mamol.training.checkpoints import checkpoint_file

FORMAT = 1
SUFFIX = ".calibration.json"
AGAIN = "run calibrate again, or use calibrated=False"
Rate = Annotated[float, RATE]


class CurveFile(TypedDict):
    """Risk against share on the validation samples, as ``mamol.core.calibration.Curve``; at most 200 points."""

    confidence: tuple[Rate, ...]
    share: tuple[Rate, ...]
    risk: tuple[Rate, ...]


class PatternFile(TypedDict):
    """What was fitted under one pattern, or of all together.

    ``samples`` are those that can be under it, ``units`` the groups of alike ones that they are in.
    ``own_temperature`` is what they alone would say, ``temperature`` what is used. ``least`` has a probability for each
    class, and ``guaranteed`` says of which classes there were enough units; both are empty without ``coverage``.
    """

    samples: int
    units: int
    own_temperature: Spread
    temperature: Spread
    least: tuple[Rate, ...]
    guaranteed: tuple[bool, ...]
    curve: CurveFile


class ScoreRow(TypedDict):
    """Scores of one split under one pattern; ``calibration`` is ``none``, ``common`` or ``pattern``.

    ``OA``, ``ECE``, ``adaptive_ECE``, ``AURC``, ``covered`` and ``single`` (sets of one class) are in percent.
    """

    split: str
    present: str
    calibration: str
    n: int
    OA: float
    ECE: float
    adaptive_ECE: float
    Brier: float
    NLL: float
    AURC: float
    covered: NotRequired[float]
    set_size: NotRequired[float]
    single: NotRequired[float]


class ReliabilityRow(TypedDict):
    """One bin of a reliability diagram of the test table: mean confidence, share of right ones, share of samples."""

    present: str
    calibration: str
    confidence: Rate
    right: Rate
    share: Rate


class AbstentionRow(TypedDict):
    """What the threshold of the validation table for an accepted ``risk`` does on the test table.

    ``share`` of it is decided, of which ``wrong`` are wrong; null where nothing is decided.
    """

    present: str
    risk: Rate
    share: Rate
    wrong: Rate | None


class CalibrationFile(TypedDict):
    """The whole file."""

    format: int
    version: str
    checkpoint: str
    fingerprint: str
    table: str
    task: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    unit: str
    temperature_spread: Spread
    coverage: Annotated[float, SHARE] | None
    class_conditional: bool
    common: PatternFile
    patterns: dict[str, PatternFile]
    scores: tuple[ScoreRow, ...]
    reliability: tuple[ReliabilityRow, ...]
    abstention: tuple[AbstentionRow, ...]
    test_curves: dict[str, CurveFile]


def calibration_path(checkpoint: Path) -> Path:
    """Where the calibration of a checkpoint lies, if it has one.

    Args:
        checkpoint: The file.
    """
    return checkpoint.with_name(checkpoint.stem + SUFFIX)


def weights_of(network: AnyNetwork) -> str:
    """A fingerprint of all weights of a network.

    Args:
        network: Any.
    """
    return fingerprint(network.trainable_state()) + network.fingerprint


def write_calibration(path: Path, content: CalibrationFile) -> None:
    """Writes it, atomically.

    Args:
        path: Of ``calibration_path``.
        content: What to write.
    """
    write_sealed_json(path, content)


def read_calibration(path: Path) -> CalibrationFile:
    """Reads what ``write_calibration`` wrote.

    Args:
        path: The file.

    Raises:
        MamolError: It cannot be read, was damaged, or is something else.
    """
    content = read_sealed_json(path, AGAIN)
    try:
        if content.get("format") != FORMAT:
            raise ValueError(f"format is {shown(content.get('format'))}, expected {FORMAT}")
        found: CalibrationFile = fitted(content, CalibrationFile, "calibration")
        for name, one in {"common": found["common"], **found["patterns"]}.items():
            _check(one, name, 0 if found["coverage"] is None else len(found["classes"]))
    except ValueError as error:
        raise MamolError(f"{path}: {error}; {AGAIN}") from error
    return found


def _check(one: PatternFile, name: str, classes: int) -> None:
    """Refuses parts whose lengths do not fit.

    Raises:
        ValueError: Naming the place.
    """
    curve = one["curve"]
    if len({len(curve["confidence"]), len(curve["share"]), len(curve["risk"])}) > 1:
        raise ValueError(f"{name}.curve has lists of different lengths")
    if len(one["least"]) != classes or len(one["guaranteed"]) != classes:
        raise ValueError(
            f"{name}.least and {name}.guaranteed have {len(one['least'])} and {len(one['guaranteed'])} "
            f"values, expected {classes}"
        )


def calibration_of(network: AnyNetwork, settings: Settings) -> Calibration:
    """The calibration that lies beside ``load_path``.

    Args:
        network: With the weights of that checkpoint.
        settings: ``load_path`` and ``calibrated``.

    Returns:
        It; ``AS_IS`` where there is none, or with ``calibrated=False``.

    Raises:
        MamolError: It is damaged, or belongs to other weights.
    """
    path = calibration_path(checkpoint_file(settings.run.load_path))
    if not settings.calibrate.calibrated or not path.is_file():
        return AS_IS
    content = read_calibration(path)
    if content["fingerprint"] != weights_of(network) or content["modalities"] != network.spec.names:
        raise MamolError(f"{path}: belongs to a checkpoint with other weights; {AGAIN}")
    patterns = {name: _used(one) for name, one in content["patterns"].items()}
    return ByPattern(
        content["modalities"], _used(content["common"]), patterns, content["coverage"], verify(path, AGAIN)
    )


def _used(one: PatternFile) -> PatternCalibration:
    curve: Any = one["curve"]
    return PatternCalibration(one["temperature"], one["least"], Curve(**curve))
