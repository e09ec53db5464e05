"""What a user types and sees: run.py from training to maps, and every mistake told in one line."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from config import ex
from mamol.evaluation.predictions import read_predictions
from tests.lines import QUICK, killed, process, run, trained
from tests.placed import write_placed

NAMED = sorted(ex.named_configs)


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_a_run_leaves_what_the_contract_names(finished_run: Path, table_folder: Path) -> None:
    assert finished_run.name == "done_seed0"
    content = metrics(finished_run)
    test = content["test"]
    assert test["n"] == 36
    assert {"OA", "AA", "kappa"} <= test.keys()
    assert set(test["per_class"]) == {"water", "grass", "crops", "trees", "buildings", "roads"}
    assert sum(p["n"] for p in test["per_pattern"].values()) == 36
    assert test["per_pattern"].keys() == content["missing"]["test"]["patterns"].keys()
    assert {"trainable", "total"} <= content["params"].keys()
    assert content["data"]["protocol"] == "disjoint"
    assert content["backbone"]["weights"].startswith("random")
    best, last = sorted((finished_run / "checkpoints").iterdir())
    assert best.name.startswith("best")
    assert last.name == "last.ckpt"
    history = pd.read_csv(finished_run / "history.csv")
    assert history["epoch"].tolist() == [0, 1]
    assert {"train/loss", "val/loss", "val/OA", "lr"} <= set(history.columns)
    for name in ("config.json", "confusion.png", "curves.png", "sacred/1/run.json"):
        assert (finished_run / name).is_file(), name
    assert len(list((finished_run / "sacred").glob("[0-9]*"))) == 1


def test_test_only_overrides_the_test_patterns_and_keeps_the_run(finished_run: Path, table_folder: Path) -> None:
    before = {p: p.read_bytes() for p in finished_run.rglob("*.json")}
    arguments = [f"data_root={table_folder}", "exp_name=done", "test_only=True", f"load_path={finished_run}"]
    complete = trained(finished_run.parent, *arguments, "test_ratio=0.0")
    assert complete.name.startswith("done_seed0_")
    assert metrics(complete)["test"]["per_pattern"].keys() == {"hsi+lidar+sar"}
    assert metrics(complete)["missing"]["val"]["incomplete_percent"] == pytest.approx(70, abs=3)
    same = trained(finished_run.parent, *arguments)
    assert metrics(same)["test"] == metrics(finished_run)["test"]
    assert not (same / "checkpoints").exists()
    assert all(p.read_bytes() == content for p, content in before.items())


@pytest.mark.parametrize("name", NAMED)
def test_every_named_config_runs_two_batches(name: str, table_folder: Path, tmp_path: Path) -> None:
    result = run(
        "with", f"data_root={table_folder}", name, *QUICK, "dataset=", "max_epoch=1", "limit_batches=2",
        f"log_dir={tmp_path}", "modalities=", "num_workers=0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-1500:]
    assert metrics(Path(result.stdout.splitlines()[-1]))["test"]["n"] == 16


def test_a_killed_run_goes_on_to_the_same_result(table_folder: Path, tmp_path: Path) -> None:
    arguments = [f"data_root={table_folder}", "missing_type=all", "resample_missing=True", "max_epoch=4"]
    whole = trained(tmp_path, *arguments, "exp_name=whole")
    part = tmp_path / "part_seed0"
    kill_after_two_epochs(part, "with", "remote", *QUICK, f"log_dir={tmp_path}", "exp_name=part", *arguments)
    assert not (part / "metrics.json").exists()
    again = trained(tmp_path, *arguments, "exp_name=part", f"resume_from={part}/checkpoints/last.ckpt")
    assert again == part
    assert metrics(again)["test"] == metrics(whole)["test"]
    first, second = (pd.read_csv(folder / "history.csv") for folder in (whole, again))
    pd.testing.assert_frame_equal(first, second, rtol=1e-6)
    assert len(list((again / "checkpoints").glob("best*"))) == 1


def kill_after_two_epochs(folder: Path, *arguments: str) -> None:
    """Starts run.py and kills it once two epochs are written down."""
    history, last = folder / "history.csv", folder / "checkpoints" / "last.ckpt"
    killed(lambda: history.exists() and len(pd.read_csv(history)) >= 2 and last.exists(), *arguments)


@pytest.mark.usefixtures("tiny")
def test_two_processes_do_what_one_does(table_folder: Path, tmp_path: Path) -> None:
    arguments = [f"data_root={table_folder}", "max_epoch=2", "test_type=lidar+sar"]
    alone = trained(tmp_path, *arguments, "exp_name=alone")
    command = ["with", "remote", *QUICK, *arguments, f"log_dir={tmp_path}", "exp_name=pair"]
    pair = process("run.py", *command, "cpu_processes=2", "per_gpu_batchsize=4")
    assert pair.returncode == 0, pair.stderr[-2000:]
    assert pair.stdout.count("pair_seed0\n") == 1, "only rank 0 speaks"
    assert "GPU available" in pair.stdout
    assert "💡" not in pair.stdout + pair.stderr
    for name in ("confusion", "curves"):
        assert (tmp_path / "pair_seed0" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    first, second = metrics(alone), metrics(tmp_path / "pair_seed0")
    assert first["missing"] == second["missing"]
    assert first["test"]["n"] == second["test"]["n"] == 36
    assert {k: v["n"] for k, v in first["test"]["per_pattern"].items()} == {
        k: v["n"] for k, v in second["test"]["per_pattern"].items()
    }
    kept = [read_predictions(folder) for folder in (alone, tmp_path / "pair_seed0")]
    pd.testing.assert_frame_equal(*(k[["index", "row", "col", "label", "pattern"]] for k in kept))
    assert kept[1]["index"].tolist() == list(range(36)), "each sample once"
    assert 100 * (kept[1]["prediction"] == kept[1]["label"]).mean() == pytest.approx(second["test"]["OA"])
    losses = [pd.read_csv(folder / "history.csv")["train/loss"] for folder in (alone, tmp_path / "pair_seed0")]
    pd.testing.assert_series_equal(*losses, rtol=1e-3)
    assert len(list((tmp_path / "pair_seed0" / "sacred").glob("[0-9]*"))) == 1
    assert not (tmp_path / "pair_seed0_2").exists()


def test_lists(tmp_path: Path) -> None:
    assert "houston2013" in run("datasets", cwd=tmp_path).stdout
    assert "mamol" in run("methods", cwd=tmp_path).stdout
    shown = run("print_config", "with", "remote", cwd=tmp_path).stdout
    shown = re.sub(r"\x1b\[\d+m", "", shown)  # colours
    for key in ex.configurations[0]():
        line = next(line for line in shown.splitlines() if line.strip().startswith((f"{key} = ", f"{key}:")))
        assert "#" in line or key == "seed", f"{key} has no explanation"
    assert list(tmp_path.iterdir()) == []


def test_predict_draws_every_pattern(finished_run: Path, scene_folder: Path, tmp_path: Path) -> None:
    scene = write_placed(scene_folder, tmp_path / "scene", "corner", slice(0, 6), slice(0, 6))
    result = run("predict", "with", *QUICK, f"load_path={finished_run}", f"scene={scene.parent}", "present=each")
    assert result.returncode == 0, result.stderr[-1500:]
    written = [Path(line) for line in result.stdout.splitlines() if line.endswith(".png")]
    assert len(written) == 7
    assert len(set(written)) == 7
    assert all(path.is_file() and path.parent == finished_run / "maps" for path in written)


BAD: list[tuple[list[str], str]] = [
    (["data_root={table}", "seed=x"], "seed='x' must be a whole number"),
    (["data_root={table}", "seeed=1"], "unknown option seeed, did you mean seed?"),
    (["data_root={table}", "missing_ratio.trian=0.5"], "missing_ratio="),
    (["data_root={table}", "test_ratio=2"], "test_ratio=2 must be None or a number from 0 to 1"),
    (["data_root={table}", "test_type=radar"], "missing type radar: the table has no modality radar"),
    (["data_root={table}", "availability.radar=0.5"], "availability: the table has no modality radar"),
    (["data_root={table}", "modalities=[hsi,ms]"], "has only hsi, lidar, sar"),
    (["data_root={table}", "modalities=hsi,hsi"], "names one of them twice"),
    (["data_root={table}", "threads=0"], "threads=0 must be auto or a whole number of at least 1"),
    (["data_root={table}", "plugins=nowhere.py"], "plugins=nowhere.py: there is no such Python file"),
    (["data_root={table}", "head=nothing"], "head='nothing' must be one of class"),
    (["data_root={table}", "dataset=trento"], "holds synthetic, not dataset=trento"),
    (["data_root={table}", "num_gpus=7"], "num_gpus=7: this machine has 0"),
    (["data_root={table}", "batch_size=12"], "batch_size=12 must be a multiple of"),
    (["data_root={table}", "expert_blocks=last13"], "the tower has the blocks 0 to 11"),
    (["data_root={table}", "backbone=ViT-Z"], "ViT-Z"),
    (["data_root={table}", "backbone=ViT-B-32", "clip_weights=/nowhere/w.pt"], "/nowhere/w.pt"),
    (["data_root={table}", "load_path=none.safetensors"], "there is no such file"),
    (["data_root={table}", "resume_from={run}/checkpoints/last.ckpt"], "that run is finished and stays as it is"),
    (["data_root={table}", "resume_from={run}/config.json"], "is not the last.ckpt of a run"),
    (["data_root={table}", "load_path={run}", "modalities=[hsi,lidar]"], "belongs to another network or other data"),
    (["data_root={table}", "load_path={run}", "rank=4"], "rank 8 there, 4 here"),
    (["data_root=nowhere"], "nowhere"),
    ([], "data_root is not set"),
    (["data_root={table}", "nonsense"], "nonsense"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) or "none" for a, _ in BAD])
def test_mistakes_are_told_in_one_line_and_nothing_is_created(
    arguments: list[str], message: str, table_folder: Path, finished_run: Path, tmp_path: Path
) -> None:
    filled = [a.format(table=table_folder, run=finished_run) for a in arguments]
    result = run("with", "remote", *QUICK, f"log_dir={tmp_path / 'runs'}", *filled, cwd=tmp_path)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 1, result.stderr[-1500:]
    assert len(errors) == 1, result.stderr[-1500:]
    assert message in errors[0]
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load_path={run}"], "predict needs load_path=<checkpoint> and scene="),
        (["load_path={run}", "scene={scene}", "present=radar"], "the checkpoint has no modality radar"),
        (["load_path={run}", "scene={run}"], "error: "),
    ],
)
def test_predict_mistakes(arguments: list[str], message: str, finished_run: Path, scene_folder: Path) -> None:
    filled = [a.format(run=finished_run, scene=scene_folder) for a in arguments]
    result = run("predict", "with", *QUICK, *filled)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_checkpoints_hold_the_trainable_part_only(finished_run: Path) -> None:
    (best,) = (finished_run / "checkpoints").glob("best*")
    with safe_open(best, "pt") as file:
        assert not any(name.startswith("tower") for name in file.keys())  # noqa: SIM118
    trainable = 4 * metrics(finished_run)["params"]["trainable"]
    assert best.stat().st_size < 1.1 * trainable
    assert (finished_run / "checkpoints" / "last.ckpt").stat().st_size < 3.3 * trainable, "with Adam's two means"
