"""Where a run's results lie; every run owns its folder, and finished runs are never touched."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import TypeVar

import pandas as pd

from mamol.core.errors import MamolError
from mamol.core.files import alone, sweep

logger = logging.getLogger(__name__)
Own = TypeVar("Own")
Result = TypeVar("Result")

NODE_VARIABLES = ("NODE_RANK", "GROUP_RANK")  # Lightning's and torchrun's number of a node
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # where Lightning looks for its own


def wanted_folder(log_dir: str, exp_name: str, seed: int) -> Path:
    """The folder that a run has if nobody else has it: ``<log_dir>/<exp_name>_seed<seed>``.

    Args:
        log_dir: Folder of all runs.
        exp_name: Name of the run.
        seed: Its seed.
    """
    return Path(log_dir) / f"{exp_name}_seed{seed}"


def claim_folder(wanted: Path) -> Path:
    """Makes the folder of a run, ``_2``, ``_3`` … behind its name where it is taken.

    What a killed run left half-written in a folder that is taken is removed. Making a folder is atomic, so of two runs
    that are started at once each gets one of its own. Only the process of
    global rank 0 claims; the others learn of it when they are connected.

    Args:
        wanted: Of ``wanted_folder``.

    Returns:
        The folder, empty.

    Raises:
        MamolError: It cannot be made.
    """
    number, folder, there = 1, wanted, wanted.parent.exists()
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if folder.parent.exists() and not folder.parent.is_dir():
                raise MamolError(f"log_dir={folder.parent} is a file; give a folder") from None
            for abandoned in (folder, folder / "checkpoints"):
                sweep(abandoned)
            number += 1
            folder = wanted.with_name(f"{wanted.name}_{number}")
        except OSError as error:
            if not there:
                with suppress(OSError):
                    wanted.parent.rmdir()
            raise MamolError(
                f"log_dir={wanted.parent}: the run's folder cannot be made ({error.strerror}); give another folder"
            ) from error
        else:
            return folder


def is_rank_zero() -> bool:
    """Whether this is the process of global rank 0, which writes files and speaks.

    Before processes are connected, Lightning knows of those of its own node alone.
    """
    node = next((os.environ[name] for name in NODE_VARIABLES if name in os.environ), "0")
    if "pytorch_lightning" not in sys.modules and not any(name in os.environ for name in RANK_VARIABLES):
        return node == "0"  # Lightning would say 0, seconds later
    from pytorch_lightning.utilities.rank_zero import rank_zero_only

    local: int = getattr(rank_zero_only, "rank", 0)
    return local == 0 and ("RANK" in os.environ or node == "0")


def undisturbed(run: Callable[[Own, Path], Result]) -> Callable[[Own, Path], Result]:
    """Has a run refused while another process writes to its folder, as where it is continued twice at once.

    Args:
        run: A method that takes the folder.

    Returns:
        The method; it raises a ``MamolError`` that names the folder.
    """

    @wraps(run)
    def locked(own: Own, folder: Path) -> Result:
        with alone(folder) if is_rank_zero() else nullcontext():
            return run(own, folder)

    return locked


def folder_to_continue(checkpoint: Path) -> Path:
    """The folder of the run that a ``last.ckpt`` belongs to.

    Args:
        checkpoint: ``resume_from``.

    Raises:
        MamolError: It is not a run's ``last.ckpt``, or that run is finished.
    """
    if not checkpoint.is_file() or checkpoint.suffix != ".ckpt" or checkpoint.parent.name != "checkpoints":
        raise MamolError(
            f"resume_from={checkpoint} is not the last.ckpt of a run; give <run folder>/checkpoints/last.ckpt"
        )
    folder = checkpoint.parent.parent
    if (folder / "metrics.json").exists():
        raise MamolError(
            f"resume_from={checkpoint}: that run is finished and stays as it is; "
            f"to train on from its weights use load_path={checkpoint}"
        )
    return folder


def read_history(path: Path) -> pd.DataFrame:
    """The rows of ``history.csv``; none, with a warning, of one that is damaged: no result depends on it.

    Args:
        path: The file; it need not be there.
    """
    try:
        if path.exists():
            history = pd.read_csv(path)
            return history.astype({"epoch": int})
    except (OSError, ValueError, KeyError) as error:
        logger.warning("%s: is damaged and left out (%s)", path, str(error).partition("\n")[0])
    return pd.DataFrame(columns=["epoch"])
