"""A run from settings to results: data, network, training, test, files."""

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from mamol import __version__, parameters
from mamol.building import assemble, grid_of, network_spec
from mamol.data.datamodules import MultimodalData
from mamol.data.tableinfo import TableInfo
from mamol.errors import MamolError
from mamol.evaluation.metrics import as_text
from mamol.evaluation.results import write_results
from mamol.files import write_json
from mamol.models.network import Network
from mamol.settings import Settings
from mamol.training.callbacks import History, KeepBest, KeepLast
from mamol.training.checkpoints import data_identity, load_into, read_checkpoint, warn_of_other_pixels
from mamol.training.module import Classifier
from mamol.training.runs import is_rank_zero

logger = logging.getLogger(__name__)


class Experiment:
    """One run. Making it checks everything that can be checked and writes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Opens the data and builds the network.

        Args:
            settings: The run.

        Raises:
            MamolError: Something the user gave does not fit.
        """
        self.settings = settings
        self.devices, self.accelerator = _devices(settings)
        self.data = MultimodalData(settings)
        self.accumulate = 1 if settings.test_only else _accumulation(settings, self.devices)
        self.network = build_network(settings, self.data)
        self.identity = data_identity(self.data.info, self.data.tables["train"].fingerprint)
        if settings.load_path:
            stored = load_into(self.network, settings.load_path)
            warn_of_other_pixels(stored, self.identity, settings)
        if settings.resume_from:
            read_checkpoint(settings.resume_from)

    def run(self, folder: Path) -> str:
        """Trains, unless ``test_only``, then tests the best checkpoint.

        Args:
            folder: Where the results go.

        Returns:
            The result table for people.
        """
        if is_rank_zero():
            write_json(folder / "config.json", {**asdict(self.settings), "mamol_version": __version__})
        logger.info("%s", self._missing_as_text())
        module = Classifier(self.network, self.settings, self.data)
        best = KeepBest(folder / "checkpoints", self.identity, module.task.selection)
        trainer = self._trainer(folder, [] if self.settings.test_only else [best])
        seconds = {}
        if not self.settings.test_only:
            seconds["train"] = _timed(
                lambda: trainer.fit(module, self.data, ckpt_path=self.settings.resume_from or None, weights_only=True)
            )
            if trainer.interrupted:
                raise MamolError(f"stopped; go on with resume_from={folder / 'checkpoints' / 'last.ckpt'}")
            trainer.strategy.barrier("best checkpoint is written")
            if best.path is not None:
                load_into(self.network, best.path)
        seconds["test"] = _timed(lambda: trainer.test(module, self.data, verbose=False))
        if is_rank_zero():
            write_results(folder, module, self.data, self._facts(seconds, best.path))
        return as_text(module.result)

    def _facts(self, seconds: dict[str, float], best: Path | None) -> dict[str, Any]:
        info = self.data.info
        return {
            "missing": self.data.realised_missing(),
            "params": parameters.count(self.network),
            "seconds": seconds,
            "data": {**self.identity, "layout": info.layout, "overlap": info.overlap, "counts": info.counts},
            "backbone": {
                "name": self.settings.backbone,
                "weights": self.network.origin,
                "sha256": self.network.fingerprint,
            },
            "method": self.settings.method,
            "checkpoint": self.settings.load_path if best is None else str(best.name),
        }

    def _missing_as_text(self) -> str:
        lines = ["missing modalities, as drawn:"]
        for split, real in self.data.realised_missing().items():
            patterns = ", ".join(f"{name} {count}" for name, count in real["patterns"].items())
            percent = ", ".join(f"{name} {value:.1f} %" for name, value in real["available_percent"].items())
            lines.append(f"  {split:<5} {real['n']} samples: {patterns} | available: {percent}")
        return "\n".join(lines)

    def _trainer(self, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
        s = self.settings
        training = not s.test_only
        extra = [KeepLast(folder / "checkpoints", self.identity), History(folder / "history.csv")] if training else []
        bar = [TQDMProgressBar(refresh_rate=5)] if s.progress_bar else []
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=s.num_nodes,
            strategy="ddp" if self.devices * s.num_nodes > 1 else "auto",
            precision=precision_of(s, self.accelerator),
            max_epochs=s.max_epoch,
            max_steps=s.max_steps or -1,
            accumulate_grad_batches=self.accumulate,
            gradient_clip_val=s.gradient_clip or None,
            val_check_interval=self.batches_between_validations(),
            check_val_every_n_epoch=max(1, int(s.val_check_interval)),
            limit_train_batches=s.limit_batches,
            limit_val_batches=s.limit_batches if len(self.data.tables["val"]) else 0,
            limit_test_batches=s.limit_batches,
            callbacks=[*callbacks, *extra, *bar],
            logger=TensorBoardLogger(folder, name="", version="tensorboard") if training else False,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=training,
            enable_progress_bar=s.progress_bar,
            enable_model_summary=False,
            default_root_dir=folder,
        )

    def batches_between_validations(self) -> int | None:
        """Of one process, where a share of an epoch is asked for: at least those of one optimiser step."""
        s = self.settings
        if s.val_check_interval >= 1:
            return None
        mine = -(-len(self.data.tables["train"]) // (self.devices * s.num_nodes))
        batches = min(-(-mine // s.per_gpu_batchsize), s.limit_batches or mine)
        return min(max(self.accumulate, int(batches * s.val_check_interval)), batches)


def build_network(settings: Settings, data: MultimodalData) -> Network:
    """The network of the settings for the modalities and classes of the data, normalisation set.

    Raises:
        MamolError: Unknown backbone, weights that cannot be had, or blocks outside the tower.
    """
    info = data.info
    bands = {name: info.modalities[name] for name in data.modalities}
    spec = network_spec(settings, bands, info.classes, grid_of(settings, info), info.inputs)
    network = assemble(spec, settings.clip_weights, settings.seed)
    if settings.normalise and isinstance(info, TableInfo):
        network.normalise(info.mean, info.std)
    return network


def _devices(settings: Settings) -> tuple[int, str]:
    there = torch.cuda.device_count()
    wanted = min(1, there) if settings.num_gpus == "auto" else int(settings.num_gpus)
    if wanted > there:
        raise MamolError(f"num_gpus={wanted}: this machine has {there}; use num_gpus={there} (0 is the CPU)")
    return (wanted, "gpu") if wanted else (settings.cpu_processes, "cpu")


def _accumulation(settings: Settings, devices: int) -> int:
    at_once = settings.per_gpu_batchsize * devices * settings.num_nodes
    if settings.batch_size % at_once:
        raise MamolError(
            f"batch_size={settings.batch_size} must be a multiple of per_gpu_batchsize × devices × nodes = {at_once}; "
            f"for example batch_size={max(1, round(settings.batch_size / at_once)) * at_once}"
        )
    return settings.batch_size // at_once


def precision_of(settings: Settings, accelerator: str) -> Any:  # noqa: ANN401 - Lightning's union of literals
    """Lightning's name of the arithmetic of a run; ``auto`` is decided by the accelerator."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16-mixed" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else 32


def _timed(work: Any) -> float:  # noqa: ANN401 - any callable without arguments
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)
