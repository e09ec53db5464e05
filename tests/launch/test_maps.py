"""Blocks of maps shared among processes: the bits of one process, whoever computes them, and what a lost one leaves."""

import contextlib
import fcntl
import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation import predict
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.order import Order
from mamol.evaluation.partial import PartialMap
from mamol.evaluation.predict import begin, fill
from mamol.evaluation.progress import Told
from mamol.launch import maps
from mamol.launch.job import AnyJob, Outcome
from mamol.launch.maps import worker_config
from tests.lines import trained
from tests.placed import contents, settings_of, write_placed

GIVEN = {"present": "sar", "block": 2, "batch": 12}


@pytest.fixture(scope="module")
def area(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "valley"
    write_placed(scene_folder, folder / "north", "north", slice(0, 8), slice(0, 12))
    write_placed(scene_folder, folder / "south", "south", slice(8, 16), slice(0, 12))
    return folder


@pytest.fixture(scope="module")
def finished_run(tiny_in_module: None, table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that other processes draw maps of."""
    return trained(tmp_path_factory.mktemp("runs"), f"data_root={table_folder}", "max_epoch=1")


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, without maps."""
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("maps")))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MapFiles, "_save_png", lambda files, path: [path] * bool(path.write_bytes(b"no picture")))


@pytest.fixture(scope="module")
def alone(finished_run: Path, area: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The maps of one process."""
    run = shutil.copytree(finished_run, tmp_path_factory.mktemp("alone") / "run", ignore=shutil.ignore_patterns("maps"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MapFiles, "_save_png", lambda files, path: [])
        predict.predict(settings_of(Path(run), area, **GIVEN, threads=1))
    return contents(Path(run) / "maps")


class Few:
    """A launcher of which only some workers do anything, and those no more than some blocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, blocks: Sequence[int]) -> None:
        self.monkeypatch, self.blocks, self.workers = monkeypatch, blocks, 0

    def outcomes(self, jobs: Sequence[AnyJob]) -> Iterator[Outcome]:
        self.workers = len(jobs)
        for job, blocks in zip(jobs, self.blocks, strict=True):
            order = Order.of(Settings.of(json.loads(json.dumps(job.config)) | {"num_gpus": 0}))
            left, write = [blocks], PartialMap.write

            def some(made: PartialMap, *rest: object, left: list[int] = left, write: object = write) -> None:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                write(made, *rest)

            with self.monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                patch.setattr(PartialMap, "write", some)
                maps._help(begin(order))
            yield Outcome(job, "" if left[0] else "killed (exit status -9)")


def test_two_processes_give_the_bits_of_one(
    own_run: Path, area: Path, alone: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        written = maps.predict(settings_of(own_run, area, **GIVEN, jobs=2, threads=1))
    assert "8 blocks of 2 maps are shared by 2 workers" in caplog.text
    assert "going on: 4 of 4 blocks are there" in caplog.text
    assert contents(own_run / "maps") == alone
    assert {path.name for path in written} >= {"north_sar.tif", "south_sar.tif", "valley_sar.vrt"}
    assert not list((own_run / "maps").glob("*.blocks"))


def test_a_worker_that_dies_leaves_blocks_with_which_the_same_command_goes_on(
    own_run: Path, area: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings_of(own_run, area, **GIVEN, jobs=3, threads=1)
    few = Few(monkeypatch, [2, 0, 3])
    with monkeypatch.context() as patch:
        patch.setattr(maps, "launcher_named", lambda *_, **__: few)
        with pytest.raises(
            MamolError,
            match=r"^3 blocks of 2 maps are missing: 3 of 3 workers failed, the first: killed \(exit status -9\); the "
            "same command goes on with the blocks that are there$",
        ):
            maps.predict(given)
    assert few.workers == 3
    assert len(list((own_run / "maps").glob("*.blocks/0*.npz"))) == 5
    predict.predict(given)
    assert contents(own_run / "maps") == alone


def test_one_worker_does_what_another_left(
    own_run: Path,
    area: Path,
    alone: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(maps, "launcher_named", lambda *_, **__: Few(monkeypatch, [1, 99]))
    maps.predict(settings_of(own_run, area, **GIVEN, jobs=2, threads=1))
    assert "worker 1 failed: killed (exit status -9)" in caplog.text
    assert contents(own_run / "maps") == alone


def test_a_block_that_another_process_is_at_is_waited_for(own_run: Path, area: Path) -> None:
    order = Order.of(settings_of(own_run, area / "north" / "scene.json", **GIVEN))
    ((one, made),) = begin(order)
    with (made.folder / "00000002.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        working = threading.Thread(target=fill, args=[one, made, Told("", one.pixels, shown=False)])
        working.start()
        working.join(20 if len(made.missing) == 1 else 0)
        for _ in range(2000):
            if made.missing == [2]:
                break
            working.join(0.01)
        assert made.missing == [2]
        assert working.is_alive()
    working.join(60)  # the other process ended without a block
    assert made.missing == []


def test_a_worker_helps_only_with_maps_that_were_begun(own_run: Path, area: Path) -> None:
    with pytest.raises(MamolError, match="no map was begun with these files and options") as told:
        maps.predict(settings_of(own_run, area, **GIVEN, worker=True))
    assert "\n" not in str(told.value)
    begin(Order.of(settings_of(own_run, area, **GIVEN)))
    assert maps.predict(settings_of(own_run, area, **GIVEN, worker=True)) == []
    assert len(list((own_run / "maps").glob("*.blocks/0*.npz"))) == 8
    with pytest.raises(MamolError, match="no map was begun"):
        maps.predict(settings_of(own_run, area, **GIVEN | {"batch": 6}, worker=True))


def test_processes_share_the_cores_and_keep_what_was_begun(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("mamol.training.machine.free_cores", lambda: (8, 7))

    def threads(**more: object) -> set[int]:
        return {made.threads for _, made in begin(Order.of(settings_of(own_run, area, **GIVEN | more)))}

    assert threads(jobs=3) == {2}
    assert threads(jobs=7) == {2}
    assert threads(jobs=3, block=4) == {2}
    assert threads(jobs=3, block=4, batch=6, threads=5) == {5}


def test_a_worker_may_start_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pt").touch()
    given = {"load_path": "run", "scene": "area", "polygon": "p.gpkg", "clip_weights": "w.pt", "jobs": 4}
    config = worker_config(Settings.of({**given, "bbox": [1, 2, 3, 4], "launcher": "ray", "present": "each"}))
    for name, value in (("load_path", "run"), ("scene", "area"), ("polygon", "p.gpkg"), ("clip_weights", "w.pt")):
        assert config[name] == str(tmp_path / value)
    assert config["root"] == ""
    again = Settings.of(json.loads(json.dumps(config)))
    assert (again.predict.worker, again.reproduce.jobs, again.reproduce.launcher) == (True, 1, "local")
    assert (again.predict.bbox, again.predict.present) == ((1, 2, 3, 4), "each")


def test_launchers_that_cannot_be_used_are_told_before_anything_is_begun(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong, message in (
        ({"jobs": 0}, "jobs=0 must be a whole number of at least 1"),
        ({"launcher": "condor"}, "launcher='condor' must be one of local, ray, slurm"),
    ):
        with pytest.raises(MamolError, match=message) as told:
            settings_of(own_run, area, **wrong)
        assert "\n" not in str(told.value)
    monkeypatch.setattr("mamol.launch.find_spec", lambda module: None)
    with pytest.raises(MamolError, match="launcher=ray needs the package ray"):
        maps.predict(settings_of(own_run, area, launcher="ray"))
    assert not (own_run / "maps").exists()
