"""``predict`` from the command line: it goes on after a kill, limits a map to a place, and says what it would take."""

import contextlib
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rio_cogeo.cogeo import cog_validate

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.scenes import load_scene
from mamol.data.sources import ArraySource
from mamol.evaluation import order, partial, predict, progress
from mamol.evaluation.blocks import Block
from mamol.evaluation.mapper import Mapper, draw_map, predictor
from mamol.evaluation.maps import Map
from mamol.evaluation.partial import PartialMap
from mamol.evaluation.progress import Told, duration, watching
from mamol.evaluation.trained import Trained
from tests.lines import QUICK, killed, run
from tests.placed import contents, settings_of, write_placed


@pytest.fixture(scope="module")
def placed(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene.json of the synthetic scene, 32 × 36 pixels of 10 m, as GeoTIFFs."""
    return write_placed(scene_folder, tmp_path_factory.mktemp("placed") / "scene", "Riverside")


@pytest.fixture(scope="module")
def small(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 16 × 12 pixels of it: with batches of 12, a block can be one row."""
    return write_placed(
        scene_folder, tmp_path_factory.mktemp("small") / "scene", "Riverside", slice(0, 16), slice(0, 12)
    )


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, without maps."""
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("maps")))


def line(run_folder: Path, scene: Path, *more: str) -> list[str]:
    return ["predict", "with", *QUICK, "threads=1", f"load_path={run_folder}", f"scene={scene}", *more]


def finished_blocks(folder: Path) -> list[Path]:
    return sorted(folder.glob("maps/*.blocks/0*.npz"))


def test_a_killed_map_goes_on_and_has_the_same_bits(
    own_run: Path, small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, no_pictures: None
) -> None:
    whole = Path(shutil.copytree(own_run, tmp_path / "whole"))
    done = run(*line(whole, small, "batch=12", "present=sar"))
    assert done.returncode == 0, done.stderr[-1500:]

    arguments = line(own_run, small, "block=1", "batch=12", "present=sar", "probabilities=True")
    killed(lambda: len(finished_blocks(own_run)) >= 2, *arguments)
    kept = {path: path.stat().st_mtime_ns for path in finished_blocks(own_run)}
    assert 2 <= len(kept) < 16
    assert not list((own_run / "maps").glob("*.*f"))  # no raster yet
    (folder,) = (own_run / "maps").glob("*.blocks")
    (folder / ".00000099.npz.1.tmp").write_text("what a killed writer leaves")

    with caplog.at_level(logging.INFO):
        again = run(*arguments)
    assert again.returncode == 0, again.stderr[-1500:]
    assert f"going on: {len(kept)} of 16 blocks are there" in caplog.text
    assert not list((own_run / "maps").glob("*.blocks"))
    mine, wanted = contents(own_run / "maps"), contents(whole / "maps")
    assert set(mine) - set(wanted) == {"Riverside_sar_probabilities.tif"}
    assert {name: mine[name] for name in wanted} == wanted


def test_rasters_of_a_run_are_cloud_optimised_and_named_as_ever(own_run: Path, small: Path) -> None:
    done = run(*line(own_run, small, "present=sar"))
    written = [Path(text) for text in done.stdout.splitlines() if "/maps/" in text]
    stem = "Riverside_sar"
    assert {path.name for path in written} == {
        *(f"{stem}.{ending}" for ending in ("png", "mat", "npy", "tif", "qml", "csv")),
        *(f"{stem}_confidence.npy", f"{stem}_confidence.tif"),
        *(f"{stem}_sensors.{ending}" for ending in ("npy", "tif", "qml")),
    }
    for path in written:
        if path.suffix == ".tif":
            assert cog_validate(path) == (True, [], [])
    with rasterio.open(own_run / "maps" / f"{stem}_sensors.tif") as file:
        assert np.unique(file.read(1)).tolist() == [4]  # bit 2, whatever present= says
        assert file.tags()["BIT_2"] == "sar"


def blocks_of(monkeypatch: pytest.MonkeyPatch, settings: Settings, stop_after: int) -> int:
    """Draws a map that stops after some blocks; gives how many blocks it has computed."""
    count = 0
    write = PartialMap.write

    def counting(made: PartialMap, first: int, block: Block) -> None:
        nonlocal count
        write(made, first, block)
        count += 1
        if count == stop_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PartialMap, "write", counting)
        with contextlib.suppress(KeyboardInterrupt):
            predict.predict(settings)
    return count


def test_a_partial_map_is_taken_up_only_with_equal_checkpoint_inputs_and_options(
    own_run: Path,
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    no_pictures: None,
) -> None:
    scene = Path(shutil.copytree(small.parent, tmp_path / "scene")) / small.name
    given = {"block": 4, "batch": 12, "present": "sar"}
    assert blocks_of(monkeypatch, settings_of(own_run, scene, **given), 3) == 3
    for other in ({"probabilities": True}, {"batch": 6}, {"block": 8}):
        assert blocks_of(monkeypatch, settings_of(own_run, scene, **given | other), 1) == 1
        assert "blocks of another checkpoint, input or option" in caplog.text
    with rasterio.open(scene.parent / "sar.tif", "r+") as file:
        file.write(file.read() + 1)
    assert blocks_of(monkeypatch, settings_of(own_run, scene, **given), 9) == 4
    shutil.copy(small.parent / "sar.tif", scene.parent / "sar.tif")
    assert blocks_of(monkeypatch, settings_of(own_run, scene, **given), 9) == 1, "the first three are there"
    assert blocks_of(monkeypatch, settings_of(own_run, scene, **given), 3) == 3
    monkeypatch.setattr(order, "sha256_of", lambda path: "another checkpoint")
    assert blocks_of(monkeypatch, settings_of(own_run, scene, **given), 9) == 4


def test_a_map_goes_on_with_the_threads_that_it_began_with(
    own_run: Path, small: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    used = []
    monkeypatch.setattr(predict, "use_threads", used.append)
    given = settings_of(own_run, small, block=4, batch=12, present="sar")
    before = torch.get_num_threads()
    blocks_of(monkeypatch, given, 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: before + 3)
    blocks_of(monkeypatch, given, 9)
    assert used == [before, before]


def test_a_broken_block_is_told(tmp_path: Path) -> None:
    made = PartialMap.open(tmp_path / "map", {"x": 1}, (0,), 1)
    classes = np.ones((50, 50), np.uint8)
    made.write(0, Block(classes, np.random.default_rng(0).random((50, 50), np.float32), classes))
    (path,) = made.folder.glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(MamolError, match=r"00000000\.npz: cannot be read .*; delete it and start again"):
        list(made.blocks())


def test_a_full_disk_in_the_middle_leaves_whole_blocks(
    own_run: Path, small: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    synced, sync = [], partial.os.fsync

    def filling(file: int) -> None:
        synced.append(file)
        if len(synced) == 3:
            raise OSError(28, "No space left on device")
        sync(file)

    given = settings_of(own_run, small, block=4, batch=12, present="sar")
    with monkeypatch.context() as patch:
        patch.setattr(partial.os, "fsync", filling)
        with pytest.raises(
            MamolError, match=r"a block cannot be written \(No space left on device\); free some disk"
        ) as told:
            predict.predict(given)
    assert "\n" not in str(told.value)
    assert len(finished_blocks(own_run)) == 2
    assert not list((own_run / "maps").glob("*.blocks/.*"))
    assert blocks_of(monkeypatch, given, 9) == 2, "the others"


def test_a_map_of_a_box_is_part_of_the_map(own_run: Path, small: Path, no_pictures: None) -> None:
    assert run(*line(own_run, small, "present=sar", "batch=1")).returncode == 0
    done = run(*line(own_run, small, "present=sar", "batch=1", "bbox=500030,5199860,500100,5199950"))
    assert done.returncode == 0, done.stderr[-1500:]
    stem = own_run / "maps" / "Riverside_sar"
    part = np.load(f"{stem}_500030_5199860_500100_5199950.npy")
    np.testing.assert_array_equal(part, np.load(f"{stem}.npy")[5:14, 3:10])
    with rasterio.open(f"{stem}_500030_5199860_500100_5199950.tif") as file:
        assert tuple(file.bounds) == (500030, 5199860, 500100, 5199950)
    outside = run(*line(own_run, small, "bbox=0,0,10,10"))
    assert "bbox=0,0,10,10: 0 0 10 10 is outside the scene, which is 500000 5199840 500120 5200000" in outside.stderr
    wrong = run(*line(own_run, small, "bbox=1,2,3"))
    assert "bbox=" in wrong.stderr
    assert "must be four numbers, left,bottom,right,top" in wrong.stderr


def test_a_dry_run_says_windows_time_and_memory(own_run: Path, placed: Path) -> None:
    done = run(*line(own_run, placed, "dry_run=True", "block=10"))
    assert done.returncode == 0, done.stderr[-1500:]
    (told,) = [text for text in done.stdout.splitlines() if "windows" in text]
    assert told.startswith(
        "Riverside_hsi+lidar+sar: 1,152 windows at most in 2 blocks of 16 rows, batches of 32; time "
    )
    assert told.endswith(" GB")
    assert not (own_run / "maps").exists()


def test_files_may_lie_elsewhere_than_their_description(
    own_run: Path, small: Path, tmp_path: Path, no_pictures: None
) -> None:
    described = shutil.copy(small, tmp_path / "mine.json")
    done = run(*line(own_run, Path(described), f"root={small.parent}", "present=lidar"))
    assert done.returncode == 0, done.stderr[-1500:]
    assert (own_run / "maps" / "Riverside_lidar.tif").is_file()
    wrong = run(*line(own_run, small.parent, f"root={small.parent}"))
    assert f"root={small.parent}: goes with scene=<scene.json>" in wrong.stderr


def test_a_pixel_is_classified_from_the_sensors_that_saw_it(loaded: Trained, scene_folder: Path) -> None:
    """As the map with these sensors only says there, to rounding: other pixels are in its batches."""
    scene = load_scene("synthetic", scene_folder, need_labels=False)
    whole = {name: raster[:18, :20].astype(np.float32) for name, raster in scene.rasters.items()}
    holes = {name: raster.copy() for name, raster in whole.items()}
    holes["hsi"][:, 12:] = np.nan
    holes["sar"][:7] = np.nan
    mapper = Mapper(loaded.network, loaded.device, batch=32, min_valid=1.0)

    def drawn(rasters: dict[str, np.ndarray], pattern: list[str]) -> Map:
        readers = {name: ArraySource(raster) for name, raster in rasters.items()}
        return draw_map(mapper, replace(scene, rasters=rasters, readers=readers), pattern, "")

    mixed = drawn(holes, ["hsi", "sar"])
    assert mixed.sensors is not None
    found = np.unique(mixed.sensors)
    assert set(found) == {0, 1, 4, 5}
    np.testing.assert_array_equal(mixed.classes == 0, mixed.sensors == 0)
    for code in found[found > 0]:
        pattern = [name for bit, name in enumerate(loaded.network.spec.names) if code >> bit & 1]
        here = mixed.sensors == code
        only = drawn(whole, pattern)
        np.testing.assert_allclose(mixed.confidence[here], only.confidence[here], atol=1e-5)
        assert (mixed.classes[here] == only.classes[here]).mean() > 0.99


def test_a_map_without_holes_has_the_bits_of_windows_in_batches(loaded: Trained, small: Path) -> None:
    """Pixels row by row, 32 at once: as maps were drawn before there were blocks."""
    scene = load_scene("scene", small, need_labels=False)
    drawn = draw_map(Mapper(loaded.network, loaded.device, batch=32), scene, ["sar"], "")
    ask = predictor(loaded.network, ["sar"], loaded.device)
    for first in range(0, scene.height * scene.width, 32):
        rows, cols = np.divmod(np.arange(first, min(first + 32, scene.height * scene.width)), scene.width)
        found = ask({"sar": scene.cutter("sar", 4).cut(rows, cols)}, np.ones((len(rows), 1), bool))
        np.testing.assert_array_equal(drawn.confidence[rows, cols], found.max(1))
        np.testing.assert_array_equal(drawn.classes[rows, cols], found.argmax(1) + 1)


def test_maps_are_of_32_bits_unless_others_are_asked_for(loaded: Trained, small: Path) -> None:
    scene = load_scene("scene", small, need_labels=False)
    auto, full, half = (
        draw_map(Mapper(loaded.network, loaded.device, batch=32, precision=each), scene, ["sar"], "").confidence
        for each in ("auto", 32, "bf16-mixed")
    )
    np.testing.assert_array_equal(auto, full)
    assert 0 < np.abs(half - full).max() < 0.05


def test_progress_without_a_terminal_is_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    with Told("classifying", 1000, done=200) as told:
        for _ in range(40):
            clock += 10
            told.advance(20)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "classifying: 32 %, 5 min 40 s left"
    assert (len(lines), lines[-1]) == (7, "classifying: done in 6 min 40 s")
    with Told("classifying", 10, shown=False) as told:
        told.advance(10)
    assert capsys.readouterr() == ("", "")


def test_progress_of_others_is_told_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK", 0.001)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    blocks = [30, 50, 100]
    with Told("classifying", 100, done=10) as told, watching(told, lambda: blocks[0]):
        deadline = time.monotonic() + 20
        while "50 %" not in capsys.readouterr().err and time.monotonic() < deadline:
            del blocks[: len(blocks) > 2]
    assert time.monotonic() < deadline
    assert told.done == 50


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (200_000, "2 d 7 h")]
)
def test_times_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
