"""The Lightning module of pre-training, and its checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from mamol.core.command_groups import PretrainSettings
from mamol.core.errors import MamolError
from mamol.core.groups import TrainingSettings
from mamol.data.unlabelled import UnlabelledData
from mamol.network.masked import MaskedAutoencoder
from mamol.training.checkpoints import SETTINGS
from mamol.training.optim import linear_schedule, optimiser

SOURCES = "mamol_sources"
"""In Lightning's dictionary: what the grounds are, as JSON."""


class Pretrainer(pl.LightningModule):
    """Trains a masked autoencoder.

    Attributes:
        network: It.
    """

    def __init__(
        self, network: MaskedAutoencoder, data: UnlabelledData, settings: TrainingSettings, own: PretrainSettings
    ) -> None:
        """Takes the network as it is.

        Args:
            network: It.
            data: What it is trained on.
            settings: Optimiser and schedule.
            own: Weights of the terms.
        """
        super().__init__()
        self.network, self.data, self.settings, self.own = network, data, settings, own

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of all grounds."""
        return self.data.loader(self.trainer.global_rank, self.trainer.world_size)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The error of the hidden pixels, and the terms of the routers.

        Raises:
            MamolError: It is NaN or infinite.
        """
        terms = self.network.loss(batch, self.own.modality_balance, self.own.information_weight)
        size = len(batch["available"])
        for name, value in terms.items():
            self.log(
                f"train/{name}",
                value,
                on_step=False,
                on_epoch=True,
                prog_bar=name == "loss",
                batch_size=size,
                sync_dist=True,
            )
        total = terms["loss"] + terms.get("routing", 0)
        if not torch.isfinite(total):
            raise MamolError(
                f"pretrain: the loss is {float(total)} at step {self.global_step}; use a smaller learning_rate or "
                "precision=32, or look for extreme values in the scenes"
            )
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The settings' optimiser with linear warm-up and decay, advanced every step."""
        s = self.settings
        optimizer = optimiser(self.network, s.optim_type, s.learning_rate, s.weight_decay)
        schedule = linear_schedule(optimizer, s.warmup_steps, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class KeepPretraining(ModelCheckpoint):
    """Lightning's own ``last.ckpt`` after every epoch, with the options and the sources."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        """Writes to a folder.

        Args:
            folder: Where.
            settings: All options by flat names.
            sources: Of the grounds.
        """
        super().__init__(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.settings, self.sources = dict(settings), dict(sources)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what a continued run is checked against."""
        checkpoint[SETTINGS] = json.dumps(self.settings)
        checkpoint[SOURCES] = json.dumps(self.sources)
