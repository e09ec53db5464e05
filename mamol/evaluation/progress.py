"""How far something is that takes hours: a bar, or a line every minute where standard error is no terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

EVERY = 60.0  # seconds between lines
LOOK = 1.0  # seconds between looks at what others have done


class Told:
    """Tells of progress on standard error, with the time that is left.

    Attributes:
        total: Steps until the end.
        done: Steps so far.
    """

    def __init__(self, what: str, total: int, *, shown: bool = True, done: int = 0) -> None:
        """Begins.

        Args:
            what: What is done, in front of everything.
            total: Steps until the end.
            shown: Whether anything is told.
            done: Steps that were done before; they say nothing about the speed.
        """
        self.what, self.total, self.done = what, total, done
        self._shown, self._before = shown, done
        self._began = self._last = time.monotonic()
        console = Console(stderr=True)
        self._bar = None
        if shown and console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(what, total=total, completed=done)

    def __enter__(self) -> "Told":
        """Shows the bar, if there is a terminal for it."""
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tells how long it took, unless it failed."""
        if self._bar:
            self._bar.stop()
        elif self._shown and error is None:
            self._line(f"done in {duration(time.monotonic() - self._began)}")

    def advance(self, steps: int) -> None:
        """Some steps are done.

        Args:
            steps: How many.
        """
        self.done += steps
        now = time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=self.done)
        elif self._shown and now - self._last >= EVERY:
            self._last = now
            per_step = (now - self._began) / max(self.done - self._before, 1)
            self._line(f"{100 * self.done // self.total} %, {duration(per_step * (self.total - self.done))} left")

    def _line(self, text: str) -> None:
        sys.stderr.write(f"{self.what}: {text}\n")


@contextmanager
def watching(told: Told, done: Callable[[], int]) -> Iterator[None]:
    """Tells of progress that other processes make, as long as the context lasts.

    Args:
        told: Where it is told.
        done: Says how many steps there are so far.
    """
    over = Event()

    def look() -> None:
        while not over.wait(LOOK):
            told.advance(done() - told.done)

    watcher = Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        told.advance(done() - told.done)


def duration(seconds: float) -> str:
    """A time in words, with two units at most.

    Args:
        seconds: How long.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
