"""On what a command computes: how many threads, which device, which arithmetic."""

import os
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest
import torch

from mamol.core.errors import MamolError
from mamol.core.groups import MachineSettings
from mamol.evaluation.mapper import windows_at_once
from mamol.training.machine import (
    OMP,
    arithmetic,
    batch_on,
    decide_threads,
    device_of,
    devices_of,
    free_cores,
    precision_of,
    use_threads,
)
from tests.toys import tiny_tower, toy_network

Busy = Callable[..., None]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Busy:
    """Sets how busy each core is, in percent, and which cores this process may use; OMP_NUM_THREADS is not set."""
    monkeypatch.delenv(OMP, raising=False)

    def set_to(*percent: float, allowed: set[int] | None = None) -> None:
        cores = set(range(len(percent))) if allowed is None else allowed
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: list(percent))
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores, raising=False)

    return set_to


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may watch the machine."""

    def watched(*_: object, **__: object) -> None:
        raise AssertionError("the number is known already")

    monkeypatch.setattr(psutil, "cpu_percent", watched)


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize(("machine", "stored"), [(MachineSettings(), 2), (MachineSettings(threads=3), None)])
def test_the_environment_wins(machine: MachineSettings, stored: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OMP, "5")
    assert decide_threads(machine, stored) == (5, "OMP_NUM_THREADS is set")


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("useless", [None, "", "many"])
def test_then_the_number_that_is_set(useless: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OMP, raising=False)
    if useless is not None:
        monkeypatch.setenv(OMP, useless)
    assert decide_threads(MachineSettings(threads=3), 2) == (3, "threads is set")


@pytest.mark.usefixtures("unwatched")
def test_a_continued_run_keeps_those_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OMP, raising=False)
    assert decide_threads(MachineSettings(), 6) == (6, "as the run began")


@pytest.mark.parametrize("stored", [None, "auto"])
def test_otherwise_the_free_cores_are_taken(stored: str | None, busy: Busy) -> None:
    busy(0, 100, 3, 98)
    threads, reason = decide_threads(MachineSettings(), stored)
    assert threads == 2
    assert reason == "2 of 4 cores were free; threads=… sets another number"


def test_processes_on_the_cpu_share_them(busy: Busy) -> None:
    busy(*[0] * 8)
    assert decide_threads(MachineSettings(num_gpus=0, cpu_processes=2))[0] == 4
    assert decide_threads(MachineSettings(num_gpus=0, cpu_processes=3))[0] == 2
    assert decide_threads(MachineSettings(num_gpus=0, cpu_processes=16))[0] == 1


@pytest.mark.parametrize(
    ("percent", "allowed", "expected"),
    [
        ((0, 0, 0, 0), None, (4, 4)),
        ((5, 5, 5, 5), None, (4, 4)),
        ((30, 30, 30, 30), None, (4, 3)),
        ((100, 100, 100, 100), None, (4, 1)),
        ((100, 100, 0, 0), {0, 1}, (2, 1)),
        ((100, 100, 0, 0), {2, 3}, (2, 2)),
        ((0,), {0, 7}, (2, 1)),
    ],
)
def test_cores_that_others_leave_idle_are_free(
    percent: tuple[float, ...], allowed: set[int] | None, expected: tuple[int, int], busy: Busy
) -> None:
    busy(*percent, allowed=allowed)
    assert free_cores() == expected


def test_the_machine_itself_is_looked_at() -> None:
    cores, free = free_cores()
    assert 1 <= free <= cores <= (os.cpu_count() or 1)


def test_threads_are_set_and_told_to_the_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OMP, "")  # so that what is set below is undone
    monkeypatch.delenv(OMP)
    before = torch.get_num_threads()
    try:
        use_threads(2)
        assert torch.get_num_threads() == 2
        assert OMP not in os.environ
        use_threads(1, processes=2)
        assert torch.get_num_threads() == 1
        assert os.environ[OMP] == "1"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("there", "machine", "expected"),
    [
        (0, MachineSettings(), (1, "cpu")),
        (0, MachineSettings(cpu_processes=3), (3, "cpu")),
        (4, MachineSettings(), (1, "gpu")),
        (4, MachineSettings(num_gpus=3), (3, "gpu")),
        (4, MachineSettings(num_gpus=0, cpu_processes=2), (2, "cpu")),
    ],
)
def test_devices(
    there: int, machine: MachineSettings, expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert devices_of(machine) == expected
    with pytest.raises(MamolError, match=rf"num_gpus=9: this machine has {there}; use num_gpus={there}"):
        devices_of(MachineSettings(num_gpus=9))


def test_a_command_that_does_not_train_has_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(MachineSettings()).type == "cuda"
    assert device_of(MachineSettings(num_gpus=0)).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(MachineSettings()).type == "cpu"
    assert [batch_on(torch.device(kind), 512) for kind in ("cuda", "cpu")] == [512, 32]
    sizes = {4: 32, 8: 32, 14: 10, 16: 8, 64: 1}
    assert {size: batch_on(torch.device("cpu"), 512, size**2) for size in sizes} == sizes


@pytest.mark.parametrize(("head", "windows"), [("class", 32), ("pixels", 8)])
def test_a_map_takes_fewer_windows_of_which_all_pixels_are_classified(head: str, windows: int) -> None:
    network = toy_network(head=head, tower=tiny_tower(16))
    network.spec = replace(network.spec, grid=16)
    assert windows_at_once(network, torch.device("cpu"), 512) == windows


def test_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert [precision_of("auto", kind) for kind in ("gpu", "cpu")] == ["bf16-mixed", 32]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert precision_of("auto", "gpu") == 32
    assert precision_of("16-mixed", "cpu") == "16-mixed"
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    for precision, dtype in (("auto", torch.float32), (32, torch.float32), ("bf16-mixed", torch.bfloat16)):
        with arithmetic(precision, torch.device("cpu")):
            assert layer(x).dtype == dtype
