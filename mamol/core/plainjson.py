"""JSON as people write it: what would be taken silently, or end in a traceback later, is refused."""

import json
from typing import Any

DEEPEST = 32
"""Levels of lists and objects; nothing that is read here has more than five."""


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - JSON is any nesting of plain values
    """What a text means.

    Args:
        text: JSON in UTF-8.

    Raises:
        ValueError: If it is no JSON, names a key twice, is nested too deep, or holds halves of letters (surrogates).
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        content = None
        level: list[Any] = [None]
    else:
        level = [content]
        for _ in range(DEEPEST):
            level = [part for each in level for part in _parts(each)]
    if level:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return content


def _parts(value: Any) -> list[Any]:  # noqa: ANN401 - as above
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"it holds half a letter, {value[error.start]!r}") from error
    return value if isinstance(value, list) else []
