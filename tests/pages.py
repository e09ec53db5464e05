"""What README and the pages in docs/ say, as data; and the plugins that they show, registered for a while."""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mamol.network  # noqa: F401 - registers what the program brings itself
from mamol.core.backbone import BACKBONES
from mamol.core.embedding import EMBEDDINGS
from mamol.core.head import HEADS
from mamol.core.method import METHODS
from mamol.core.network import NETWORKS
from mamol.core.plugins import load_plugins
from mamol.core.task import TASKS
from mamol.data.facts import DATASETS
from mamol.data.imagetext.registry import IMAGE_TEXT_DATASETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REGISTRIES = (BACKBONES, DATASETS, EMBEDDINGS, HEADS, IMAGE_TEXT_DATASETS, METHODS, NETWORKS, TASKS)

_QUOTED = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^The file `(\w+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
            if line.startswith(("python ", "make ", "mamol ")):
                yield shlex.split(line, comments=True)


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Key and value of each ``key=value`` whose value is one and not a placeholder."""
    for word in words:
        if found := _OPTION.fullmatch(word):
            yield found[1], found[2]


def files(page: Path) -> dict[str, str]:
    """The Python files that a page shows in full, under ``The file `name.py`:``."""
    return dict(_FILE.findall(page.read_text("utf-8")))


def written(page: Path, folder: Path) -> list[Path]:
    """Writes the Python files that a page shows into a folder, as a user would."""
    paths = []
    for name, text in files(page).items():
        paths.append(folder / name)
        paths[-1].write_text(text, "utf-8")
    return paths


@contextmanager
def registered(plugins: list[Path]) -> Iterator[None]:
    """Plugins that are known for a while; the program itself never forgets one.

    What a command line in it loads is forgotten, too, as if the command had a process of its own.
    """
    before = [dict(registry) for registry in REGISTRIES]
    modules = set(sys.modules)
    try:
        load_plugins([str(path) for path in plugins])
        yield
    finally:
        for registry, entries in zip(REGISTRIES, before, strict=True):
            registry._entries = entries  # nothing public takes an entry away, and only tests want to
        for name in set(sys.modules) - modules:
            if name.startswith("mamol_plugin_"):
                del sys.modules[name]
