"""Every run has a folder of its own, and only the process of rank 0 makes it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from mamol.core.errors import MamolError
from mamol.training.runs import claim_folder, folder_to_continue, is_rank_zero, wanted_folder
from tests.pages import ROOT


def test_a_run_is_named_by_experiment_and_seed(tmp_path: Path) -> None:
    assert wanted_folder(str(tmp_path), "trento", 3) == tmp_path / "trento_seed3"


def test_runs_after_each_other_are_numbered(tmp_path: Path) -> None:
    wanted = tmp_path / "new" / "runs" / "a_seed0"
    (wanted.parent / "a_seed0_4").mkdir(parents=True)
    claimed = [claim_folder(wanted).name for _ in range(4)]
    assert claimed == ["a_seed0", "a_seed0_2", "a_seed0_3", "a_seed0_5"]
    assert claim_folder(wanted.with_name("a_seed1")).name == "a_seed1"


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    wanted = tmp_path / "a_seed0"
    wanted.write_text("mine")
    assert claim_folder(wanted).name == "a_seed0_2"
    assert wanted.read_text() == "mine"


@pytest.mark.parametrize("attempt", range(5))
def test_of_runs_that_are_started_at_once_each_has_its_own(attempt: int, tmp_path: Path) -> None:
    together = Barrier(8)

    def claim(_: int) -> Path:
        together.wait()
        return claim_folder(tmp_path / "runs" / f"a_seed{attempt}")

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(8)))
    name = f"a_seed{attempt}"
    assert {folder.name for folder in claimed} == {name, *(f"{name}_{number}" for number in range(2, 9))}
    assert all(list(folder.iterdir()) == [] for folder in claimed)


def test_so_have_two_processes(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from mamol.training.runs import claim_folder; sys.stdout.write('ready\\n');"
        "sys.stdout.flush(); sys.stdin.readline(); print(claim_folder(pathlib.Path(sys.argv[1])))"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "a_seed0")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(line, cwd=ROOT, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for each in both:
        assert each.stdout.readline() == "ready\n"
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    claimed = {Path(each.communicate(timeout=60)[0].strip()).name for each in both}
    assert claimed == {"a_seed0", "a_seed0_2"}


@pytest.mark.parametrize("below", ["", "further"])
def test_a_file_is_no_folder_of_runs(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    log_dir = tmp_path / "file" / below
    with pytest.raises(MamolError, match=rf"log_dir={log_dir}.*give (a|another) folder") as caught:
        claim_folder(wanted_folder(str(log_dir), "a", 0))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable says that this is one process of several."""
    for name in ("NODE_RANK", "GROUP_RANK", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    return monkeypatch


def test_a_process_by_itself_is_of_rank_0(one_process: pytest.MonkeyPatch) -> None:
    assert is_rank_zero()


@pytest.mark.parametrize("variable", ["NODE_RANK", "GROUP_RANK"])
def test_the_first_process_of_another_node_is_not(variable: str, one_process: pytest.MonkeyPatch) -> None:
    one_process.setenv(variable, "0")
    assert is_rank_zero()
    one_process.setenv(variable, "1")
    assert not is_rank_zero()


def test_another_process_of_this_node_is_not(one_process: pytest.MonkeyPatch) -> None:
    one_process.setattr(rank_zero_only, "rank", 1)
    assert not is_rank_zero()
    one_process.setenv("NODE_RANK", "0")
    assert not is_rank_zero()


def test_where_the_global_rank_is_known_it_counts(one_process: pytest.MonkeyPatch) -> None:
    one_process.setenv("RANK", "0")
    one_process.setenv("GROUP_RANK", "0")
    assert is_rank_zero()
    one_process.setenv("RANK", "2")
    one_process.setattr(rank_zero_only, "rank", 2)
    one_process.setenv("GROUP_RANK", "1")
    assert not is_rank_zero()


def test_only_an_interrupted_run_is_continued(tmp_path: Path) -> None:
    last = tmp_path / "a_seed0" / "checkpoints" / "last.ckpt"
    for path in (last, tmp_path):
        with pytest.raises(MamolError, match=r"is not the last\.ckpt of a run; give <run folder>/checkpoints/"):
            folder_to_continue(path)
    last.parent.mkdir(parents=True)
    last.touch()
    assert folder_to_continue(last) == tmp_path / "a_seed0"
    (tmp_path / "a_seed0" / "metrics.json").write_text("{}")
    with pytest.raises(MamolError, match="that run is finished and stays as it is"):
        folder_to_continue(last)
