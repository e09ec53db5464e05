"""Metadata of which one value is of another type, in files that are whole and sealed: what a faulty program writes."""

import copy
from collections.abc import Iterator
from math import nan
from typing import Any

VALUES: dict[str, Any] = {
    "number": 7,
    "fraction": 0.5,
    "text": "x",
    "null": None,
    "flag": True,
    "list": [],
    "object": {},
    "huge": 10**400,
    "large": 1e308,
    "negative": -3,
    "nan": nan,
}
Place = tuple[str | int, ...]


def places(content: Any, here: Place = ()) -> Iterator[Place]:
    """Where values stand: the whole, every key of dictionaries, of those of one type two, of lists the first element.

    Args:
        content: Plain values.
        here: Where it stands itself.
    """
    yield here
    inner = list(content.items() if isinstance(content, dict) else enumerate(content))
    if isinstance(content, list):
        inner = inner[:1]
    elif len({type(value) for _, value in inner}) == 1:
        inner = inner[:2]
    for key, value in inner:
        if isinstance(value, (dict, list)):
            yield from places(value, (*here, key))
        else:
            yield (*here, key)


def tampered(content: Any) -> Iterator[tuple[str, Any, bool]]:
    """Copies of plain values with another value at one place.

    Args:
        content: Plain values.

    Yields:
        What was done, the copy, and whether the value is of another type than what stood there, or no such number.
    """
    for place in places(content):
        for name, value in VALUES.items():
            changed = copy.deepcopy(content)
            if not place:
                yield f"the whole is {name}", value, type(value) is not type(content)
                continue
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            before, inner[place[-1]] = inner[place[-1]], value
            yield f"{'.'.join(map(str, place))} is {name}", changed, _another_type(before, name)


def _another_type(before: object, name: str) -> bool:
    """What is None may be anything, and a number another number."""
    if before is None:
        return False
    if type(before) in (int, float) and name in ("number", "fraction", "large", "negative"):
        return False
    return type(VALUES[name]) is not type(before) or name in ("huge", "nan")
