"""Two commands that write the same files at the same time: the second one is refused by name, and nothing is mixed."""

import shutil
from pathlib import Path

import pytest
from scipy.io import loadmat, savemat

from mamol.core.files import alone
from tests.faults.commands import Places, cases
from tests.lines import QUICK, run, tables


@pytest.fixture
def bare_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run's checkpoint."""
    (best,) = (finished_run / "checkpoints").glob("best*")
    target = tmp_path / "run" / "checkpoints" / best.name
    target.parent.mkdir(parents=True)
    target.write_bytes(best.read_bytes())
    return tmp_path / "run"


@pytest.mark.parametrize(("command", "results"), [("evaluate", "evaluation"), ("routing", "routing")])
def test_a_second_command_on_the_same_run(command: str, results: str, bare_run: Path, table_folder: Path) -> None:
    given = (command, "with", *QUICK, f"load_path={bare_run}", f"data_root={table_folder}", "evaluate_ratios=[0.0]")
    with alone(bare_run / results):
        refused = run(*given)
    assert refused.returncode == 1
    assert f"{bare_run / results}: another process is writing there; wait for its end" in refused.stderr
    assert not (bare_run / results).exists()
    assert run(*given).returncode == 0


def test_a_second_map_with_other_options(
    bare_run: Path, corner_folder: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal options, too: ``worker=True`` helps instead. What the first one has begun stays."""
    from mamol.evaluation import predict

    given = ("predict", "with", *QUICK, "threads=1", f"load_path={bare_run}", f"scene={corner_folder}", "present=sar")
    refused = []

    def meanwhile(*_: object) -> list[Path]:
        monkeypatch.undo()
        refused.extend(run(*given, f"batch={batch}") for batch in (8, 16))
        return []

    monkeypatch.setattr(predict, "_draw", meanwhile)
    monkeypatch.setattr(predict, "write_mosaics", lambda order: [])
    assert run(*given, "batch=8").returncode == 0
    for second in refused:
        assert second.returncode == 1
        assert "another process is writing there; wait for its end" in second.stderr
    assert run(*given, "batch=16").returncode == 0


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_training_is_not_continued_twice_at_once(
    command: str, places: Places, pretrained: Path, tmp_path: Path, small_pretraining: None
) -> None:
    """Two that begin get a folder each; two that continue the same one would share its."""
    source = next(pretrained.glob("killed*")) if command == "pretrain" else places.finished
    run = tmp_path / "killed_seed0"
    shutil.copytree(source, run, ignore=shutil.ignore_patterns("metrics.json", "sacred"))
    case = cases(places)[command]
    with alone(run), pytest.raises(RuntimeError, match=f"{run}: another process is writing there; wait for its end"):
        case.work(tmp_path)
    assert not (run / "metrics.json").exists()
    case.work(tmp_path)
    assert (run / "metrics.json").is_file()


def test_a_second_table_in_the_same_folder(scene_folder: Path, tmp_path: Path) -> None:
    sizes = ("--patch-size", 4, "--train-per-class", 4, "--val-per-class", 2, "--test-per-class", 3)
    given = ("--dataset", "synthetic", "--root", scene_folder, "--out", tmp_path / "out", *sizes)
    with alone(tmp_path / "out"):
        refused = tables(*given)
    assert refused.returncode == 1
    assert f"{tmp_path / 'out'}: another process is writing there" in refused.stderr
    assert tables(*given).returncode == 0


def test_an_empty_test_table_is_refused(scene_folder: Path, tmp_path: Path) -> None:
    """One labelled pixel of each class is for training."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in scene_folder.glob("*.mat"):
        content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        if path.stem == "All_label":
            (name,) = content
            few = content[name] * 0
            few[5, 5], few[20, 20] = 1, 2
            content = {name: few}
        savemat(raw / path.name, content)
    refused = tables("--dataset", "synthetic", "--root", raw, "--out", tmp_path / "out", "--patch-size", 4)
    assert refused.returncode == 1
    assert "protocol disjoint: no pixel is left for testing; choose another protocol" in refused.stderr
    assert not (tmp_path / "out").exists()
