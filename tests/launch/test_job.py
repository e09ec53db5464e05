"""A job does what is left to do, once, alone, and tells what went wrong."""

import fcntl
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mamol.launch.job import HOME, Job, work
from tests.launch.conftest import calls

MakeJob = Callable[..., Job]


def test_a_finished_job_is_not_done_again(make_job: MakeJob) -> None:
    job = make_job()
    assert job.state == "to do"
    assert work(job).error == ""
    assert job.state == "finished"
    assert work(job).error == ""
    assert [call["command"] for call in calls(job)] == ["train"]


def test_the_follow_up_is_done_once_for_each_set_of_options(make_job: MakeJob) -> None:
    job = make_job(follow_up="routing", follow_options={"routing_class": 7})
    work(job)
    work(job)
    other = make_job(follow_up="routing", follow_options={"routing_class": 3})
    assert (job.state, other.state) == ("finished", "to continue")
    work(other)
    seen = [(call["command"], call["routing_class"]) for call in calls(job)]
    assert seen == [("train", None), ("routing", 7), ("routing", 3)]
    assert calls(job)[1]["load_path"] == str(job.folder)


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet"])
def test_a_run_with_broken_results_is_done_again(
    name: str, make_job: MakeJob, finished_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From its last checkpoint, so that only the test is done."""
    job = make_job()
    assert work(job).error == ""
    job.last.parent.mkdir()
    shutil.copy(finished_run / "checkpoints" / "last.ckpt", job.last)
    whole = (job.folder / name).read_bytes()
    (job.folder / name).write_bytes(whole[:-9])
    assert job.state == "to continue"
    assert f"job: does not count as finished, {job.folder / name}: " in caplog.text
    assert work(job).error == ""
    assert job.state == "finished"
    assert [call["resume_from"] for call in calls(job)] == ["", str(job.last)]
    assert (job.folder / name).read_bytes() == whole


def test_a_follow_up_whose_tables_changed_is_done_again(make_job: MakeJob, caplog: pytest.LogCaptureFixture) -> None:
    job = make_job(follow_up="evaluate")
    work(job)
    grid = job.folder / "evaluation" / "grid.csv"
    grid.parent.mkdir()
    grid.write_text("OA\n60.0\n")
    job.note_follow_up()
    assert job.state == "finished"
    grid.write_text("OA\n61.0\n")
    assert job.state == "to continue"
    assert f"job: evaluate does not count as done, by {job.beside('follow.json')}: {grid} is not" in caplog.text
    work(job)
    assert [call["command"] for call in calls(job)] == ["train", "evaluate", "evaluate"]


def test_a_failure_is_told_and_tried_again(make_job: MakeJob) -> None:
    job = make_job(fails="no luck")
    outcome = work(job)
    assert "no luck (exit status 1, log " in outcome.error
    assert str(job.log) in outcome.error
    assert "a remark" in job.log.read_text()
    assert job.state == "to do"
    work(job)
    assert len(calls(job)) == 2


def test_an_interrupted_run_goes_on_from_its_last_checkpoint(make_job: MakeJob, finished_run: Path) -> None:
    job = make_job()
    job.last.parent.mkdir(parents=True)
    shutil.copy(finished_run / "checkpoints" / "last.ckpt", job.last)
    assert job.state == "to continue"
    work(job)
    assert calls(job)[0]["resume_from"] == str(job.last)


@pytest.mark.parametrize("share", [0, 0.5], ids=["none", "half"])
def test_a_run_without_a_readable_checkpoint_begins_again(make_job: MakeJob, finished_run: Path, share: float) -> None:
    job = make_job()
    job.last.parent.mkdir(parents=True)
    content = (finished_run / "checkpoints" / "last.ckpt").read_bytes()
    if share:
        job.last.write_bytes(content[: int(share * len(content))])
    assert work(job).error == ""
    (call,) = calls(job)
    assert call["resume_from"] == ""
    assert not call["there"], "run.py would give it another folder"


def test_a_job_waits_for_another_process_at_it(make_job: MakeJob) -> None:
    job = make_job()
    lock = job.beside("lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        working = threading.Thread(target=work, args=[job])
        working.start()
        working.join(0.3)
        assert working.is_alive()
        assert not job.trained
    working.join(20)
    assert job.trained


def test_the_process_of_a_job_keeps_the_lock_when_its_parent_is_killed(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(sleep=60)
    stored = tmp_path / "job.pickle"
    stored.write_bytes(pickle.dumps(job))
    code = f"import pickle; from mamol.launch.job import work; work(pickle.load(open({str(stored)!r}, 'rb')))"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(HOME)})
    deadline = time.monotonic() + 60
    while not calls(job) and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    (call,) = calls(job)
    with job.beside("lock").open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(call["pid"], signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not job.trained
