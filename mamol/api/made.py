"""What a command made that is a folder: a path wherever tables, a run or a backbone are expected."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Made(os.PathLike[str]):
    """A folder, and what is to be said of it.

    Attributes:
        folder: Where it is.
        report: For people; ``print`` shows it.
    """

    folder: Path
    report: str

    def __fspath__(self) -> str:
        """The folder."""
        return str(self.folder)

    def __str__(self) -> str:
        """The report."""
        return self.report
