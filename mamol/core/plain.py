"""Plain values of a file, as JSON has them, fitted to the types that a program expects; any other is refused by name.

A type is what a dataclass is annotated with: ``str``, ``int`` (from 0, as what files count), ``float`` (finite),
``bool``, ``None`` or another, ``tuple`` and ``list``, ``dict[str, …]``, a ``TypedDict`` or dataclass that dictionaries
have the keys of, and ``Annotated[…]`` with what else is asked: an ``Allowed``, or another type.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from mamol.core.options import POSITIVE, Allowed, integer

LARGEST = 2**53
"""The whole numbers of JSON that every reader has exactly."""
Size = Annotated[int, integer(1)]
Spread = Annotated[float, POSITIVE]


def fitted(value: object, kind: Any, name: str) -> Any:  # noqa: ANN401 - a type, and a value of it
    """A value as a type has it.

    Args:
        value: Any nesting of plain values.
        kind: The type. ``Any`` takes everything.
        name: What the value is called, for messages.

    Returns:
        The value; lists in place of tuples become tuples, and pairs in a list become a dictionary.

    Raises:
        ValueError: It is something else, with the place of what is wrong.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        found = fitted(value, inner[0], name)
        for more in inner[1:]:
            if isinstance(more, Allowed):
                _need(more.accepts(found), value, more.told(), name)
            else:
                fitted(value, more, name)
        return found
    if origin is NotRequired:
        return fitted(value, inner[0], name)
    if origin in (Union, UnionType):
        return value if _has_type(value, inner) else fitted(value, _other_than_none(inner), name)
    if origin in (tuple, list):
        return _sequence(value, origin, inner, name)
    if origin is dict:
        return _dictionary(value, inner[1], name)
    if is_typeddict(kind) or is_dataclass(kind):
        return _record(value, kind, name)
    text, fits = SIMPLE[kind]
    _need(fits(value), value, text, name)
    return value


def record(content: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Those of some values that a dataclass has fields for, fitted to their types.

    Args:
        content: Field to value; others are left as they are.
        kind: The dataclass.

    Raises:
        ValueError: One is something else.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {name: fitted(value, hints[name], name) if name in hints else value for name, value in content.items()}


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _real(value: object) -> bool:
    return (type(value) is int and abs(value) < LARGEST) or (type(value) is float and isfinite(value))


SIMPLE: dict[Any, tuple[str, Callable[[object], bool]]] = {
    str: ("a text", lambda value: type(value) is str),
    int: ("a whole number of at least 0", _whole),
    float: ("a finite number", _real),
    bool: ("true or false", lambda value: type(value) is bool),
    NoneType: ("null", lambda value: value is None),
}


def _need(fits: bool, value: object, text: str, name: str) -> None:
    if not fits:
        raise ValueError(f"{name} is {shown(value)}, expected {text}")


def shown(value: object) -> str:
    """A value in a message: JSON's words, and not all of a long one.

    Args:
        value: Of JSON.
    """
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _has_type(value: object, kinds: tuple[Any, ...]) -> bool:
    return any(kind in SIMPLE and SIMPLE[kind][1](value) for kind in kinds)


def _other_than_none(kinds: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a type
    return next(kind for kind in kinds if kind is not NoneType)


def _sequence(value: object, kind: type, inner: tuple[Any, ...], name: str) -> Any:  # noqa: ANN401
    _need(isinstance(value, (list, tuple)), value, "a list", name)
    parts: Any = value
    if len(inner) > 1 and inner[1] is not Ellipsis:
        _need(len(parts) == len(inner), value, f"a list of {len(inner)}", name)
        return kind(fitted(part, each, f"{name}[{i}]") for i, (part, each) in enumerate(zip(parts, inner, strict=True)))
    return kind(fitted(part, inner[0], f"{name}[{i}]") for i, part in enumerate(parts))


def _dictionary(value: object, kind: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    pairs: Any = value
    if isinstance(value, list) and value:
        pairs = dict(fitted(pair, tuple[str, Any], f"{name}[{i}]") for i, pair in enumerate(value))
        _need(len(pairs) == len(value), value, "every key once", name)
    _need(isinstance(pairs, dict), value, "an object", name)
    return {key: fitted(each, kind, f"{name}.{key}") for key, each in pairs.items()}


def _record(value: object, kind: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    _need(isinstance(value, dict), value, "an object", name)
    content: Any = value
    needed = (
        {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
        if is_dataclass(kind)
        else kind.__required_keys__
    )
    absent = sorted(needed - content.keys())
    _need(not absent, value, f"an object with {', '.join(absent)}", name)
    hints = get_type_hints(kind, include_extras=True)
    return {key: fitted(each, hints.get(key, Any), f"{name}.{key}") for key, each in content.items()}
