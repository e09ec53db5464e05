"""Runs that the first version finished are found again: the names of their folders, as that version made them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mamol.core.settings import Settings
from mamol.data.imagetext.info import ImageTextInfo
from mamol.data.sceneinfo import SceneInfo
from mamol.data.tableinfo import TableInfo
from mamol.experiments.reproduce.plan import Base, Source, fingerprint_of, identity_of
from mamol.experiments.reproduce.variants import variants

COUNTS = {"train": {"water": 8}, "val": {"water": 4}, "test": {"water": 6}}
SCENE = SceneInfo(
    format_version=1,
    dataset="synthetic",
    scene="synthetic",
    note="drawn",
    modalities={"hsi": 2, "lidar": 1},
    classes=("water",),
    patch_size=4,
    layout="patches",
    protocol="disjoint",
    seed=0,
    split="train",
    counts=COUNTS,
    shortfall={},
    mean={"hsi": [0.5, 1.5], "lidar": [2.0]},
    std={"hsi": [1.0, 1.0], "lidar": [3.0]},
    sources={"HSI.mat": "a1"},
    overlap={"identical_percent": 0.0},
    scene_shape=(32, 36),
    output="o",
)
MOVIES = ImageTextInfo(
    format_version=1,
    dataset="mmimdb",
    note="",
    classes=("Drama",),
    task="genres",
    plots="all",
    split="train",
    counts={split: {"Drama": number["water"]} for split, number in COUNTS.items()},
    samples={"train": 8, "val": 4, "test": 6},
    dropped={},
    sources={"split.json": "b2"},
    output="o",
)

DATA = "af372955630f1a457680a3b587ee39c0248b7bc26ef872d278f84e8455b21c11"
OPTIONS = {
    "backbone": "tiny",
    "max_epoch": 1,
    "limit_batches": 2,
    "batch_size": 8,
    "per_gpu_batchsize": 8,
    "num_gpus": 0,
    "progress_bar": False,
    "clip_weights": "openai",
}
ROW = {"missing_ratio": 0.7, "missing_type": "both"}
FOLDERS = {
    "mamol": "67e1bb7914292fab",
    "baseline": "6e0a378109da32a5",
    "linear_probe": "1e467d476f0040cc",
    "lora": "71fb716d8165e391",
    "lora_pattern": "d94351bcc7669c31",
    "mmp": "d04685d15239372d",
    "dcp": "266fae5be6882625",
    "dcp_released": "fe2b27086a8019c0",
    "moe_rep": "be7d889138f5b36b",
    "moe_ada": "166c0b960167683c",
    "moe_task": "20adddf48d8ab8ec",
    "no_dynamic": "7424a2be65919532",
    "no_static": "f0ccae2679506d4e",
    "no_modality": "710188bc0f22c943",
    "mamol_dyn": "f0ccae2679506d4e",
}


def folder(log_dir: Path, method: str = "mamol", **options: Any) -> str:
    """The folder's name of a run of Table 5 on LiDAR and SAR."""
    config = {**OPTIONS, "log_dir": str(log_dir), **options}
    source = Source("patches", Path("/patches"), SCENE, ("lidar", "sar"), DATA)
    base = Base.of(config, Settings.of(config))
    assert base.weights == "openai"
    return base.job("a run", source, {**ROW, **variants()[method]}, 0).folder.name


def test_the_folder_of_a_run_is_that_of_the_first_version(tmp_path: Path) -> None:
    assert {name: folder(tmp_path, name) for name in FOLDERS} == {name: f"{key}_seed0" for name, key in FOLDERS.items()}


def test_options_that_came_later_count_where_they_are_not_the_default(tmp_path: Path) -> None:
    assert folder(tmp_path, head="class", threads=1, plugins="", missing_fill=0.0) == f"{FOLDERS['mamol']}_seed0"
    settings = Settings()
    for name, value in {"head": "another", "volumetric": True, "compensate": True}.items():
        other = replace(settings, network=replace(settings.network, **{name: value}))
        assert identity_of(other) == {**identity_of(settings), name: value}
        assert name not in identity_of(settings)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (SCENE, "4bdf8156598b29c03d0227226c4b4ca094eb5126093c488e479f837c31d3d7cd"),
        (MOVIES, "80709b375c083f2af137ca49efbc6b9618345782664f48f12c59603ad062d0e2"),
    ],
    ids=["scene", "images and texts"],
)
def test_the_fingerprint_of_tables_is_that_of_the_first_version(info: TableInfo, expected: str) -> None:
    tables: Any = {split: SimpleNamespace(info=info, fingerprint=split) for split in ("train", "val", "test")}
    assert fingerprint_of(tables) == expected
