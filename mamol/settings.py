"""The Sacred dictionary becomes one frozen object, once; every problem is reported together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import isfinite
from typing import Any

from mamol.data.imagetext.registry import find as image_text_dataset
from mamol.data.modalities import canonical
from mamol.data.splits import PROTOCOLS
from mamol.errors import MamolError
from mamol.launch import LAUNCHERS
from mamol.methods import METHODS
from mamol.models.clip import ACTIVATIONS
from mamol.models.fusion import FUSIONS
from mamol.reproduce.tables import TABLES

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Allowed:
    """What an option may be.

    Attributes:
        text: The words of the error message, as in "must be <text>".
        accepts: Whether a value is allowed.
        convert: Turns an allowed value into the one that the program uses.
    """

    text: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(least: int) -> Allowed:
    return Allowed(f"a whole number of at least {least}", lambda v: _is_integer(v) and v >= least)


def _number(text: str, accepts: Callable[[float], bool]) -> Allowed:
    return Allowed(text, lambda v: _is_number(v) and accepts(v), float)


def _choice(*values: object) -> Allowed:
    return Allowed("one of " + ", ".join(map(str, values)), lambda v: not isinstance(v, bool) and v in values)


def _optional(inner: Allowed) -> Allowed:
    return Allowed(
        f"None or {inner.text}",
        lambda v: v is None or inner.accepts(v),
        lambda v: None if v is None else inner.convert(v),
    )


def _either(first: str, other: Allowed) -> Allowed:
    return Allowed(f"{first} or {other.text}", lambda v: v == first or other.accepts(v))


def _per_split(inner: Allowed) -> Allowed:
    """One value for all splits, or a dictionary with train, val and test."""

    def accepts(value: object) -> bool:
        if isinstance(value, Mapping):
            return set(value) == set(SPLITS) and all(inner.accepts(v) for v in value.values())
        return inner.accepts(value)

    def convert(value: object) -> dict[str, Any]:
        values = value if isinstance(value, Mapping) else dict.fromkeys(SPLITS, value)
        return {split: inner.convert(values[split]) for split in SPLITS}

    return Allowed(f"{inner.text}, or a dictionary of train, val and test", accepts, convert)


def _listed(value: str | Sequence[str]) -> list[str]:
    """The names in ``hsi,lidar`` or ``[hsi,lidar]`` as the shell hands it over, or in a list."""
    return (
        [n.strip() for n in value.strip("[]").split(",") if value.strip("[]")]
        if isinstance(value, str)
        else list(value)
    )


_TEXT = Allowed("a text", lambda v: isinstance(v, str))
_NAME = Allowed("a name without / and spaces", lambda v: isinstance(v, str) and v != "" and not set(v) & set("/\\ "))
_FLAG = Allowed("True or False", lambda v: isinstance(v, bool))
_RATE = _number("a number from 0 to 1", lambda v: 0 <= v <= 1)
_POSITIVE = _number("a number above 0", lambda v: v > 0)
_FINITE = _number("a finite number", isfinite)
_NOT_NEGATIVE = _number("a number of at least 0", lambda v: v >= 0)
_KIND = Allowed(
    "a modality name, several joined by +, both or all",
    lambda v: isinstance(v, str) and v != "" and all(v.split("+")),
    lambda v: v if v in ("both", "all") else "+".join(canonical(name) for name in v.split("+")),
)
_NAMES = Allowed(
    "modality names, such as hsi,lidar",
    lambda v: isinstance(v, str | list | tuple) and all(isinstance(n, str) and n for n in _listed(v)),
    lambda v: tuple(canonical(name) for name in _listed(v)),
)
_WORDS = Allowed(
    "names with commas between them",
    lambda v: isinstance(v, str | list | tuple) and all(isinstance(n, str) and n for n in _listed(v)),
    lambda v: tuple(_listed(v)),
)
_PROTOCOLS = Allowed(
    f"some of {', '.join(PROTOCOLS)}", lambda v: _WORDS.accepts(v) and set(_listed(v)) <= set(PROTOCOLS), _WORDS.convert
)
_RATES = Allowed(
    "None or a dictionary of modality and rate from 0 to 1",
    lambda v: v is None or (isinstance(v, Mapping) and all(_RATE.accepts(rate) for rate in v.values())),
    lambda v: {canonical(name): float(rate) for name, rate in (v or {}).items()},
)
_BLOCKS = Allowed(
    "first<n>, last<n> or a list of block numbers",
    lambda v: (
        (isinstance(v, str) and any(v.startswith(w) and v[len(w) :].isdecimal() for w in ("first", "last")))
        or (isinstance(v, list | tuple) and len(v) > 0 and all(_is_integer(b) and b >= 0 for b in v))
    ),
    lambda v: v if isinstance(v, str) else tuple(sorted(set(v))),
)
_RATIOS = Allowed(
    "rates from 0 to 1, such as 0,0.5",
    lambda v: all(map(_RATE.accepts, v)) and len(v) > 0 if isinstance(v, list | tuple) else _RATE.accepts(v),
    lambda v: tuple(dict.fromkeys(map(float, v))) if isinstance(v, list | tuple) else (float(v),),
)
_KINDS = Allowed(
    "missing types, such as hsi,hsi+lidar,both",
    lambda v: isinstance(v, str | list | tuple) and all(map(_KIND.accepts, _listed(v))),
    lambda v: tuple(dict.fromkeys(map(_KIND.convert, _listed(v)))),
)
_DATASET = Allowed(_TEXT.text, _TEXT.accepts, lambda v: facts.name if (facts := image_text_dataset(v)) else v)
_DICTIONARY = Allowed("a dictionary", lambda v: isinstance(v, Mapping), dict)
_CLASS = Allowed("a class name, or its number from 1", lambda v: isinstance(v, str) or (_is_integer(v) and v >= 1))
_INTERVAL = Allowed(
    "a share of an epoch from 0 to 1, or a whole number of epochs",
    lambda v: _is_number(v) and v > 0 and (v <= 1 or float(v).is_integer()),
    float,
)


def option(allowed: Allowed) -> Any:  # noqa: ANN401 - dataclasses.field is typed so, too
    """A field of ``Settings`` with what it may be; the default and the meaning stand in config.py."""
    return field(metadata={"allowed": allowed})


@dataclass(frozen=True)
class Settings:
    """All options of a run, checked. Meaning and defaults: config.py, key by key."""

    exp_name: str = option(_NAME)
    log_dir: str = option(_TEXT)
    seed: int = option(_integer(0))
    data_root: str = option(_TEXT)
    dataset: str = option(_DATASET)
    modalities: tuple[str, ...] = option(_NAMES)
    load_path: str = option(_TEXT)
    resume_from: str = option(_TEXT)
    test_only: bool = option(_FLAG)

    method: str = option(_choice(*METHODS))
    backbone: str = option(_TEXT)
    clip_weights: str = option(_TEXT)
    activation: str = option(_choice(*ACTIVATIONS))
    fusion: str = option(_choice(*FUSIONS))
    image_size: int | None = option(_optional(_integer(1)))
    normalise: bool = option(_FLAG)
    rank: int = option(_integer(1))
    experts_dynamic: int = option(_integer(1))
    top_k: int | None = option(_optional(_integer(1)))
    expert_blocks: str | tuple[int, ...] = option(_BLOCKS)
    dynamic_experts: bool = option(_FLAG)
    shared_expert: bool = option(_FLAG)
    modality_experts: bool = option(_FLAG)
    router_input: str = option(_choice("both", "features", "pattern"))
    gate_renormalise: bool = option(_FLAG)
    balance_weight: float | None = option(_optional(_NOT_NEGATIVE))
    prompt_length: int | None = option(_optional(_integer(1)))
    prompt_depth: int = option(_integer(1))
    prompt_type: str = option(_choice("input", "attention"))
    moe_task_form: str = option(_choice("eq9", "moelora"))
    adapter_scale: float = option(_FINITE)
    train_end: bool = option(_FLAG)

    missing_ratio: dict[str, float] = option(_per_split(_RATE))
    missing_type: dict[str, str] = option(_per_split(_KIND))
    availability: dict[str, float] = option(_RATES)
    availability_reading: str = option(_choice("independent", "overall"))
    resample_missing: bool = option(_FLAG)
    missing_fill: float = option(_FINITE)
    test_ratio: float | None = option(_optional(_RATE))
    test_type: str | None = option(_optional(_KIND))

    optim_type: str = option(_choice("adamw", "adam", "sgd"))
    learning_rate: float = option(_POSITIVE)
    weight_decay: float = option(_NOT_NEGATIVE)
    warmup_steps: float = option(_NOT_NEGATIVE)
    max_epoch: int = option(_integer(1))
    max_steps: int | None = option(_optional(_integer(1)))
    batch_size: int = option(_integer(1))
    per_gpu_batchsize: int = option(_integer(1))
    gradient_clip: float = option(_NOT_NEGATIVE)
    val_check_interval: float = option(_INTERVAL)
    limit_batches: int | None = option(_optional(_integer(1)))

    num_gpus: int | str = option(_either("auto", _integer(0)))
    num_nodes: int = option(_integer(1))
    cpu_processes: int = option(_integer(1))
    num_workers: int = option(_integer(0))
    precision: str | int = option(_choice("auto", 32, "32", "bf16-mixed", "16-mixed"))
    progress_bar: bool = option(_FLAG)

    scene: str = option(_TEXT)
    present: str = option(_TEXT)

    evaluate_ratios: tuple[float, ...] = option(_RATIOS)
    evaluate_types: tuple[str, ...] = option(_KINDS)
    routing_class: str | int = option(_CLASS)

    reproduce: str = option(_choice("", *TABLES))
    datasets: tuple[str, ...] = option(_WORDS)
    methods: tuple[str, ...] = option(_WORDS)
    rates: tuple[float, ...] | None = option(_optional(_RATIOS))
    protocols: tuple[str, ...] = option(_PROTOCOLS)
    seeds: int = option(_integer(1))
    dry_run: bool = option(_FLAG)
    launcher: str = option(_choice(*LAUNCHERS))
    jobs: int = option(_integer(1))
    slurm: dict[str, Any] | None = option(_optional(_DICTIONARY))

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Settings":
        """Checks a Sacred configuration.

        Args:
            config: Key to value, as Sacred resolved it.

        Returns:
            The frozen settings.

        Raises:
            MamolError: One line that lists every unknown key and every value that is not allowed.
        """
        known = {f.name: f for f in fields(cls)}
        problems = [_unknown(key, known) for key in config if key not in known]
        problems += [f"{key} is not set" for key in known if key not in config]
        values = {}
        for key, spec in known.items():
            if key in config:
                allowed: Allowed = spec.metadata["allowed"]
                if not allowed.accepts(config[key]):
                    problems.append(f"{key}={config[key]!r} must be {allowed.text}")
                    continue
                try:
                    values[key] = allowed.convert(config[key])
                except MamolError as error:
                    problems.append(f"{key}: {error}")
        if not problems:
            problems = _resolve_method(values) + _disagreements(values)
        if problems:
            raise MamolError("; ".join(problems) + " (every option: python run.py print_config)")
        return cls(**values)

    def missing(self, split: str) -> tuple[float, str]:
        """Missing rate and type of a split; ``test_ratio`` and ``test_type`` override those of test only."""
        ratio, kind = self.missing_ratio[split], self.missing_type[split]
        if split == "test":
            ratio = ratio if self.test_ratio is None else self.test_ratio
            kind = kind if self.test_type is None else self.test_type
        return ratio, kind


def _unknown(key: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"unknown option {key}" + (f", did you mean {close[0]}?" if close else "")


def _resolve_method(values: dict[str, Any]) -> list[str]:
    """Sets the method's own defaults where an option is None; what is wrong with its options."""
    try:
        values |= METHODS[values["method"]].resolve(values)
    except MamolError as error:
        return [str(error)]
    return []


def _disagreements(values: Mapping[str, Any]) -> list[str]:
    problems = []
    if (values["top_k"] or 1) > values["experts_dynamic"]:
        problems.append(f"top_k={values['top_k']} must be at most experts_dynamic={values['experts_dynamic']}")
    if not (values["dynamic_experts"] or values["shared_expert"] or values["modality_experts"]):
        problems.append("no expert is left: use method=baseline")
    if values["test_only"] and not values["load_path"]:
        problems.append("test_only=True needs load_path=<checkpoint>")
    if values["resume_from"] and (values["load_path"] or values["test_only"]):
        problems.append("resume_from goes on with an interrupted run: leave out load_path and test_only")
    return problems
