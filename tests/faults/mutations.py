"""Seeded mutations of files: flips, cuts, swaps and splices. The same content, count and seed give the same."""

import random
from collections.abc import Callable, Iterator

LONGEST = 64
"""Most bytes that are swapped or spliced at once; a file is larger, its fields are smaller."""


def mutations(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Changed copies of a file, each other than the file.

    The kinds take turns. Half of all places lie in the first 256 bytes, where most formats have their headers.

    Args:
        content: Of the file; not empty.
        count: How many.
        seed: Of all draws.

    Yields:
        What was done and where, for messages, and the changed content.
    """
    if len(content) < 2 or content == content[:1] * len(content):
        raise ValueError("mutations need a content of two different bytes at least")
    draws = random.Random(seed)
    kinds = tuple(KINDS.items())
    for number in range(count):
        name, change = kinds[number % len(kinds)]
        changed, told = content, ""
        while changed == content:
            told, changed = change(content, draws)
        yield f"{number}: {name} {told}", changed


def _place(content: bytes, draws: random.Random) -> int:
    end = len(content) if draws.random() < 0.5 else min(256, len(content))
    return draws.randrange(end)


def _flip(content: bytes, draws: random.Random) -> tuple[str, bytes]:
    """One bit."""
    at, bit = _place(content, draws), draws.randrange(8)
    return f"bit {bit} at {at}", content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def _replace(content: bytes, draws: random.Random) -> tuple[str, bytes]:
    """One byte, by one of those that break sizes: 0, the largest, the signs, or any."""
    at, byte = _place(content, draws), draws.choice([0, 1, 0x7F, 0x80, 0xFF, draws.randrange(256)])
    return f"byte {byte} at {at}", content[:at] + bytes([byte]) + content[at + 1 :]


def _cut(content: bytes, draws: random.Random) -> tuple[str, bytes]:
    """The end."""
    at = _place(content, draws)
    return f"at {at}", content[:at]


def _swap(content: bytes, draws: random.Random) -> tuple[str, bytes]:
    """Two stretches of one length."""
    length = draws.randint(1, min(LONGEST, len(content) // 2))
    first = min(_place(content, draws), len(content) - 2 * length)
    second = draws.randint(first + length, len(content) - length)
    one, other = content[first : first + length], content[second : second + length]
    between = content[first + length : second]
    return f"{first} and {second}, {length} bytes", (
        content[:first] + other + between + one + content[second + length :]
    )


def _splice(content: bytes, draws: random.Random) -> tuple[str, bytes]:
    """A stretch taken out and put in elsewhere, or doubled: what follows moves."""
    length = draws.randint(1, min(LONGEST, len(content) - 1))
    start, at = draws.randint(0, len(content) - length), _place(content, draws)
    piece, doubled = content[start : start + length], draws.random() < 0.5
    rest = content if doubled else content[:start] + content[start + length :]
    at = min(at, len(rest))
    return f"{start} to {at}, {length} bytes{', doubled' * doubled}", rest[:at] + piece + rest[at:]


KINDS: dict[str, Callable[[bytes, random.Random], tuple[str, bytes]]] = {
    "flip": _flip,
    "replace": _replace,
    "cut": _cut,
    "swap": _swap,
    "splice": _splice,
}
