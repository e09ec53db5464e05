"""``python tests/training/terminated.py DIR``: trains in two processes; the first gets SIGTERM in its second batch."""

import os
import signal
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mamol.core.settings import Settings
from mamol.training.trainer import make_trainer


class Terminated(pl.LightningModule):
    """One weight."""

    def __init__(self) -> None:
        """Makes it."""
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        """A loss."""
        return self.layer(batch).sum()

    def on_before_backward(self, loss: Tensor) -> None:
        """Behind it the gradients of both processes meet."""
        if self.global_rank == 0 and self.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any."""
        return torch.optim.SGD(self.parameters())


if __name__ == "__main__":
    settings = Settings.of({"num_gpus": 0, "cpu_processes": 2, "max_epoch": 2, "progress_bar": False})
    make_trainer(settings, Path(sys.argv[1]), [], writes=False).fit(Terminated(), DataLoader(torch.ones(20, 1)))
    sys.exit("it was not terminated")
