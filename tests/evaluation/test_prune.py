"""``prune`` of a run: what it writes is a run that every command takes, and says what changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib.figure
import pandas as pd
import pytest
import torch

import mamol
from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.pruning import Cut
from mamol.core.seal import read_sealed_json, verify
from mamol.evaluation import pruned as report
from mamol.evaluation.pruned import FOLDER, Pruning, cut_of
from mamol.evaluation.saliency import shares
from mamol.network.parameters import count
from mamol.network.pruning import prunable, pruned
from mamol.training.checkpoints import read_checkpoint
from mamol.training.restoring import restore
from tests.lines import QUICK, run, trained
from tests.toys import NARROW

QUIET = {"num_gpus": 0, "progress_bar": False, "threads": 1, "precision": 32}
KEPT = ["hsi+sar", "hsi", "sar"]


@pytest.fixture(scope="module")
def source(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose folder may be written to."""
    return Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("source") / "run"))


@pytest.fixture(scope="module")
def small(source: Path) -> Made:
    """One expert in each block, for HSI and SAR; its own tables are where its config says."""
    return mamol.prune(source, "sar,hsi", tau=9, **QUIET)


@pytest.fixture(scope="module")
def told(small: Made) -> dict[str, Any]:
    """Its report."""
    return read_sealed_json(small.folder / "report.json", "")


def predicted(run: mamol.Run) -> Any:
    """Of some windows of HSI and SAR."""
    windows = {
        name: torch.randn(7, run.modalities[name], 4, 4, generator=torch.Generator().manual_seed(bands)).numpy()
        for name, bands in run.modalities.items()
        if name != "lidar"
    }
    return run.predict(windows)


def test_a_pruned_run_is_smaller_and_says_where_it_is_from(small: Made, source: Path, told: dict[str, Any]) -> None:
    assert small.folder == source / "pruned"
    (best,) = (source / "checkpoints").glob("best*")
    assert told["from"]["path"] == str(best)
    assert told["from"]["sha256"] == verify(best, "")
    assert (told["keep"], told["patterns"], told["tau"]) == (["hsi", "sar"], KEPT, 9)
    assert {len(kept) for kept in told["experts"].values()} == {1}
    assert all(
        kept.keys() == {str(max(range(2), key=told["shares"][layer].__getitem__))}
        for layer, kept in told["experts"].items()
    )
    before, after = (told["parameters"][when] for when in ("before", "after"))
    assert before["experts"] - after["experts"] == 6 * 2 * 2 * 8 * NARROW  # of each block an expert, and that of lidar
    assert all(after[name] < before[name] for name in ("embedding", "routers", "head", "trainable", "total"))
    assert after["frozen"] == before["frozen"]
    before, after = (told["multiply_adds"][when] for when in ("before", "after"))
    assert list(before) == KEPT
    assert all(after[name] < before[name] for name in KEPT)
    assert before["hsi+sar"] == pytest.approx(before["hsi"] + before["sar"], rel=0.01)


def test_the_files_agree_with_each_other(small: Made, told: dict[str, Any]) -> None:
    text = (small.folder / "report.md").read_text("utf-8")
    assert text.strip() == str(small)
    assert "Kept: hsi, sar. Gone: lidar. tau=9" in text
    assert "random frozen weights" in text.partition("\n")[0]
    used = pd.read_csv(small.folder / "usage.csv")
    assert sorted(used["pattern"].unique()) == sorted(KEPT)
    assert used.query("pattern == 'hsi' and layer == 6 and expert == 0")["tokens"].item() == 48 * 17
    info, _ = read_checkpoint(small.folder)
    assert info.network.names == ("hsi", "sar")
    assert info.network.method_options["experts_per_block"] == [1] * 6
    config = json.loads((small.folder / "config.json").read_text())
    assert (config["modalities"], config["experts_per_block"]) == (["hsi", "sar"], [1] * 6)


def test_scores_are_those_of_a_test(small: Made, source: Path, told: dict[str, Any], table_folder: Path) -> None:
    for folder, when, gone in ((source, "before", "hsi+lidar"), (small.folder, "after", "hsi")):
        grid = mamol.load(folder, **QUIET).evaluate(table_folder, [1.0], [gone])  # all samples have SAR alone
        wanted = {row["score"]: row[when] for row in told["scores"] if row["present"] == "sar"}
        assert set(wanted) == {"OA", "AA", "kappa"}
        assert wanted == pytest.approx({name: grid.iloc[0][name] for name in wanted})


def test_every_command_takes_a_pruned_run(
    small: Made, table_folder: Path, corner_folder: Path, tmp_path: Path, no_pictures: None
) -> None:
    given = (*QUICK, f"load_path={small.folder}", f"log_dir={tmp_path}")
    done = run(
        "with", "remote", *given, f"data_root={table_folder}", "modalities=hsi,sar", "test_only=True", "test_ratio=0"
    )
    assert done.returncode == 0, done.stderr
    tested = json.loads((Path(done.stdout.splitlines()[-1]) / "metrics.json").read_text())
    wanted = {row["score"]: row["after"] for row in scores_of(small) if row["present"] == "hsi+sar"}
    assert {name: tested["test"][name] for name in wanted} == pytest.approx(wanted)
    for command, more in (
        ("evaluate", ("evaluate_ratios=0.5", "evaluate_types=both", f"data_root={table_folder}")),
        ("routing", (f"data_root={table_folder}",)),
        ("predict", (f"scene={corner_folder}",)),
        ("prune", ("keep=sar", "tau=0", f"data_root={table_folder}")),
    ):
        done = run(command, "with", *given, *more)
        assert done.returncode == 0, (command, done.stderr)
    assert (small.folder / "pruned" / "report.json").is_file()


def scores_of(small: Made) -> list[dict[str, Any]]:
    """Those of its report."""
    found: list[dict[str, Any]] = read_sealed_json(small.folder / "report.json", "")["scores"]
    return found


def test_training_goes_on_from_a_pruned_run(small: Made, table_folder: Path, tmp_path: Path) -> None:
    given = (f"data_root={table_folder}", f"load_path={small.folder}", "modalities=hsi,sar", f"log_dir={tmp_path}")
    done = run("with", "remote", *QUICK, *given, "max_epoch=1", "limit_batches=1")
    assert done.returncode == 0, done.stderr
    options = json.loads((Path(done.stdout.splitlines()[-1]) / "config.json").read_text())
    assert options["experts_per_block"] == [1] * 6


@pytest.mark.usefixtures("figures")
def test_at_tau_0_nothing_changes(source: Path, table_folder: Path, small: Made) -> None:
    kept = mamol.prune(source, "hsi,sar", tau=0, data_root=table_folder, patterns="sar", **QUIET)
    assert kept.folder == source / "pruned_2", "what is there is not replaced"
    assert (small.folder / "report.json").is_file()
    both = [predicted(mamol.load(folder, **QUIET)) for folder in (source, kept.folder)]
    assert both[1] == pytest.approx(both[0], abs=1e-6)
    told = read_sealed_json(kept.folder / "report.json", "")
    assert told["patterns"] == ["sar"]
    assert told["parameters"]["after"]["routers"] == told["parameters"]["before"]["routers"] - 8
    assert all(row["before"] == pytest.approx(row["after"]) for row in told["scores"])
    assert (kept.folder / "pruned.png").stat().st_size > 10_000


def test_parameters_fall_with_tau(source: Path, small: Made) -> None:
    info, state = read_checkpoint(source)
    network = prunable(restore(info, state, "", source), 2)
    found = shares(pd.read_csv(small.folder / "usage.csv"))
    taus = (0, 0.3, 0.6, 0.9, 1.05, 1.2, 1.5, 3)
    totals = [count(pruned(network, cut_of((0, 2), found, tau)))["total"] for tau in taus]
    assert totals == sorted(totals, reverse=True)
    assert totals[0] > totals[-1]


def test_another_method_is_refused_before_anything_is_written(table_folder: Path, tmp_path: Path) -> None:
    done = trained(tmp_path, f"data_root={table_folder}", "method=linear_probe", "max_epoch=1", "limit_batches=1")
    before = sorted(done.rglob("*"))
    said = run("prune", "with", *QUICK, f"load_path={done}", "keep=hsi")
    assert said.returncode == 1
    assert said.stderr == (
        "error: method=linear_probe has no experts that can be taken out; prune takes runs of method=mamol on windows, "
        "and the folders of backbones that pretrain wrote\n"
    )
    assert sorted(done.rglob("*")) == before


def test_nothing_is_left_of_one_that_fails(tmp_path: Path) -> None:
    def fill(folder: Path) -> str:
        (folder / "some").write_text("text")
        raise MamolError("no")

    with pytest.raises(MamolError, match="no"):
        new_folder(tmp_path / "home", FOLDER, fill)
    assert not (tmp_path / "home").exists()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are saved."""
    figures: list[matplotlib.figure.Figure] = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def test_the_figure_shows_what_went(drawn: list[matplotlib.figure.Figure], tmp_path: Path) -> None:
    made = Pruning(
        source={},
        keep=["hsi"],
        gone=["sar"],
        patterns=["hsi"],
        tau=0.5,
        used=pd.DataFrame(),
        shares={3: torch.tensor([1.8, 0.2]).numpy(), 5: torch.tensor([1.0, 0.9, 1.1]).numpy()},
        cut=Cut((0,), {3: (0,), 5: (0, 1, 2)}),
        parameters=({"experts": 2000, "head": 10, "total": 9000}, {"experts": 1000, "head": 10, "total": 8000}),
        multiply_adds=({"hsi": 10}, {"hsi": 9}),
        scores=pd.DataFrame([{"present": "hsi", "score": "OA", "before": 80.0, "after": None}]).astype(
            {"after": float}
        ),
        title="a title",
    )
    made.write(tmp_path)
    (figure,) = drawn
    parameters, scores, shares = figure.axes
    assert [text.get_text() for text in parameters.texts] == ["−50 %", "same", "−11 %"]
    assert scores.get_xlabel() == "OA (%)"
    assert [line.get_xydata()[:, 0].mean() for line in shares.lines] == [0], "one is struck out"
    assert read_sealed_json(tmp_path / "report.json", "")["scores"][0]["after"] is None
