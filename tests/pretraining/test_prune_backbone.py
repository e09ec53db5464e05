"""``prune`` of a backbone: R² by the decoder of its pre-training, a folder that runs are trained on, mistakes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mamol
from mamol.api.made import Made
from mamol.api.pretrain import pretraining
from mamol.backbones.mixture.folder import read_pretrained
from mamol.backbones.mixture.tower import NAMED
from mamol.core.errors import MamolError
from mamol.core.seal import read_sealed_json
from mamol.core.settings import Settings
from mamol.data.tables import open_tables
from mamol.evaluation import prune_backbone, reconstructions
from mamol.training.quiet import quiet
from tests.lines import trained
from tests.mixtures import small_folder

QUIET: dict[str, Any] = {"num_gpus": 0, "threads": 1, "progress_bar": False, "precision": 32}
LEARNT = {**QUIET, "backbone": "tiny", "batch_size": 16, "per_gpu_batchsize": 16, "max_epoch": 1, "window": 4}


@pytest.fixture(scope="module", autouse=True)
def everything_is_small() -> Iterator[None]:
    """``tiny`` of width 16 with six blocks; pictures, scores and measures of a few windows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NAMED, "tiny", (16, 6, 2))
        patch.setattr(reconstructions, "SHOWN", 1)
        patch.setattr(reconstructions, "WINDOWS", 16)
        patch.setattr(prune_backbone, "SAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def made(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder of a pre-training on the tables."""
    log_dir = tmp_path_factory.mktemp("runs")
    given = {**LEARNT, "window": None, "data_root": str(table_folder), "log_dir": str(log_dir)}
    with quiet():
        return pretraining(Settings.of(given)).folder.parent


@pytest.fixture(scope="module")
def small(made: Path, table_folder: Path) -> Made:
    """One expert in each mixture, for HSI and LiDAR."""
    return mamol.prune(made, "lidar,hsi", tau=9, data_root=table_folder, **QUIET)


def test_a_pruned_backbone_is_smaller_and_says_where_it_is_from(small: Made, made: Path) -> None:
    assert small.folder == made / "pruned"
    source, left = read_pretrained(made / "backbone"), read_pretrained(small.folder)
    assert [each.name for each in left.sizes.sensors] == ["hsi", "lidar"]
    assert left.sizes.experts_per_block == (1, 1, 1)
    assert left.sources == source.sources
    told = read_sealed_json(small.folder / "report.json", "")
    assert told["from"]["fingerprint"] == json.loads((made / "backbone" / "backbone.json").read_text())["weights"]
    assert left.card["pruned"]["from"] == told["from"]
    assert left.card["pruned"]["keep"] == ["hsi", "lidar"]
    assert "r2" not in left.card
    assert left.card["steps"] == source.card["steps"]
    before, after = (told["parameters"][when] for when in ("before", "after"))
    assert after["experts"] * 4 == before["experts"]
    assert before["total"] == sum(value.numel() for value in source.tensors().values())
    assert after["total"] == sum(value.numel() for value in left.tensors().values())
    assert after["other"] == before["other"]
    assert before["total"] == sum(value for name, value in before.items() if name != "total")


def test_r2_is_told_of_every_kept_sensor_and_pattern(small: Made) -> None:
    scores = read_sealed_json(small.folder / "report.json", "")["scores"]
    patterns = ("hsi+lidar", "hsi", "lidar")
    assert {(row["present"], row["score"]) for row in scores} == {
        (pattern, f"R² of {name}") for pattern in patterns for name in ("hsi", "lidar")
    }
    assert any(row["before"] != row["after"] for row in scores)


def test_at_tau_0_r2_is_the_same(made: Path, table_folder: Path, small: Made) -> None:
    kept = mamol.prune(made / "backbone", "hsi", tau=0, data_root=table_folder, **QUIET)
    assert kept.folder == made / "pruned_2", "what is there is not replaced"
    scores = read_sealed_json(kept.folder / "report.json", "")["scores"]
    assert [row["score"] for row in scores] == ["R² of hsi"]
    assert all(row["before"] == pytest.approx(row["after"], abs=1e-6) for row in scores)
    before, after = read_pretrained(made / "backbone"), read_pretrained(kept.folder)
    assert after.sizes.experts_per_block is None
    assert all(torch.equal(after.state[name], value) for name, value in before.state.items() if "knowledge" not in name)


def test_methods_run_on_it(small: Made, table_folder: Path, tmp_path: Path) -> None:
    given = (f"backbone={small.folder}", "modalities=hsi,lidar", "max_epoch=1", "limit_batches=1")
    done = trained(tmp_path, f"data_root={table_folder}", *given)
    told = json.loads((done / "metrics.json").read_text())["backbone"]
    assert told["name"] == str(small.folder)
    assert told["transductive"] is True
    again = mamol.prune(done, "hsi", data_root=table_folder, **QUIET)
    assert f"The frozen backbone {small.folder} stays as it is." in again.report
    assert "transductive" in again.report.partition("\n")[0]


def test_a_folder_by_itself_has_no_r2(table_folder: Path, tmp_path: Path) -> None:
    bands = {each.name: each.size for each in open_tables(table_folder)["train"].info.inputs}
    folder = small_folder(tmp_path / "alone" / "backbone", bands)
    done = mamol.prune(folder, "sar", data_root=table_folder, tau=0.5, **QUIET)
    assert done.folder == tmp_path / "alone" / "pruned"
    assert "No R²: it needs the decoder" in done.report
    assert read_sealed_json(done.folder / "report.json", "")["scores"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "radar"}, "keep=radar: .*backbone has hsi, lidar, sar; keep some of them"),
        (
            {"keep": "hsi"},
            "prune: the backbone .* has no table of its own; give data_root=<tables> or scene=<raw folder>",
        ),
        (
            {"keep": "hsi", "patterns": "hsi+sar"},
            r"patterns=hsi\+sar: sar is not in keep=hsi; give patterns of what stays",
        ),
        (
            {"keep": "hsi", "data_root": "{table}", "backbone": "{other}"},
            "has hsi with .* bands, and the backbone has hsi with 3 bands, lidar",
        ),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_is_written(
    options: dict[str, str], message: str, table_folder: Path, tmp_path: Path
) -> None:
    bands = {each.name: each.size for each in open_tables(table_folder)["train"].info.inputs}
    own = bands | {"hsi": 3} if "backbone" in options else bands
    folder = small_folder(tmp_path / "alone" / "backbone", own)
    given = {name: value.format(table=table_folder) for name, value in options.items() if name != "backbone"}
    with pytest.raises(MamolError, match=message):
        mamol.prune(folder, **QUIET, **given)
    assert [path.name for path in folder.parent.iterdir()] == ["backbone"]
