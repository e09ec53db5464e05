"""Where a run's results lie; finished runs are never touched."""

import os
from pathlib import Path

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from mamol.errors import MamolError
from mamol.settings import Settings

HANDED_ON = "MAMOL_RUN_FOLDER"  # Lightning starts the other processes of a node with rank 0's environment


def run_folder(settings: Settings) -> Path:
    """The folder of this run: ``<log_dir>/<exp_name>_seed<seed>``, with ``_2``, ``_3`` … where taken.

    A continued run keeps its folder. All processes get the same answer; nothing is created here.

    Args:
        settings: The run.

    Returns:
        The folder.

    Raises:
        MamolError: ``resume_from`` is not a run's ``last.ckpt``, or that run is finished.
    """
    if settings.resume_from:
        return _folder_to_continue(Path(settings.resume_from))
    if not is_rank_zero() and HANDED_ON in os.environ:
        return Path(os.environ[HANDED_ON])
    wanted = Path(settings.log_dir) / f"{settings.exp_name}_seed{settings.seed}"
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}_{number}")
    os.environ[HANDED_ON] = str(folder)
    return folder


def is_rank_zero() -> bool:
    """Whether this process writes files."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _folder_to_continue(checkpoint: Path) -> Path:
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
