"""``python tests/faults/saving.py <run> <folder>``: the library's ``save`` as a command, so that it can be killed."""

import sys
from pathlib import Path

import mamol
from mamol.core.errors import MamolError
from tests.lines import Finished


def here(run: str, folder: str) -> Finished:
    """Saves a run's adapter, as the command does.

    Args:
        run: The run's folder.
        folder: Of the adapter; it must not be there.
    """
    try:
        mamol.load(Path(run), num_gpus=0).save(Path(folder))
    except (MamolError, OSError) as error:
        return Finished(1, "", f"error: {error}\n")
    return Finished(0, "", "")


if __name__ == "__main__":
    done = here(*sys.argv[1:])
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)
