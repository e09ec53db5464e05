"""``python -m mamol``."""

import sys

from mamol.commands.door import mamol

if __name__ == "__main__":
    sys.exit(mamol())
