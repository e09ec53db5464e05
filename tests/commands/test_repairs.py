"""What once went wrong without a word: shared folders, other options on resume, NaN, configs that run code."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

import make_arrow
from mamol.training.checkpoints import SETTINGS, read_checkpoint, read_pickle, write_state
from tests.commands.test_command_line import kill_after_two_epochs
from tests.lines import QUICK, Finished, forked, run, trained


def refused(result: Finished) -> str:
    """The one line that a refused command leaves."""
    assert result.returncode == 1, result.stdout[-1500:]
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    return lines[0]


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- 1. two runs at once ---


def test_two_runs_started_at_once_have_a_folder_each(table_folder: Path, tmp_path: Path) -> None:
    common = ["with", "remote", *QUICK, f"data_root={table_folder}", "max_epoch=1", f"log_dir={tmp_path}"]
    common += ["exp_name=v", "limit_batches=2"]
    both = [forked(*common, f"method={method}") for method in ("mamol", "baseline")]
    for each in both:
        each.join(240)
    assert [each.exitcode for each in both] == [0, 0]
    folders = {tmp_path / "v_seed0", tmp_path / "v_seed0_2"}
    assert folders == set(tmp_path.iterdir())
    methods = {json.loads((folder / "metrics.json").read_text())["method"] for folder in folders}
    assert methods == {"mamol", "baseline"}
    assert all(len(list((folder / "checkpoints").glob("best*"))) == 1 for folder in folders)


# --- 2. and 3. resume ---

ARGUMENTS = ("remote", *QUICK, "max_epoch=4", "resample_missing=True", "threads=1")


@pytest.fixture(scope="module")
def interrupted(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed after two epochs."""
    folder = tmp_path_factory.mktemp("killed") / "part_seed0"
    given = [*ARGUMENTS, f"data_root={table_folder}", f"log_dir={folder.parent}", "exp_name=part"]
    kill_after_two_epochs(folder, "with", *given)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learning_rate=0.5"], "learning_rate 0.002 there, 0.5 here"),
        (["seed=3"], "seed 0 there, 3 here"),
        (["batch_size=16"], "batch_size 8 there, 16 here"),
        (["missing_type=hsi"], "missing_type"),
        (["method=baseline"], "method 'mamol' there, 'baseline' here"),
        (["max_epoch=1"], "max_epoch 4 there, 1 here (it may only grow)"),
        (["precision=bf16-mixed"], "precision 'auto' there, 'bf16-mixed' here"),
        (["modalities=hsi,lidar"], "modalities"),
        (["data_root={other}"], "that run trains on another table"),
        (["data_root={smaller}"], "that run trains on another table"),
        (["backbone=ViT-B-32", "clip_weights=random"], "backbone 'tiny' there, 'ViT-B-32' here"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_run_is_not_continued_with_what_makes_another_result(
    arguments: list[str],
    message: str,
    interrupted: Path,
    table_folder: Path,
    other_seed: Path,
    smaller_windows: Path,
) -> None:
    before = content(interrupted)
    filled = [a.format(other=other_seed, smaller=smaller_windows) for a in arguments]
    given = [*ARGUMENTS, f"data_root={table_folder}", f"log_dir={interrupted.parent}", "exp_name=part", *filled]
    line = refused(run("with", *given, f"resume_from={interrupted}/checkpoints/last.ckpt"))
    assert "resume_from=" in line
    assert message in line
    assert content(interrupted) == before, "a refused command changes nothing"


def test_a_continued_run_may_have_more_epochs_other_paths_and_keeps_its_threads(
    interrupted: Path, table_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "part_seed0"
    shutil.copytree(interrupted, folder)
    tables = tmp_path / "elsewhere"
    shutil.copytree(table_folder, tables)
    given = [*ARGUMENTS, f"data_root={tables}", f"log_dir={tmp_path / 'unused'}", "max_epoch=5", "threads=auto"]
    assert trained(tmp_path, *given[1:], f"resume_from={folder}/checkpoints/last.ckpt") == folder
    assert json.loads((folder / "config.json").read_text())["max_epoch"] == 5
    assert not (tmp_path / "unused").exists()


def test_the_options_of_the_first_version_lie_in_config_json(
    interrupted: Path, table_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "part_seed0"
    shutil.copytree(interrupted, folder)
    last = folder / "checkpoints" / "last.ckpt"
    kept = read_pickle(last)
    assert json.loads(kept.pop(SETTINGS))["threads"] == 1
    torch.save(kept, last)
    given = [*ARGUMENTS, f"data_root={table_folder}", f"log_dir={tmp_path}", f"resume_from={last}"]
    assert "learning_rate" in refused(run("with", *given, "learning_rate=0.5"))
    (folder / "config.json").unlink()
    assert "the options of that run cannot be read" in refused(run("with", *given))


@pytest.fixture(scope="module")
def other_seed(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of the same scene, drawn with another seed."""
    return tables(scene_folder, tmp_path_factory.mktemp("seed"), "--seed", "1", "--patch-size", "4")


@pytest.fixture(scope="module")
def smaller_windows(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of the same scene with windows of another size."""
    return tables(scene_folder, tmp_path_factory.mktemp("small"), "--seed", "2", "--patch-size", "2")


def tables(scene: Path, out: Path, *options: str) -> Path:
    sizes = ["--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    status = make_arrow.main(["--dataset", "synthetic", "--root", str(scene), "--out", str(out), *sizes, *options])
    assert status == 0
    return out


# --- 4. NaN ---


@pytest.fixture
def broken_run(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run whose best checkpoint has a NaN."""
    folder = tmp_path / "broken_seed0"
    shutil.copytree(finished_run, folder)
    (path,) = (folder / "checkpoints").glob("best*")
    info, state = read_checkpoint(path)
    state["head.weight"][0, 0] = float("nan")
    write_state(path, state, info)
    return folder


@pytest.mark.parametrize("command", ["test", "evaluate", "routing", "predict", "train"])
def test_a_checkpoint_with_nan_is_refused_by_every_command(
    command: str, broken_run: Path, table_folder: Path, scene_folder: Path, tmp_path: Path
) -> None:
    before = content(broken_run)
    given = [*QUICK, f"load_path={broken_run}", f"data_root={table_folder}", f"log_dir={tmp_path / 'runs'}"]
    words = {
        "test": ["with", "remote", "test_only=True"],
        "train": ["with", "remote", "max_epoch=1"],
        "predict": ["predict", "with", f"scene={scene_folder}"],
    }.get(command, [command, "with"])
    line = refused(run(*words, *given))
    assert "NaN or infinite weights in head.weight" in line
    assert content(broken_run) == before
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def extreme_tables(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of rasters whose values float32 holds, but no sum of them."""
    root = tmp_path_factory.mktemp("extreme")
    shutil.copytree(scene_folder, root / "scene")
    raster = loadmat(root / "scene" / "LiDAR.mat")["LiDAR"]
    rng = np.random.default_rng(0)
    savemat(root / "scene" / "LiDAR.mat", {"LiDAR": np.where(rng.random(raster.shape) < 0.5, 3.4e38, -3.4e38)})
    return tables(root / "scene", root / "tables", "--patch-size", "4")


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_stops_where_the_loss_is_no_number(epochs: int, extreme_tables: Path, tmp_path: Path) -> None:
    given = [*QUICK, f"data_root={extreme_tables}", f"log_dir={tmp_path}", f"max_epoch={epochs}", "missing_ratio=0.0"]
    line = refused(run("with", "remote", *given))
    assert "the loss is nan at step 1 (epoch 0)" in line
    assert "normalise=True" in line
    assert not (tmp_path / "remote_seed0" / "metrics.json").exists()
    assert not list((tmp_path / "remote_seed0" / "checkpoints").glob("*"))


# --- 5. configs that run code ---


def test_a_pickled_config_is_not_read(table_folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = tmp_path / "c.pickle"
    evil.write_bytes(b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    line = refused(run("with", str(evil), f"data_root={table_folder}"))
    assert "a file of options ends in .json, .yaml, .yml" in line
    assert not marker.exists()


def test_a_json_config_is_plain_data(table_folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = tmp_path / "c.json"
    code = {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(marker)]}]}
    for content in (code, {"exp_name": code}):
        evil.write_text(json.dumps({**content, "data_root": str(table_folder)}))
        assert re.search("holds no options|exp_name", refused(run("with", str(evil), *QUICK)))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.json", None, "none.json: cannot be read"),
        ("c.json", "{", "c.json: cannot be read"),
        ("c.json", "[1]", "c.json: holds no options by their names"),
        ("c.yaml", "a: [", "c.yaml: cannot be read"),
        ("c.txt", "rank=4", "c.txt: a file of options ends in .json, .yaml, .yml"),
    ],
)
def test_files_that_are_no_options_are_told(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert message in refused(run("with", str(tmp_path / name)))


def test_plain_configs_are_read(tmp_path: Path) -> None:
    texts = {"c.json": '{"rank": 4}', "c.yaml": "top_k: 2\n", "c.yml": "seed: 7\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    shown = run("print_config", "with", *(tmp_path / name for name in texts)).stdout
    for line in ("rank = 4", "top_k = 2", "seed = 7"):
        assert line in shown


# --- 8. threads ---


def test_threads_are_kept_with_the_run(table_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        folder = trained(tmp_path, f"data_root={table_folder}", "max_epoch=1", "threads=1")
        assert torch.get_num_threads() == 1
        assert json.loads((folder / "config.json").read_text())["threads"] == 1
        assert json.loads(read_pickle(folder / "checkpoints" / "last.ckpt")[SETTINGS])["threads"] == 1
        auto = trained(tmp_path, f"data_root={table_folder}", "max_epoch=1", "exp_name=auto")
        decided = json.loads((auto / "config.json").read_text())["threads"]
        assert 1 <= decided <= (os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)


def test_a_busy_machine_leaves_fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision takes no longer than a moment."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, started = torch.get_num_threads(), time.perf_counter()
    try:
        shown = run("params", "with", "remote", "backbone=tiny")
    finally:
        torch.set_num_threads(before)
    assert shown.returncode == 0
    assert time.perf_counter() - started < 60
