"""Lightning's trainer as every training of this program has it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.training.callbacks import SealedCheckpoints
from mamol.training.machine import devices_of, precision_of, progress_bars
from mamol.training.processes import end_at_sigterm, keep_together
from mamol.training.quiet import no_advertisement


def make_trainer(
    settings: Settings,
    folder: Path,
    callbacks: Sequence[pl.Callback],
    *,
    writes: bool,
    **own: Any,  # noqa: ANN401 - Lightning's
) -> pl.Trainer:
    """Devices, arithmetic, length and records of a training.

    Args:
        settings: Of the run.
        folder: Of the run.
        callbacks: Its own.
        writes: Whether it trains, and so keeps checkpoints and TensorBoard's log.
        own: What else Lightning is told.

    Raises:
        MamolError: There are fewer GPUs than wanted.
    """
    training, machine = settings.training, settings.machine
    devices, accelerator = devices_of(machine)
    keep_together()
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(no_advertisement)
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=machine.num_nodes,
        strategy="ddp" if devices * machine.num_nodes > 1 else "auto",
        precision=precision_of(training.precision, accelerator),
        max_epochs=training.max_epoch,
        max_steps=training.max_steps or -1,
        gradient_clip_val=training.gradient_clip or None,
        callbacks=[*callbacks, *progress_bars(machine.progress_bar)],
        logger=TensorBoardLogger(folder, name="", version="tensorboard") if writes else False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=writes,
        enable_progress_bar=machine.progress_bar,
        enable_model_summary=False,
        default_root_dir=folder,
        plugins=[SealedCheckpoints()],
        **own,
    )
    end_at_sigterm(trainer)
    return trainer


def accumulation(settings: Settings) -> int:
    """Batches per optimiser step.

    Args:
        settings: Of the run.

    Raises:
        MamolError: ``batch_size`` is no multiple of what all devices compute at once.
    """
    s, machine = settings.training, settings.machine
    at_once = s.per_gpu_batchsize * devices_of(machine)[0] * machine.num_nodes
    if s.batch_size % at_once:
        raise MamolError(
            f"batch_size={s.batch_size} must be a multiple of per_gpu_batchsize × devices × nodes = {at_once}; "
            f"for example batch_size={max(1, round(s.batch_size / at_once)) * at_once}"
        )
    return s.batch_size // at_once
