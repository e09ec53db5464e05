"""A training that stops after two epochs, as by a power cut, and goes on."""

from pathlib import Path
from typing import Any

import pytest
import torch

import mamol
from mamol.training.checkpoints import read_checkpoint
from mamol.training.module import Classifier


def continued(table: Path, log_dir: Path, options: dict[str, Any]) -> mamol.Run:
    """Trains, stops when the third epoch begins, and goes on from last.ckpt.

    Args:
        table: Folder of the tables.
        log_dir: Of the run.
        options: Of ``mamol.train``, of three epochs or more.

    Returns:
        The finished run.
    """
    begin = Classifier.on_train_epoch_start

    def power_cut(module: Classifier) -> None:
        begin(module)
        if module.current_epoch == 2:
            raise RuntimeError("power cut")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Classifier, "on_train_epoch_start", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            mamol.train(table, log_dir=log_dir, **options)
    last = log_dir / "mamol_seed0" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)[0].epoch < options["max_epoch"]
    return mamol.train(table, log_dir=log_dir, resume_from=last, **options)


def assert_same_weights(one: mamol.Run, other: mamol.Run) -> None:
    """Also of the last epoch, which need not be the best.

    Args:
        one: A finished run.
        other: Another one.
    """
    assert one.folder is not None
    assert other.folder is not None
    expected, found = (read_checkpoint(each.folder / "checkpoints" / "last.ckpt")[1] for each in (one, other))
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
