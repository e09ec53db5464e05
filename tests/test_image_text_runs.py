"""Runs on images with texts, as a user types them: training, tests, grids, routing, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mamol.api.experiment import Experiment
from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.core.settings import Settings
from mamol.core.task import TASKS
from mamol.data.datamodules import MultimodalData
from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.imagetext.prepare import prepare
from mamol.data.serving import dataset_of
from mamol.data.tables import open_tables
from mamol.evaluation.predictions import read_predictions
from mamol.evaluation.statistics import compare
from tests.data.imagetext.trees import food101_tree, hateful_memes_tree, mmimdb_tree
from tests.lines import Finished, run

TREES = {"mmimdb": mmimdb_tree, "food101": food101_tree, "hateful_memes": hateful_memes_tree}
SMALL = ("num_gpus=0", "backbone=tiny", "image_size=32", "num_workers=0", "progress_bar=False")
README = ("num_gpus=0", "num_nodes=1", "per_gpu_batchsize=4")
RUNS = [
    ("mmimdb", "mmimdb", "mamol", {"f1.png"}),
    ("mmimdb", "mmimdb", "dcp", {"f1.png"}),
    ("food101", "food101", "released", {"confusion.png"}),
    ("food101", "food101", "mmp", {"confusion.png"}),
    ("hatememes", "hateful_memes", "lora_pattern", {"confusion.png", "roc.png"}),
    ("hatememes", "hateful_memes", "moe_ada", {"confusion.png", "roc.png"}),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the tables of a dataset once: 24 training, 6 validation and 10 test items; all plots of a movie."""
    root = tmp_path_factory.mktemp("image_text")

    def folder(dataset: str) -> Path:
        out = root / dataset / "tables"
        if not out.exists():
            TREES[dataset](root / dataset / "raw", 40, 0, 32)
            more = {"plots": "all"} if dataset == "mmimdb" else {}
            prepare(ImageTextOptions(dataset, root / dataset / "raw", out, **more))
        return out

    return folder


def ended(result: Finished) -> Path:
    assert result.returncode == 0, result.stderr[-1500:]
    return Path(result.stdout.splitlines()[-1])


def scores_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())["test"]


@pytest.fixture(scope="module")
def movies(tables: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on movies of which every plot is a sample."""
    log_dir = f"log_dir={tmp_path_factory.mktemp('runs')}"
    small = ("max_epoch=2", "batch_size=8", *SMALL)
    return ended(run("with", f"data_root={tables('mmimdb')}", *README, "task_finetune_mmimdb", *small, log_dir))


@pytest.mark.parametrize(("config", "dataset", "method", "pictures"), RUNS, ids=[f"{r[0]}-{r[2]}" for r in RUNS])
def test_the_readmes_lines_work(
    config: str, dataset: str, method: str, pictures: set[str], tables: Callable[[str], Path], tmp_path: Path
) -> None:
    place = (f"data_root={tables(dataset)}", *README, f"task_finetune_{config}")
    quick = (*SMALL, f"method={method}", f"log_dir={tmp_path}", "max_epoch=1")
    trained = ended(run("with", *place, "exp_name=exp_base", *quick, "limit_batches=2"))
    assert trained.name == "exp_base_seed0"
    task = TASKS[open_tables(tables(dataset))["test"].info.task]
    test = scores_of(trained)
    assert test["n"] == 8
    assert set(task.scores) < test.keys()
    assert sum(row["n"] for row in test["per_pattern"].values()) == 8
    assert {path.name for path in trained.glob("*.png")} == {"curves.png", *pictures}
    score = pd.read_csv(trained / "history.csv")[f"val/{task.selection}"].iloc[-1]
    (best,) = (trained / "checkpoints").glob("best*")
    assert best.name == f"best-epoch=0-{task.selection}={score:.2f}.safetensors"
    only = ("exp_name=exp_base", f"load_path={trained}", "test_only=True", "test_ratio=0.7", "test_type=both")
    again = ended(run("with", *place, *only, *quick))
    whole = open_tables(tables(dataset))["test"]
    assert scores_of(again)["n"] == len(whole)
    kept = read_predictions(again)
    assert kept["index"].tolist() == list(range(len(whole)))
    assert kept["id"].tolist() == whole.keys["id"].tolist()


def test_scores_follow_from_the_kept_predictions(movies: Path, tables: Callable[[str], Path]) -> None:
    table, kept = open_tables(tables("mmimdb"))["test"], read_predictions(movies)
    probabilities = kept[[f"p_{name}" for name in table.info.classes]].to_numpy()
    assert [list(row) for row in kept["label"]] == [np.flatnonzero(row).tolist() for row in table.label]
    assert [list(row) for row in kept["prediction"]] == [np.flatnonzero(row > 0.5).tolist() for row in probabilities]
    assert (kept["text"] > 0).any(), "movies with several plots"
    test = scores_of(movies)
    right = sum(len(set(a) & set(b)) for a, b in zip(kept["label"], kept["prediction"], strict=True))
    count = sum(map(len, kept["label"])) + sum(map(len, kept["prediction"]))
    assert test["F1_micro"] == pytest.approx(100 * 2 * right / count, abs=1e-4)
    assert test["per_movie"]["n"] == kept["id"].nunique() == 10 < test["n"] == len(table)
    assert kept["pattern"].value_counts().to_dict() == {name: row["n"] for name, row in test["per_pattern"].items()}


def test_all_plots_of_a_movie_miss_the_same_and_the_rate_is_that_of_movies(
    movies: Path, tables: Callable[[str], Path]
) -> None:
    kept = read_predictions(movies)
    assert (kept.groupby("id")["pattern"].nunique() == 1).all()
    assert (kept.groupby("id")["pattern"].first() != "image+text").sum() == 7
    data = MultimodalData(tables("mmimdb"), missing=MissingSettings(resample_missing=True))
    group = data.tables["train"].group
    assert group is not None
    first, later = (data.masks["train"].of_epoch(epoch) for epoch in (0, 1))
    assert (first != later).any()
    for mask in (first, later):
        assert all((mask[group == item] == mask[group == item][0]).all() for item in group)


@pytest.mark.usefixtures("figures")
def test_a_cell_of_the_grid_equals_a_test_only_run(movies: Path, tables: Callable[[str], Path], tmp_path: Path) -> None:
    place = (f"data_root={tables('mmimdb')}", f"load_path={movies}", *SMALL)
    folder = ended(run("evaluate", "with", *place, "evaluate_ratios=0,0.5", "num_workers=1"))
    grid, patterns = (pd.read_csv(folder / f"{name}.csv") for name in ("grid", "patterns"))
    assert list(grid["type"].unique()) == ["image", "text", "both"]
    assert list(patterns["present"]) == ["image+text", "image", "text"]
    assert (folder / "accuracy.png").stat().st_size > 10_000
    assert "## F1_macro, in percent" in (folder / "evaluation.md").read_text()
    alone = ended(run("with", *place, "test_only=True", "test_ratio=0.5", "test_type=image", f"log_dir={tmp_path}"))
    cell = grid[(grid["type"] == "image") & (grid["ratio"] == 0.5)].set_index("present")
    for name, row in [("all", scores_of(alone)), *scores_of(alone)["per_pattern"].items()]:
        for key in ("n", *TASKS["genres"].scores):
            assert cell.loc[name, key] == pytest.approx(row[key], abs=1e-3), (name, key)


def test_a_grid_of_a_test_set_with_one_class_has_gaps(tables: Callable[[str], Path], tmp_path: Path) -> None:
    place = (f"data_root={tables('hateful_memes')}", *SMALL, *README)
    done = ended(run("with", *place, "task_finetune_hatememes", "max_epoch=1", f"log_dir={tmp_path}"))
    folder = ended(run("evaluate", "with", *place, f"load_path={done}", "evaluate_ratios=0,0.1", "evaluate_types=both"))
    grid = pd.read_csv(folder / "grid.csv")
    assert grid[grid["present"].isin(["all", "image+text"])]["AUROC"].notna().all()
    assert grid[grid["n"] == 1]["AUROC"].isna().all(), "of one sample"
    assert (grid["n"] == 1).any()


def test_routing_tells_the_towers_apart_and_leaves_out_padding(movies: Path, tables: Callable[[str], Path]) -> None:
    place = (f"data_root={tables('mmimdb')}", f"load_path={movies}", *SMALL)
    folder = ended(run("routing", "with", *place))
    used = pd.read_csv(folder / "usage.csv")
    assert {path.name for path in folder.glob("*.png")} == {"experts_visual.png", "experts_text.png"}
    assert set(used["tower"]) == {"visual", "text"}
    assert used.groupby(["tower", "layer", "pattern", "modality"])["top1_share"].sum().to_numpy() == pytest.approx(1)
    assert set(used.query("tower == 'visual'")["pattern"]) == {"image+text", "image"}
    assert set(used.query("tower == 'text'")["modality"]) == {"text", "all"}
    data = MultimodalData(tables("mmimdb"))
    everything = np.arange(len(data.tables["test"]))
    served = dataset_of(data.tables["test"], data.modalities, image_size=32)
    texts = served[(everything, np.ones((len(everything), 2), bool))]["text"]
    words = used.query("tower == 'text' and layer == 6 and pattern == 'text' and modality == 'all'")["tokens"]
    assert set(words) == {int((texts.argmax(1) + 1).sum())}, "up to the end token"
    information = pd.read_csv(folder / "information.csv")
    assert information[["tower", "layer"]].drop_duplicates().shape[0] == len(information) == 12
    some = pd.read_csv(ended(run("routing", "with", *place, "routing_class=Western")) / "usage.csv")
    western = data.tables["test"].label[:, data.info.classes.index("Western")].astype(bool)
    last = some.query("tower == 'text' and layer == 11 and pattern == 'text'")["tokens"]
    assert set(last) == {int((texts.argmax(1) + 1)[western].sum())} != set(words), "in the last block, too"


def test_one_of_the_modalities_alone(tables: Callable[[str], Path], tmp_path: Path) -> None:
    done = ended(
        run(
            "with", f"data_root={tables('food101')}", "task_finetune_food101", *README, *SMALL, "modalities=text",
            "max_epoch=1", "limit_batches=2", f"log_dir={tmp_path}",
        )
    )  # fmt: skip
    assert scores_of(done)["per_pattern"].keys() == {"text"}


@pytest.mark.parametrize(
    ("samples", "size", "effective", "share", "limit", "expected"),
    [
        (24, 4, 4, 0.2, None, 1),  # of 6 batches
        (24, 4, 4, 0.5, None, 3),
        (24, 4, 12, 0.2, None, 3),  # not more often than weights change
        (24, 4, 256, 0.2, None, 6),  # not less often than once per epoch
        (24, 4, 4, 0.5, 2, 1),
        (24, 4, 4, 1.0, None, None),
        (24, 4, 4, 3, None, None),
    ],
)
def test_how_often_a_run_validates(
    samples: int, size: int, effective: int, share: float, limit: int | None, expected: int | None,
    tables: Callable[[str], Path],
) -> None:  # fmt: skip
    given = {
        "data_root": str(tables("food101")), "backbone": "tiny", "num_gpus": 0, "image_size": 32,
        "method": "linear_probe", "per_gpu_batchsize": size, "batch_size": effective, "val_check_interval": share,
        "limit_batches": limit,
    }  # fmt: skip
    experiment = Experiment(Settings.of(given))
    assert len(experiment.data.tables["train"]) == samples
    assert experiment.batches_between_validations() == expected


def test_datasets_have_their_other_names(tables: Callable[[str], Path]) -> None:
    for name, dataset in (("Food101", "food101"), ("Hatefull_Memes", "hateful_memes"), ("mmimdb", "mmimdb")):
        assert MultimodalData(tables(dataset), dataset=name).info.dataset == dataset


BAD = [
    (["with", "task_finetune_mmimdb", "fusion=single_stream"], "fusion=single_stream"),
    (["with", "task_finetune_food101"], "holds mmimdb, not dataset=food101"),
    (["with", "task_finetune_mmimdb", "missing_type=lidar"], "the table has no modality lidar"),
    (["with", "task_finetune_mmimdb", "image_size=33"], "image_size=33 must be a multiple of"),
    (["predict", "with", "load_path={run}", "scene=."], "predict draws maps of scenes, and "),
    (["evaluate", "with", "load_path={run}", "evaluate_types=hsi"], "missing type hsi: the table has no modality"),
    (["routing", "with", "load_path={run}", "routing_class=Anime"], "routing_class=Anime: the table has no such"),
    (["standin", "with", "datasets=tables", "data_root={parent}"], "holds no scene, and this command is for scenes"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m[:30] for _, m in BAD])
def test_mistakes_are_told_in_one_line_and_nothing_is_created(
    arguments: list[str], message: str, movies: Path, tables: Callable[[str], Path], tmp_path: Path
) -> None:
    root = tables("mmimdb")
    command, named, own = arguments[0], [], arguments[1:]
    if command != "with":
        named, own = ["with"], arguments[2:]
    filled = [argument.format(run=movies, parent=root.parent) for argument in own]
    result = run(command, *named, f"data_root={root}", *SMALL, f"log_dir={tmp_path}", *filled)
    assert result.returncode == 1
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_genres_are_not_compared_sample_by_sample(movies: Path) -> None:
    with pytest.raises(MamolError, match="have any number of classes, and only predictions with one class per sample"):
        compare(movies, movies)
