"""Train, test and use MaMOL: ``python run.py [command] with <named configs> key=value …``; ``--help`` says more."""

import sys

from mamol.commands.door import run

__all__ = ["run"]

if __name__ == "__main__":
    sys.exit(run(sys.argv))
