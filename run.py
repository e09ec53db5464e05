"""Train, test and use MaMOL: ``python run.py [command] with <named configs> key=value …``."""

import sys

from config import ex
from mamol.commands.run import line

__all__ = ["ex", "line"]

if __name__ == "__main__":
    sys.exit(line(sys.argv))
