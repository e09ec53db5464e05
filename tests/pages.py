"""What README and the pages in docs/ say, as data."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_QUOTED = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"([a-z_]+(?:\.[a-z]+)?)=([^<…]*)")


def section(page: Path, heading: str) -> str:
    """What stands under a heading of level 2, up to the next one."""
    _, found, rest = page.read_text().partition(f"\n## {heading}\n")
    if not found:
        raise LookupError(f"{page.name} has no section {heading!r}")
    return rest.partition("\n## ")[0]


def tables(text: str) -> Iterator[dict[str, str]]:
    """The rows of all Markdown tables, as column to cell."""
    names: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            names = []
        elif not names:
            names = cells
        elif set(line) - set("|-: "):
            yield dict(zip(names, cells, strict=True))


def quoted(text: str) -> list[str]:
    """Everything between backticks outside fenced blocks."""
    return _QUOTED.findall(_FENCE.sub("", text))


def commands(text: str) -> Iterator[list[str]]:
    """The command lines in fenced blocks, as words; comments and what follows && or ; left out."""
    for block in _FENCE.findall(text):
        for line in block.splitlines()[1:-1]:
            if line.startswith(("python ", "make ")):
                yield shlex.split(line, comments=True)


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Key and value of each ``key=value`` whose value is one and not a placeholder."""
    for word in words:
        if found := _OPTION.fullmatch(word):
            yield found[1], found[2]
