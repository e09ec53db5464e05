"""What a run keeps while it trains: the best and the last checkpoint, and the history."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from mamol.core.files import replacing
from mamol.core.seal import UNSEALED, seal
from mamol.training.checkpoints import KEY, SETTINGS, describe, save_checkpoint
from mamol.training.module import Classifier
from mamol.training.runs import read_history


class KeepBest(Callback):
    """Keeps ``best-….safetensors`` with the highest validation score; of equals the first.

    Attributes:
        path: The best checkpoint so far.
    """

    def __init__(self, folder: Path, data: Mapping[str, Any], key: str) -> None:
        """Writes to a folder.

        Args:
            folder: Rank 0's counts, whatever the other processes are given.
            data: Which training samples the network sees.
            key: Name of the score.
        """
        self.folder = folder
        self.data = dict(data)
        self.key = key
        self.path: Path | None = None
        self.score = float("-inf")

    def state_dict(self) -> dict[str, Any]:
        """What a continued run must know."""
        return {"name": self.path.name if self.path else None, "score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the best of the interrupted run."""
        self.path = self.folder / state_dict["name"] if state_dict["name"] else None
        self.score = state_dict["score"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Every process learns where rank 0 writes."""
        self.folder = trainer.strategy.broadcast(self.folder)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replaces the best checkpoint by a better one."""
        score = trainer.callback_metrics.get(f"val/{self.key}")
        if score is not None and float(score) > self.score:
            self._keep(trainer, pl_module, float(score))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Without a validation table the last network is the best known."""
        if self.path is None:
            self._keep(trainer, pl_module, None)

    def _keep(self, trainer: pl.Trainer, module: pl.LightningModule, score: float | None) -> None:
        before = self.path
        shown = "" if score is None else f"-{self.key}={score:.2f}"
        self.path = self.folder / f"best-epoch={trainer.current_epoch}{shown}.safetensors"
        self.score = self.score if score is None else score
        if trainer.is_global_zero and isinstance(module, Classifier):
            info = describe(module.network, self.data, trainer.current_epoch, score)
            save_checkpoint(self.path, module.network, info)
            if before and before != self.path:
                before.unlink(missing_ok=True)


class KeepLast(ModelCheckpoint):
    """Lightning's own ``last.ckpt`` after every epoch: optimiser, schedule, epoch, and the trainable part."""

    def __init__(self, folder: Path, data: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Writes to a folder.

        Args:
            folder: Where.
            data: Which training samples the network sees.
            settings: All options by flat names, against which a continued run is checked.
        """
        super().__init__(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.data = dict(data)
        self.settings = dict(settings)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the description, so that ``load_path`` takes this file, too, and the options."""
        if isinstance(pl_module, Classifier):
            info = describe(pl_module.network, self.data, trainer.current_epoch, None)
            checkpoint[KEY] = info.to_json()
            checkpoint[SETTINGS] = json.dumps(self.settings)


class SealedCheckpoints(TorchCheckpointIO):
    """Lightning's way to its checkpoints, with a checksum: the remark of the zip file that torch writes."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401 - Lightning's
    ) -> None:
        """Writes a checkpoint, atomically.

        Args:
            checkpoint: Of tensors and plain values.
            path: The file.
            storage_options: Not used, as in Lightning's own.
        """
        with replacing(path) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = UNSEALED.encode()
            seal(temporary)


class History(Callback):
    """``history.csv``: one row per epoch with losses, scores and learning rate."""

    def __init__(self, path: Path) -> None:
        """Writes to a file.

        Args:
            path: ``history.csv``; rows of an interrupted run stay.
        """
        self.path = path
        self.validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that the epoch has a validation; Lightning's metrics stay until the next one."""
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch's row."""
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row |= {name: value for name, value in metrics.items() if self.validated or not name.startswith("val/")}
        self.validated = False
        earlier = read_history(self.path)
        earlier = earlier[earlier["epoch"] < trainer.current_epoch]
        table = pd.concat([earlier, pd.DataFrame([row])]) if len(earlier) else pd.DataFrame([row])
        with replacing(self.path) as temporary:
            table.to_csv(temporary, index=False)
