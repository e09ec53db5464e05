"""The Lightning module: loss, scores, optimiser; its state is the trainable part only."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mamol.core.errors import MamolError
from mamol.core.groups import TrainingSettings
from mamol.core.network import AnyNetwork
from mamol.core.predictions import KeptPredictions
from mamol.core.task import TASKS, check_finite
from mamol.data.datamodules import MultimodalData
from mamol.training.optim import linear_schedule, optimiser

Batch = dict[str, Tensor]


class Classifier(pl.LightningModule):
    """Trains and tests a network.

    Attributes:
        network: The network.
        task: What the labels are.
        result: Scores of the last test, as ``mamol.core.task.Task.report`` gives them.
        predictions: Samples of the last test, (n,), and what the task keeps of them, such as probabilities (n, K).
    """

    def __init__(self, network: AnyNetwork, settings: TrainingSettings, data: MultimodalData, seed: int = 0) -> None:
        """Takes the network as it is.

        Args:
            network: The network.
            settings: Optimiser and schedule.
            data: The tables it is trained and tested on; predictions of ``val`` and ``test`` are kept.
            seed: Of what a method draws while it trains.
        """
        super().__init__()
        self.network = network
        self.settings = settings
        self.data = data
        self.seed = seed
        self.task = TASKS.find(data.info.task).with_loss(settings.loss)
        if settings.class_weight == "balanced":
            self.task = self.task.balanced(list(data.info.counts["train"].values()))
        classes = len(data.info.classes)
        self.kept = nn.ModuleDict({s: self.task.metric(len(data.tables[s]), classes) for s in ("val", "test")})
        self.result: dict[str, Any] = {}
        self.predictions: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None
        self._last_loss: Tensor | None = None

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training table."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation table."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test table."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[Batch]:
        return self.data.loader(split, self.trainer.global_rank, self.trainer.world_size)

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a continued run draws what an uninterrupted one draws."""
        self._seed_epoch()

    def _seed_epoch(self) -> None:
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Tells the network how far the training is; a continued run goes on where it was."""
        if batch_idx == 0 and self.current_epoch > 0:
            # The loader's iterator, which draws a number, is new since the epoch's start, but not so in the first epoch
            # of a continued run: with one number drawn, both are alike.
            self._seed_epoch()
            torch.empty((), dtype=torch.int64).random_()
        self.network.progress = self.global_step / int(self.trainer.estimated_stepping_batches)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The method's loss on a batch: the task's, plus what the method adds.

        Raises:
            MamolError: The loss of the step before was NaN or infinite.
        """
        self._check_last_loss()
        terms = self.network.loss(batch, self.task)
        size = len(batch["label"])
        for name, value in terms.items():
            shown = name == "loss"
            self.log(
                f"train/{name}", value, on_step=False, on_epoch=True, prog_bar=shown, batch_size=size, sync_dist=True
            )
        first, *others = terms.values()
        total = sum(others, first)
        self._last_loss = total.detach()
        return total

    def on_train_epoch_end(self) -> None:
        """Looks at the loss of the epoch's last step, before a checkpoint is written."""
        self._check_last_loss()

    def _check_last_loss(self) -> None:
        """Stops where the loss is no number; one step late, so that a GPU need not be waited for."""
        if self._last_loss is not None and not torch.isfinite(self._last_loss):
            raise MamolError(
                f"training: the loss is {float(self._last_loss)} at step {self.global_step} (epoch "
                f"{self.current_epoch}); look for extreme values in the table, or use a smaller learning_rate, "
                "precision=32 or normalise=True"
            )
        self._last_loss = None

    def on_validation_epoch_start(self) -> None:
        """Forgets earlier predictions; a network whose loss is no number is not validated."""
        self._check_last_loss()
        self._kept("val").reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the predictions of a batch of the validation table."""
        logits = self._predict("val", batch)
        self.log(
            "val/loss", self.task.loss(logits, batch["label"]), on_epoch=True, batch_size=len(logits), sync_dist=True
        )

    def on_validation_epoch_end(self) -> None:
        """Logs the scores over all ranks."""
        result = self._report("val", *self._of_all_ranks("val"))
        for name in self.task.scores:
            if result[name] is not None:
                self.log(f"val/{name}", result[name], prog_bar=name == self.task.selection, rank_zero_only=False)

    def on_test_epoch_start(self) -> None:
        """Forgets earlier predictions."""
        self._kept("test").reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the predictions of a batch of the test table."""
        self._predict("test", batch)

    def on_test_epoch_end(self) -> None:
        """Keeps scores and predictions of all ranks."""
        self.predictions = self._of_all_ranks("test")
        self.result = self._report("test", *self.predictions)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The settings' optimiser with linear warm-up and decay, advanced every step."""
        s = self.settings
        optimizer = optimiser(self.network, s.optim_type, s.learning_rate, s.weight_decay)
        schedule = linear_schedule(optimizer, s.warmup_steps, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # noqa: ANN401
        """The trainable part only: the frozen tower is not written with every checkpoint."""
        return dict(self.network.trainable_state())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401
        """Loads the trainable part; names and shapes must be the same."""
        self.network.load_trainable_state(state_dict)

    def _kept(self, split: str) -> KeptPredictions:
        return cast(KeptPredictions, self.kept[split])

    def _predict(self, split: str, batch: Batch) -> Tensor:
        logits, kept = self.network.tested(batch, self.task)
        self._kept(split).update(batch["index"], kept)
        return logits

    def _of_all_ranks(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        index, probabilities = (values.cpu().numpy() for values in self._kept(split).found())
        check_finite(probabilities, index, str(self.data.tables[split].path))
        return index, probabilities

    def _report(self, split: str, index: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Any]:
        data, table = self.data, self.data.tables[split]
        group = None if table.group is None else table.group[index]
        available = data.masks[split].first[index]
        scenes = {name: chosen[index] for name, chosen in table.parts.items()}
        return self.task.report(
            probabilities, table.label[index], available, data.modalities, table.info.classes, group, scenes
        )
