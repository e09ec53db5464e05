"""What an option may be, in words and as a check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from mamol.core.names import SPLITS, canonical, canonical_all
from mamol.core.registry import Registry

MOST = 2**63
"""What libraries count with; JSON and YAML have numbers of any length."""


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

    def told(self) -> str:
        """The words of the error message."""
        return self.text


def option(default: object, allowed: Allowed, meaning: str, *, decides: bool = True) -> Any:  # noqa: ANN401
    """A field of a group of settings; typed as ``dataclasses.field`` is.

    Args:
        default: As a user would write it.
        allowed: What it may be.
        meaning: One line for ``print_config`` and help.
        decides: Whether it decides the result of a run; paths, the machine and what is shown do not.
    """
    metadata = {"default": default, "allowed": allowed, "meaning": meaning, "decides": decides}
    return field(default_factory=lambda: allowed.convert(default), metadata=metadata)


def _is_number(value: object) -> bool:
    return (isinstance(value, float) or _is_integer(value)) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < MOST


def integer(least: int) -> Allowed:
    """A whole number.

    Args:
        least: The smallest that is allowed.
    """
    return Allowed(f"a whole number of at least {least}", lambda v: _is_integer(v) and v >= least)


def counts(least: int) -> Allowed:
    """A list of whole numbers.

    Args:
        least: The smallest that is allowed.
    """
    return Allowed(
        f"a list of whole numbers of at least {least}",
        lambda v: isinstance(v, list | tuple) and len(v) > 0 and all(_is_integer(n) and n >= least for n in v),
        tuple,
    )


def number(text: str, accepts: Callable[[float], bool]) -> Allowed:
    """A real number.

    Args:
        text: Which, in words.
        accepts: Which.
    """
    return Allowed(text, lambda v: _is_number(v) and accepts(v), float)


def choice(*values: object) -> Allowed:
    """One of some values.

    Args:
        values: Those.
    """
    text = ", ".join(str(value) or "nothing" for value in values)
    return Allowed(f"one of {text}", lambda v: not isinstance(v, bool) and v in values)


class Registered(Allowed):
    """A name in a registry, looked up when it is asked for: what registers later is known, too."""

    def __init__(self, registry: Registry[Any]) -> None:
        """Takes the registry."""
        super().__init__(f"a {registry.what}", lambda v: isinstance(v, str) and v in registry)
        object.__setattr__(self, "registry", registry)

    registry: Registry[Any]

    def told(self) -> str:
        """The names that there are now, and how others come in."""
        return f"one of {', '.join(self.registry)}; plugins=<file> registers others"


def optional(inner: Allowed) -> Allowed:
    """None, or something else.

    Args:
        inner: What else.
    """
    return Allowed(
        f"None or {inner.text}",
        lambda v: v is None or inner.accepts(v),
        lambda v: None if v is None else inner.convert(v),
    )


def either(first: str, other: Allowed) -> Allowed:
    """A word, or something else.

    Args:
        first: The word.
        other: What else.
    """
    return Allowed(
        f"{first} or {other.text}",
        lambda v: v == first or other.accepts(v),
        lambda v: v if v == first else other.convert(v),
    )


def per_split(inner: Allowed) -> Allowed:
    """One value for all splits, or a dictionary with train, val and test.

    Args:
        inner: What a value may be.
    """

    def accepts(value: object) -> bool:
        if isinstance(value, Mapping):
            return set(value) == set(SPLITS) and all(inner.accepts(v) for v in value.values())
        return inner.accepts(value)

    def convert(value: object) -> dict[str, Any]:
        values = value if isinstance(value, Mapping) else dict.fromkeys(SPLITS, value)
        return {split: inner.convert(values[split]) for split in SPLITS}

    return Allowed(f"{inner.text}, or a dictionary of train, val and test", accepts, convert)


def listed(value: str | Sequence[str]) -> list[str]:
    """The names in ``hsi,lidar`` or ``[hsi,lidar]`` as the shell hands it over, or in a list.

    Args:
        value: What the user gave.
    """
    if not isinstance(value, str):
        return list(value)
    return [name.strip() for name in value.strip("[]").split(",") if value.strip("[]")]


def words(text: str, accepts: Callable[[str], bool], convert: Callable[[list[str]], Any]) -> Allowed:
    """Words with commas between them.

    Args:
        text: Which, in words.
        accepts: Whether a word is allowed.
        convert: From all of them.
    """
    return Allowed(
        text,
        lambda v: (
            isinstance(v, str | list | tuple) and all(isinstance(n, str) and n != "" and accepts(n) for n in listed(v))
        ),
        lambda v: convert(listed(v)),
    )


TEXT = Allowed("a text without NUL", lambda v: isinstance(v, str) and "\0" not in v)
NAME = Allowed("a name without / and spaces", lambda v: isinstance(v, str) and v != "" and not set(v) & set("/\\ \0"))
SEED = Allowed("a whole number from 0 to 4294967295", lambda v: _is_integer(v) and 0 <= v < 2**32)
"""What all libraries take."""
FLAG = Allowed("True or False", lambda v: isinstance(v, bool))
RATE = number("a number from 0 to 1", lambda v: 0 <= v <= 1)
SHARE = number("a number above 0 and below 1", lambda v: 0 < v < 1)
POSITIVE = number("a number above 0", lambda v: v > 0)
FINITE = number("a finite number", isfinite)
NOT_NEGATIVE = number("a number of at least 0", lambda v: v >= 0)
KIND = Allowed(
    "a modality name, several different ones joined by +, both or all",
    lambda v: isinstance(v, str) and v != "" and all(v.split("+")),
    lambda v: v if v in ("both", "all") else "+".join(canonical_all(v.split("+"))),
)
NAMES = words(
    "modality names, such as hsi,lidar", lambda word: True, lambda names: canonical_all(names) if names else ()
)
PATTERNS = words(
    "patterns of present modalities, such as hsi,hsi+lidar",
    lambda word: all(word.split("+")),
    lambda given: tuple(dict.fromkeys("+".join(canonical_all(each.split("+"))) for each in given)),
)
WORDS = words("names with commas between them", lambda word: True, tuple)
FILES = words("paths of .py files with commas between them", lambda word: True, tuple)
RATES = Allowed(
    "None or a dictionary of modality and rate from 0 to 1",
    lambda v: v is None or (isinstance(v, Mapping) and all(RATE.accepts(rate) for rate in v.values())),
    lambda v: {canonical(name): float(rate) for name, rate in (v or {}).items()},
)
BLOCKS = Allowed(
    "first<n>, last<n> or a list of block numbers",
    lambda v: (
        (isinstance(v, str) and any(v.startswith(w) and v[len(w) :].isdecimal() for w in ("first", "last")))
        or (isinstance(v, list | tuple) and len(v) > 0 and all(_is_integer(b) and b >= 0 for b in v))
    ),
    lambda v: v if isinstance(v, str) else tuple(sorted(set(v))),
)
TRAINED = Allowed(
    "False, True or last<n>",
    lambda v: isinstance(v, bool) or (isinstance(v, str) and v.startswith("last") and v[4:].isdecimal()),
)
COUNTS = counts(1)
RATIOS = Allowed(
    "rates from 0 to 1, such as 0,0.5",
    lambda v: all(map(RATE.accepts, v)) and len(v) > 0 if isinstance(v, list | tuple) else RATE.accepts(v),
    lambda v: tuple(dict.fromkeys(map(float, v))) if isinstance(v, list | tuple) else (float(v),),
)
KINDS = words(
    "missing types, such as hsi,hsi+lidar,both",
    KIND.accepts,
    lambda kinds: tuple(dict.fromkeys(map(KIND.convert, kinds))),
)
BOX = Allowed(
    "four numbers, left,bottom,right,top",
    lambda v: (
        v == "" or (isinstance(v, list | tuple) and len(v) in (0, 4) and all(_is_number(x) and isfinite(x) for x in v))
    ),
    lambda v: tuple(map(float, v)),
)
DICTIONARY = Allowed("a dictionary", lambda v: isinstance(v, Mapping), dict)
CLASS = Allowed("a class name, or its number from 1", lambda v: isinstance(v, str) or (_is_integer(v) and v >= 1))
INTERVAL = Allowed(
    "a share of an epoch from 0 to 1, or a whole number of epochs",
    lambda v: _is_number(v) and v > 0 and (v <= 1 or float(v).is_integer()),
    float,
)


def like(default: object) -> Allowed:
    """What an option may be of which only the default is known, as of a plugin's: of the same type.

    Args:
        default: Its default; None allows anything.
    """
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, int):
        return Allowed("a whole number", _is_integer)
    if isinstance(default, float):
        return Allowed("a number", _is_number, float)
    if isinstance(default, str):
        return TEXT
    return Allowed("any value", lambda v: True)
