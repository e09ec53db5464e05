"""The Lightning module: loss, scores, optimiser; its state is the trainable part only."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from mamol.evaluation.metrics import PatternConfusion, report
from mamol.evaluation.predictions import KeptPredictions
from mamol.models.network import Network
from mamol.settings import Settings
from mamol.training.optim import linear_schedule, optimiser

Batch = dict[str, Tensor]


class Classifier(pl.LightningModule):
    """Trains and tests a network.

    Attributes:
        network: The network.
        result: Scores of the last test, as ``mamol.evaluation.metrics.report`` gives them.
        counts: Confusion matrices of the last test, (2^M, K, K).
        predictions: Samples of the last test, (n,), and their class probabilities, (n, K).
    """

    def __init__(self, network: Network, settings: Settings, test_samples: int) -> None:
        """Takes the network as it is.

        Args:
            network: The network.
            settings: Those of the run.
            test_samples: Size of the test table, whose predictions are kept.
        """
        super().__init__()
        self.network = network
        self.settings = settings
        spec = network.spec
        self.confusion = PatternConfusion(len(spec.modalities), len(spec.classes))
        self.kept = KeptPredictions(test_samples, len(spec.classes))
        self.result: dict[str, Any] = {}
        self.counts: Tensor | None = None
        self.predictions: tuple[Tensor, Tensor] | None = None

    def on_train_epoch_start(self) -> None:
        """Seeds the epoch, so that a continued run draws what an uninterrupted one draws."""
        torch.manual_seed(self.settings.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy plus the method's auxiliary loss."""
        logits, auxiliary = self.network(batch)
        loss = functional.cross_entropy(logits, batch["label"])
        size = len(batch["label"])
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        if auxiliary is None:
            return loss
        self.log("train/auxiliary", auxiliary, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss + auxiliary

    def on_validation_epoch_start(self) -> None:
        """Forgets earlier counts."""
        self.confusion.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts a batch of the validation table."""
        logits = self._count(batch)
        loss = functional.cross_entropy(logits, batch["label"])
        self.log("val/loss", loss, on_epoch=True, batch_size=len(logits), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Logs OA, AA and kappa over all ranks."""
        result = self._report()
        for name in ("OA", "AA", "kappa"):
            if result[name] is not None:
                self.log(f"val/{name}", result[name], prog_bar=name == "OA", rank_zero_only=False)

    def on_test_epoch_start(self) -> None:
        """Forgets earlier counts and predictions."""
        self.confusion.reset()
        self.kept.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts a batch of the test table and keeps its predictions."""
        self.kept.update(batch["index"], self._count(batch).float().softmax(1))

    def on_test_epoch_end(self) -> None:
        """Keeps scores and predictions of all ranks."""
        self.result = self._report()
        self.predictions = self.kept.compute()

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

    def _count(self, batch: Batch) -> Tensor:
        logits, _ = self.network(batch)
        # Not of the logits: where rounding makes a tie, the scores and the kept predictions agree.
        self.confusion.update(logits.float().softmax(1).argmax(1), batch["label"], batch["available"])
        return logits

    def _report(self) -> dict[str, Any]:
        self.counts = self.confusion.compute().cpu()
        spec = self.network.spec
        return report(self.counts.numpy(), list(spec.modalities), spec.classes)
