"""``merge`` of a run: what it writes is a run of a plain tower, with the same outputs under its pattern."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import mamol
from mamol.api.made import Made
from mamol.backbones.architectures import TINY
from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import vision_transformer
from mamol.core.backbone import Origin
from mamol.core.errors import MamolError
from mamol.core.seal import read_sealed_json, verify
from mamol.evaluation import merge_run
from mamol.network.network import Network
from mamol.training.checkpoints import read_checkpoint
from tests.lines import QUICK, run
from tests.toys import NARROW

QUIET = {"num_gpus": 0, "progress_bar": False, "threads": 1, "precision": 32}
MLP = 4 * NARROW
RANK = (1 + 1 + 2) * 8
"""Of a routed expert, the shared one and those of two modalities."""


@pytest.fixture(scope="module")
def source(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one routed expert per block; its own tables are where its config says."""
    folder = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("source") / "run"))
    return mamol.prune(folder, "hsi,lidar,sar", tau=9, **QUIET).folder


@pytest.fixture(scope="module")
def small(source: Path) -> Made:
    """It, for HSI and SAR."""
    return mamol.merge(source, "sar+hsi", **QUIET)


@pytest.fixture(scope="module")
def told(small: Made) -> dict[str, Any]:
    """Its report."""
    return read_sealed_json(small.folder / "report.json", "")


def predicted(run: mamol.Run) -> Any:
    """Of some windows of HSI and SAR, with holes."""
    windows = {
        name: torch.randn(7, run.modalities[name], 4, 4, generator=torch.Generator().manual_seed(bands)).numpy()
        for name, bands in run.modalities.items()
        if name != "lidar"
    }
    windows["sar"][3, :, :1] = np.nan
    return run.predict(windows)


def test_predictions_are_those_of_the_run(small: Made, source: Path, told: dict[str, Any]) -> None:
    before, after = (predicted(mamol.load(folder, **QUIET)) for folder in (source, small.folder))
    assert after == pytest.approx(before, abs=1e-5)
    assert 0 <= told["difference"] <= 1e-5
    assert told["windows"] == 32, "as many as one batch has"


def test_the_report_says_what_it_is(small: Made, source: Path, told: dict[str, Any]) -> None:
    assert small.folder == source / "merged"
    (best,) = (source / "checkpoints").glob("best*")
    assert (told["from"]["path"], told["from"]["sha256"]) == (str(best), verify(best, ""))
    assert (told["present"], told["ranks"]) == ("hsi+sar", [0] * 6 + [RANK] * 6)
    assert told["cost_of_an_mlp"] == 1 + 2 * RANK / MLP
    counts = told["parameters"]
    assert counts["after"]["experts"] == counts["after"]["routers"] == 0
    units = 2 * RANK * (2 * NARROW + 1)
    assert counts["after"]["frozen"] == counts["before"]["frozen"] + 6 * units
    rows = {(row["present"], row["score"]): row for row in told["scores"]}
    assert {present for present, _ in rows} == {"hsi+sar", "hsi", "sar"}
    assert rows["hsi+sar", "OA"]["after"] == pytest.approx(rows["hsi+sar", "OA"]["before"])
    assert all(milliseconds > 0 for milliseconds in told["milliseconds"].values())
    text = (small.folder / "report.md").read_text("utf-8")
    assert text.strip() == str(small)
    assert "random frozen weights" in text.partition("\n")[0]
    assert "MLPs of the blocks 6, 7, 8, 9, 10, 11; such an MLP costs 1.5000 times a frozen one at most" in text


def test_a_plain_clip_of_wider_mlps_takes_the_tower(small: Made, source: Path) -> None:
    path = small.folder / "tower.safetensors"
    verify(path, "")
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["mamol"])
    assert (described["mlp_width"], described["random_weights"]) == (MLP + 2 * RANK, True)
    sizes = {"grid": 4, "width": NARROW, "output_dim": NARROW}
    visual = vision_transformer(replace(TINY.visual, **sizes, mlp_ratio=described["mlp_width"] / NARROW))
    visual.load_state_dict({name.removeprefix("visual."): value for name, value in load_file(path).items()})
    merged = mamol.load(small.folder, **QUIET)
    before = predicted(merged)
    assert isinstance(merged.network, Network)
    merged.network.towers["visual"] = VisualTower(visual, Origin("the file"))
    assert predicted(merged) == pytest.approx(before, abs=1e-5)


def test_every_command_takes_a_merged_run(
    small: Made, table_folder: Path, corner_folder: Path, tmp_path: Path, no_pictures: None
) -> None:
    given = (*QUICK, f"load_path={small.folder}", f"log_dir={tmp_path}")
    options = ("modalities=hsi,sar", "method=baseline", "test_only=True", "test_ratio=0")
    done = run("with", "remote", *given, f"data_root={table_folder}", *options)
    assert done.returncode == 0, done.stderr
    tested = json.loads((Path(done.stdout.splitlines()[-1]) / "metrics.json").read_text())["test"]
    told = read_sealed_json(small.folder / "report.json", "")["scores"]
    wanted = {row["score"]: row["after"] for row in told if row["present"] == "hsi+sar"}
    assert {name: tested[name] for name in wanted} == pytest.approx(wanted)
    for command, more in (
        ("evaluate", ("evaluate_ratios=0.5", "evaluate_types=both", f"data_root={table_folder}")),
        ("predict", (f"scene={corner_folder}",)),
    ):
        done = run(command, "with", *given, *more)
        assert done.returncode == 0, (command, done.stderr)


def test_an_adapter_of_it_is_enough(small: Made, tmp_path: Path) -> None:
    saved = mamol.load(small.folder, **QUIET).save(tmp_path / "adapter")
    assert np.array_equal(predicted(mamol.load(saved, **QUIET)), predicted(mamol.load(small.folder, **QUIET)))


def test_what_is_there_is_not_replaced(small: Made, source: Path) -> None:
    again = mamol.merge(source, "lidar", **QUIET)
    assert again.folder == source / "merged_2"
    assert read_checkpoint(again.folder)[0].network.names == ("lidar",)
    assert (small.folder / "report.json").is_file()


def test_one_that_differs_is_refused_and_nothing_is_written(
    source: Path, small: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_run, "TOLERANCE", 1e-12)
    before = sorted(source.rglob("*"))
    with pytest.raises(MamolError, match=r"merge: the logits would differ by \d\.\de-\d\d from those of the run, more"):
        mamol.merge(source, "hsi+sar+lidar", **QUIET)
    assert sorted(source.rglob("*")) == before


def test_several_routed_experts_are_refused(finished_run: Path) -> None:
    said = run("merge", "with", *QUICK, f"load_path={finished_run}", "present=hsi")
    assert said.returncode == 1
    assert said.stderr == (
        "error: block 6 has 2 routed experts, among which each token chooses: leave one in each block first, with "
        "prune, keep=<the same modalities> and a large tau=99, and merge the pruned run\n"
    )
    assert not (finished_run / "merged").exists()


def test_samples_without_any_of_the_pattern_are_left_out(tmp_path: Path) -> None:
    rng, labels = np.random.default_rng(0), np.repeat([[1, 2]], 16, 0).repeat(8, 1)
    arrays = {name: rng.normal(size=(16, 16, 3)).astype("float32") for name in ("hsi", "sar")}
    arrays["sar"][:5] = np.nan
    sizes = {"train_per_class": 16, "val_per_class": 4, "test_per_class": 40}
    mamol.build_tables(arrays, labels, out=tmp_path / "tables", patch_size=4, classes=["a", "b"], **sizes)
    options = {"backbone": "tiny", "max_epoch": 1, "experts_dynamic": 1, "log_dir": tmp_path}
    done = mamol.train(tmp_path / "tables", **options, **QUIET)
    told = read_sealed_json(mamol.merge(done.folder, "sar", **QUIET).folder / "report.json", "")
    assert {row["present"] for row in told["scores"]} == {"sar"}
    assert all(row["before"] == row["after"] for row in told["scores"])
