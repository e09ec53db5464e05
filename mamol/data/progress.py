"""Progress bars of what takes minutes: on standard error, and only where that is a terminal."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The items, with a bar while they are taken.

    Args:
        items: Anything.
        what: Text in front of the bar.
        total: How many there are, if known.
    """
    console = Console(stderr=True)
    return track(items, what, total=total, console=console, transient=True, disable=not console.is_terminal)
