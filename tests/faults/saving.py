"""``python tests/faults/saving.py <run> <folder>``: the library's ``save`` as a command, so that it can be killed."""

import sys
from pathlib import Path

import mamol


def main(run: str, folder: str) -> None:
    """Saves a run's adapter.

    Args:
        run: The run's folder.
        folder: Of the adapter; it must not be there.
    """
    mamol.load(Path(run), num_gpus=0).save(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
