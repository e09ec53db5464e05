"""The Lightning module: loss, scores, optimiser; its state is the trainable part only."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from mamol.data.datamodules import MultimodalData
from mamol.evaluation.predictions import KeptPredictions
from mamol.evaluation.tasks import TASKS
from mamol.models.network import Network
from mamol.settings import Settings
from mamol.training.optim import linear_schedule, optimiser

Batch = dict[str, Tensor]


class Classifier(pl.LightningModule):
    """Trains and tests a network.

    Attributes:
        network: The network.
        task: What the labels are.
        result: Scores of the last test, as ``mamol.evaluation.tasks.Task.report`` gives them.
        predictions: Samples of the last test, (n,), and their class probabilities, (n, K).
    """

    def __init__(self, network: Network, settings: Settings, data: MultimodalData) -> None:
        """Takes the network as it is.

        Args:
            network: The network.
            settings: Those of the run.
            data: The tables; predictions of ``val`` and ``test`` are kept.
        """
        super().__init__()
        self.network = network
        self.settings = settings
        self.data = data
        self.task = TASKS[data.info.task]
        classes = len(data.info.classes)
        self.kept = nn.ModuleDict({s: KeptPredictions(len(data.tables[s]), classes) for s in ("val", "test")})
        self.result: dict[str, Any] = {}
        self.predictions: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a continued run draws what an uninterrupted one draws."""
        torch.manual_seed(self.settings.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The task's loss plus the method's auxiliary loss."""
        logits, auxiliary = self.network(batch)
        loss = self.task.loss(logits, batch["label"])
        size = len(batch["label"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        if auxiliary is None:
            return loss
        self.log("train/auxiliary", auxiliary, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss + auxiliary

    def on_validation_epoch_start(self) -> None:
        """Forgets earlier predictions."""
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
        logits, _ = self.network(batch)
        self._kept(split).update(batch["index"], self.task.probabilities(logits))
        return logits

    def _of_all_ranks(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        index, probabilities = self._kept(split).compute()
        return index.cpu().numpy(), probabilities.cpu().numpy()

    def _report(self, split: str, index: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Any]:
        data, table = self.data, self.data.tables[split]
        group = None if table.group is None else table.group[index]
        available = data.masks[split].first[index]
        return self.task.report(
            probabilities, table.label[index], available, data.modalities, table.info.classes, group
        )
