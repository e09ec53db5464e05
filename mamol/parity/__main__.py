"""``python -m mamol.parity FILE``: exit status 0 where every stage agrees, 1 otherwise."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mamol.core.errors import MamolError
from mamol.parity.compare import TOLERANCE, differences, report, within


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares a golden file and prints the differences.

    Args:
        arguments: Of the command line; None takes ``sys.argv``.

    Returns:
        Exit status: 0 when all stages agree; 1 when one does not, or after a mistake told in one line on stderr.
    """
    parser = argparse.ArgumentParser("python -m mamol.parity", description=__doc__)
    parser.add_argument("file", type=Path, help=f"golden safetensors file; stages may differ by {TOLERANCE:g}")
    try:
        found = differences(parser.parse_args(arguments).file)
    except MamolError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(report(found) + "\n")
    return 0 if all(map(within, found.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
