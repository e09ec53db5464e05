"""All options together: nested frozen dataclasses, made and checked from flat names; problems are told at once.

``Settings()`` is the paper's setting. ``Settings.of({"rank": 4})`` is what command lines use: flat names, checked, with
the method's own defaults where an option is None.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from mamol.core import options as o
from mamol.core.command_groups import (
    CalibrateSettings,
    EvaluateSettings,
    ExportSettings,
    PredictSettings,
    PretrainSettings,
    PruneSettings,
    ReportSettings,
    ReproduceSettings,
)
from mamol.core.errors import MamolError
from mamol.core.groups import (
    DataSettings,
    MachineSettings,
    MethodSettings,
    MissingSettings,
    NetworkSettings,
    RunSettings,
    TrainingSettings,
)
from mamol.core.method import METHODS
from mamol.core.network import NETWORKS
from mamol.core.options import Allowed
from mamol.core.plain import shown

logger = logging.getLogger(__name__)

RETIRED = {"missing_fill": "absent windows are never read, so what they hold has no effect"}
"""Options of earlier versions: accepted, without effect, with one warning."""

CHOSEN_PARTS = ("method", "fusion", "head")
"""Refused of a network without them. Others, such as ``backbone``, say where frozen weights are, and are ignored."""


@dataclass(frozen=True)
class Settings:
    """All options of a run, in groups; every option also has a flat name of its own."""

    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    method: MethodSettings = field(default_factory=MethodSettings)
    missing: MissingSettings = field(default_factory=MissingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    calibrate: CalibrateSettings = field(default_factory=CalibrateSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    prune: PruneSettings = field(default_factory=PruneSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    reproduce: ReproduceSettings = field(default_factory=ReproduceSettings)

    @classmethod
    def of(cls, flat: Mapping[str, Any]) -> "Settings":
        """Checks flat options.

        Args:
            flat: Option to value, as a user writes it; the defaults stand for what is not there.

        Returns:
            The settings, the method's own defaults in place of None.

        Raises:
            MamolError: One line that lists every unknown option and every value that is not allowed.
        """
        given = _without_retired(flat)
        extra = plugin_options()
        known = {name: spec.metadata["allowed"] for name, (_, spec) in OPTIONS.items()} | extra
        problems = [_unknown(key, known) for key in given if key not in known]
        values: dict[str, Any] = {}
        for key, allowed in known.items():
            if key in given:
                _convert(key, given[key], allowed, values, problems)
        if not problems:
            groups = {name: _group(name, values) for name in GROUPS}
            groups["method"]["extra"] = {key: values[key] for key in extra if key in values}
            settings = cls(**{name: GROUPS[name](**groups[name]) for name in GROUPS})
            problems = _disagreements(settings)
            if not problems:
                try:
                    return _resolved(settings, groups)
                except MamolError as error:
                    problems = [str(error)]
        raise MamolError("; ".join(problems) + " (every option: python run.py print_config)")

    def flat(self) -> dict[str, Any]:
        """Every option by its flat name, in the order of the groups."""
        values = {name: getattr(getattr(self, group), name) for name, (group, _) in OPTIONS.items()}
        return values | self.method.extra

    def decisive(self) -> dict[str, Any]:
        """The options that decide the result of a run, by their flat names."""
        values = self.flat()
        return {
            name: value for name, value in values.items() if name not in OPTIONS or OPTIONS[name][1].metadata["decides"]
        }

    def changed(self, **flat: Any) -> "Settings":  # noqa: ANN401 - of any option
        """The settings with some options changed, checked anew.

        Args:
            flat: Option to value.

        Raises:
            MamolError: As ``of``.
        """
        return Settings.of(self.flat() | flat)


GROUPS: dict[str, type] = {f.name: f.type for f in fields(Settings) if isinstance(f.type, type)}
"""Group of options to its dataclass."""
OPTIONS: dict[str, tuple[str, Field[Any]]] = {
    spec.name: (group, spec) for group, kind in GROUPS.items() for spec in fields(kind) if "allowed" in spec.metadata
}
"""Flat name of an option to its group and its field, whose metadata says default, what is allowed, and the meaning."""


def plugin_options() -> dict[str, Allowed]:
    """Options that registered methods read and the program does not have by itself, with what they may be."""
    found: dict[str, Allowed] = {}
    for entry in METHODS.values():
        for spec in fields(entry.settings):
            if spec.name in entry.options and spec.name not in OPTIONS:
                found[spec.name] = spec.metadata.get("allowed", o.like(spec.default))
    return found


def check_plain(kept: Mapping[str, Any]) -> None:
    """Checks options that a checkpoint kept; those of plugins that are not loaded are left as they are.

    Args:
        kept: Option to value.

    Raises:
        ValueError: A value is not allowed.
    """
    known = {name: spec.metadata["allowed"] for name, (_, spec) in OPTIONS.items()} | plugin_options()
    for name, value in kept.items():
        if name in known and not known[name].accepts(value):
            raise ValueError(f"{name} is {shown(value)}, expected {known[name].told()}")


def flat_defaults() -> Iterator[tuple[str, Any, str]]:
    """Flat name, default as a user would write it, and meaning of every option."""
    for name, (_, spec) in OPTIONS.items():
        yield name, spec.metadata["default"], spec.metadata["meaning"]


def _without_retired(flat: Mapping[str, Any]) -> dict[str, Any]:
    for name in RETIRED.keys() & flat.keys():
        _warn_of_retired(name)
    return {key: value for key, value in flat.items() if key not in RETIRED}


@cache
def _warn_of_retired(name: str) -> None:
    """Once per process."""
    logger.warning("%s is no longer an option and is left out: %s", name, RETIRED[name])


def _unknown(key: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"unknown option {key}" + (f", did you mean {close[0]}?" if close else "")


def _convert(key: str, value: object, allowed: Allowed, values: dict[str, Any], problems: list[str]) -> None:
    if not allowed.accepts(value):
        problems.append(f"{key}={value!r} must be {allowed.told()}")
        return
    try:
        values[key] = allowed.convert(value)
    except MamolError as error:
        text = str(error)
        problems.append(text if text.startswith(f"{key}:") else f"{key}: {text}")


def _group(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: values[f.name] for f in fields(GROUPS[name]) if f.name in values}


def _resolved(settings: Settings, groups: dict[str, dict[str, Any]]) -> Settings:
    """The settings with the method's own defaults where an option is None."""
    chosen = settings.method.chosen()
    own = {name: value for name, value in chosen.items() if name in OPTIONS}
    extra = settings.method.extra | {name: value for name, value in chosen.items() if name not in OPTIONS}
    method = MethodSettings(**{**groups["method"], **own, "extra": extra})
    return Settings(**{name: getattr(settings, name) for name in GROUPS if name != "method"}, method=method)


def _disagreements(settings: Settings) -> list[str]:
    problems, method, run = [], settings.method, settings.run
    if (method.top_k or 1) > method.experts_dynamic:
        problems.append(f"top_k={method.top_k} must be at most experts_dynamic={method.experts_dynamic}")
    if not (method.dynamic_experts or method.shared_expert or method.modality_experts):
        problems.append("no expert is left: use method=baseline")
    problems += _meaningless(settings)
    if run.test_only and not run.load_path:
        problems.append("test_only=True needs load_path=<checkpoint>")
    if run.resume_from and (run.load_path or run.test_only):
        problems.append("resume_from goes on with an interrupted run: leave out load_path and test_only")
    return problems


def _meaningless(settings: Settings) -> list[str]:
    """Choices of parts that the network does not have, so that nobody takes it for one that has them."""
    network, flat = settings.network.network, settings.flat()
    own = NETWORKS.find(network)
    readers = dict.fromkeys(CHOSEN_PARTS, "clip")
    readers |= {name: other for other, kind in NETWORKS.items() for name in kind.options}
    return [
        f"{name}={flat[name]}: network={network} has no {name} to choose; leave it out, or use network={reader}"
        for name, reader in readers.items()
        if name not in (*own.reads, *own.options) and flat[name] != OPTIONS[name][1].metadata["default"]
    ]
