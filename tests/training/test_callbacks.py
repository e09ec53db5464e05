"""What a run keeps while it trains."""

from pathlib import Path

import pandas as pd

from tests.commands import trained


def test_history_has_validation_scores_only_where_one_was_done(table_folder: Path, tmp_path: Path) -> None:
    budget = ("max_epoch=3", "limit_batches=1", "val_check_interval=2")
    history = pd.read_csv(trained(tmp_path, f"data_root={table_folder}", *budget) / "history.csv")
    assert history["train/loss"].notna().all()
    for column in ("val/OA", "val/loss"):
        assert history[column].notna().tolist() == [False, True, False]
