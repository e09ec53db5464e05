"""What exists: scenes and methods, as text."""

from mamol.data.facts import DATASETS
from mamol.methods import METHODS


def datasets() -> str:
    """One line per scene that make_arrow.py knows: name, what it is, classes."""
    width = max(map(len, DATASETS))
    return "\n".join(
        f"{name:<{width}}  {facts.title}" + (f"; {len(facts.classes)} classes" if facts.classes else "")
        for name, facts in DATASETS.items()
    )


def methods() -> str:
    """One line per method: name, what it adds, source."""
    width = max(map(len, METHODS))
    return "\n".join(f"{name:<{width}}  {entry.summary} [{entry.source}]" for name, entry in METHODS.items())
