"""Every launcher does all jobs, keeps going past a failed one, and says what is missing."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.launch import Launcher, launcher_named
from mamol.launch.job import Job
from mamol.launch.local import shares, visible_gpus
from tests.launch.conftest import calls

MakeJob = Callable[..., Job]


def errors(launcher: Launcher, jobs: Sequence[Job]) -> dict[str, str]:
    return {outcome.job.name: outcome.error for outcome in launcher.outcomes(jobs)}


def three(make_job: MakeJob) -> list[Job]:
    return [make_job("first"), make_job("second", fails="no luck"), make_job("third")]


def check(result: dict[str, str], jobs: Sequence[Job]) -> None:
    assert result.keys() == {"first", "second", "third"}
    assert result["first"] == result["third"] == ""
    assert "no luck" in result["second"]
    assert [job.trained for job in jobs] == [True, False, True]


def test_local_does_all_jobs_on_its_gpus(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mamol.launch.local.visible_gpus", lambda: ["4", "5"])
    jobs = three(make_job)
    check(errors(launcher_named("local", jobs=2, gpus="auto", slurm={}), jobs), jobs)
    assert {call["gpus"] for call in calls(jobs[0])} == {"4", "5"}


@pytest.mark.parametrize(("at_once", "sleep", "order"), [(1, 0, "sesese"), (3, 1, "ssseee")])
def test_local_does_so_many_at_once(make_job: MakeJob, at_once: int, sleep: float, order: str) -> None:
    jobs = [make_job(str(number), sleep=sleep) for number in range(3)]
    errors(launcher_named("local", jobs=at_once, gpus=0, slurm={}), jobs)
    events = sorted((jobs[0].folder.parent / "calls").iterdir())
    assert "".join("e" if path.suffix == ".end" else "s" for path in events) == order


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 12))
def test_gpus_are_shared_round_robin(there: int, per_run: int, jobs: int) -> None:
    gpus = [str(number) for number in range(there)]
    given_out = [share["CUDA_VISIBLE_DEVICES"].split(",") for share in shares(gpus, per_run, jobs)]
    assert len(given_out) == jobs
    assert all(len(set(some)) == len(some) == min(per_run, there) for some in given_out)
    if per_run == 1:
        assert given_out == [[str(job % there)] for job in range(jobs)]


def test_without_gpus_runs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert shares([], 1, 3) == [{"OMP_NUM_THREADS": "2"}] * 3
    assert shares(["0"], 0, 16) == [{"OMP_NUM_THREADS": "1"}] * 16
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert shares([], 1, 2) == [{}, {}]


def test_visible_gpus_are_those_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    assert visible_gpus() == ["3", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus() == ["0", "1"]


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_its_command(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mamol.launch.find_spec", lambda module: None)
    message = (
        f"launcher={name} needs the package {package}: pip install -r requirements-{name}.txt, or 'mamol\\[{name}\\]'"
    )
    with pytest.raises(MamolError, match=message):
        launcher_named(name, jobs=1, gpus="auto", slurm={})


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra: pip install -r requirements-ray.txt")
def test_ray_on_this_machine(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    jobs = three(make_job)
    check(errors(launcher_named("ray", jobs=2, gpus="auto", slurm={}), jobs), jobs)


needs_submitit = pytest.mark.skipif(
    find_spec("submitit") is None, reason="submitit is an extra: pip install -r requirements-slurm.txt"
)


@needs_submitit
def test_slurm_by_the_local_executor(make_job: MakeJob) -> None:
    jobs = three(make_job)
    check(errors(launcher_named("slurm", jobs=2, gpus=0, slurm={"timeout_min": 5}), jobs), jobs)


@needs_submitit
def test_a_wrong_slurm_parameter_is_named(make_job: MakeJob) -> None:
    launcher = launcher_named("slurm", jobs=1, gpus=0, slurm={"partitoin": "gpu"})
    with pytest.raises(MamolError, match=r"slurm=.*partitoin"):
        errors(launcher, [make_job()])
