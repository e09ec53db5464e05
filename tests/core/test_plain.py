"""Plain values fitted to types: what is refused is named with its place."""

from typing import Annotated, Any, TypedDict

import pytest

from mamol.core.options import choice
from mamol.core.plain import Size, Spread, fitted


class Box(TypedDict):
    sides: tuple[Size, Size]
    note: str


@pytest.mark.parametrize(
    ("value", "kind", "found"),
    [
        ([1, 2], tuple[int, ...], (1, 2)),
        ([["b", 1], ["a", 2]], dict[str, int], {"b": 1, "a": 2}),
        (None, float | None, None),
        (3, float | None, 3),
        (True, str | bool, True),
        ({"sides": [1, 2], "note": ""}, Box, {"sides": (1, 2), "note": ""}),
        ({"a": [object]}, Any, {"a": [object]}),
    ],
)
def test_what_fits(value: object, kind: Any, found: object) -> None:
    assert fitted(value, kind, "x") == found


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "x is true, expected a whole number of at least 0"),
        (-1, int, "x is -1, expected a whole number of at least 0"),
        (1.0, int, "x is 1.0, expected a whole number"),
        (10**400, int, "x is a number of more than 30 digits, expected a whole number"),
        (0, Size, "x is 0, expected a whole number of at least 1"),
        (float("nan"), float, "x is nan, expected a finite number"),
        (0.0, Spread, "x is 0.0, expected a number above 0"),
        ("b", Annotated[str, choice("a")], "x is 'b', expected one of a"),
        ([1, "2"], tuple[int, ...], r"x\[1\] is '2', expected a whole number"),
        ([1], tuple[int, int], r"x is \[1\], expected a list of 2"),
        ([["a", 1], ["a", 2]], dict[str, int], "expected every key once"),
        ({"a": {"b": None}}, dict[str, dict[str, str]], "x.a.b is null, expected a text"),
        ({"note": ""}, Box, "expected an object with sides"),
        ("y" * 100, dict[str, int], r"x is 'y{56}\.\.\., expected an object"),
    ],
)
def test_what_does_not(value: object, kind: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(value, kind, "x")
