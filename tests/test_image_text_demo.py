"""From raw movies to scores by the real command lines: images alone and texts alone tell the genres."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests import lines
from tests.data.imagetext.trees import GENRES, mmimdb_tree

TINY = ("task_finetune_mmimdb", "backbone=tiny", "image_size=32", "num_gpus=0", "num_workers=0", "progress_bar=False")
TRAINING = ("per_gpu_batchsize=32", "batch_size=32", "max_epoch=12", "learning_rate=5e-3", "val_check_interval=6")
ALL_GENRES = 23


@pytest.fixture(scope="module")
def trained(tiny_in_module: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tables of 500 movies, each plot a sample, and the run of a training with 70 % incomplete."""
    folder = tmp_path_factory.mktemp("movies")
    mmimdb_tree(folder / "raw", 500, seed=0)
    options = ("--dataset", "mmimdb", "--root", folder / "raw", "--out", folder / "table", "--plots", "all")
    made = lines.tables(*options)
    assert made.returncode == 0, made.stderr
    result = lines.run("with", *TINY, *TRAINING, f"data_root={folder / 'table'}", f"log_dir={folder / 'runs'}")
    assert result.returncode == 0, result.stderr
    return folder / "table", Path(result.stdout.splitlines()[-1])


def best_constant(scores: dict[str, float], samples: int) -> float:
    """The best macro F1 in percent of one answer for all samples: every genre that occurs.

    Args:
        scores: Genre to how many samples have it.
        samples: How many there are.
    """
    share = np.array([scores[name] for name in GENRES]) / samples
    return float(100 * (2 * share / (1 + share)).sum() / ALL_GENRES)


@pytest.mark.parametrize(("kind", "ratio"), [("text", 1.0), ("image", 1.0), ("both", 0.7)])
def test_genres_are_told_whatever_is_missing(kind: str, ratio: float, trained: tuple[Path, Path]) -> None:
    table, run = trained
    result = lines.run(
        "with", *TINY, f"data_root={table}", f"load_path={run}", f"log_dir={run.parent}", f"exp_name={kind}",
        "test_only=True", f"test_ratio={ratio}", f"test_type={kind}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    metrics = json.loads((Path(result.stdout.splitlines()[-1]) / "metrics.json").read_text())
    scores = metrics["test"]
    chance = best_constant(metrics["data"]["counts"]["test"], scores["n"])
    assert scores["F1_macro"] > 1.15 * chance
    assert scores["per_movie"]["F1_macro"] > 1.15 * chance
    there = {"text": {"image"}, "image": {"text"}, "both": {"image+text", "image", "text"}}[kind]
    assert scores["per_pattern"].keys() == there
