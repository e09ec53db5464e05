"""Readers: windows are the whole to the bit, in threads and processes, and in bounded memory."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.data import warping
from mamol.data.grid import Grid
from mamol.data.sources import ArraySource, RasterSource, Source
from mamol.data.warping import Warped, onto
from tests.geotiffs import LONLAT, place, scene_of, smooth, write_raster

FINE = np.random.default_rng(1).integers(0, 4000, (40, 50, 3)).astype(np.uint16)
BOTH = {"optical": {"file": "optical.tif"}, "sar": {"file": "sar.tif"}}
KINDS = ("file", "shifted", "coarse", "rotated", "crs", "mosaic", "stack", "masked")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a raster of 40×50 pixels of 10 m."""
    write_raster(tmp_path / "optical.tif", FINE)
    return tmp_path


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Source, np.ndarray]]:
    """One reader of each kind, with the whole of it."""
    root = tmp_path_factory.mktemp("readers")
    rng = np.random.default_rng(2)
    cube = rng.integers(0, 999, (150, 170, 2)).astype(np.int16)
    cube[rng.random((150, 170)) < 0.1] = -9
    write_raster(root / "optical.tif", cube, nodata=-9, tiled=True, blockxsize=64, blockysize=64)
    write_raster(root / "shifted.tif", cube, place(west=200, south=-130), nodata=-9)
    write_raster(root / "coarse.tif", cube, place(23, west=-400, south=-77), nodata=-9)
    write_raster(root / "rotated.tif", cube, place(7, west=300, south=10, angle=-20), nodata=-9)
    write_raster(root / "crs.tif", cube, (0.0001, 0, 15.0, 0, -0.0001, 46.0543), LONLAT, nodata=-9)
    write_raster(root / "q.tif", cube[:, :, 0] % 7, place(20))
    scene = scene_of(
        root,
        {
            "file": {"file": "optical.tif"},
            **{name: {"file": f"{name}.tif", "resampling": "cubic"} for name in KINDS[1:5]},
            "mosaic": {"files": ["rotated.tif", "shifted.tif", "coarse.tif"]},
            "stack": {"stack": ["optical.tif", "coarse.tif"]},
            "masked": {"file": "optical.tif", "mask": {"file": "q.tif", "valid": [0, 1, 2]}, "scale": 0.1},
        },
        whole=False,
    )
    assert scene.rasters == {}
    whole = (slice(0, scene.height), slice(0, scene.width))
    for reader in scene.readers.values():
        if isinstance(reader, Warped):
            reader.tile = 64  # several tiles, as in a large scene
    return {name: (reader, reader.read(*whole)) for name, reader in scene.readers.items()}


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), box=st.tuples(*[st.integers(0, 149)] * 4))
def test_windows_equal_the_whole_to_the_bit(
    readers: dict[str, tuple[Source, np.ndarray]], kind: str, box: tuple[int, int, int, int]
) -> None:
    reader, whole = readers[kind]
    assert 0 < np.isnan(whole).mean() < 1
    rows, cols = (slice(min(pair), max(pair) + 1) for pair in (box[:2], box[2:]))
    part = pickle.loads(pickle.dumps(reader)).read(rows, cols)
    assert part.flags.writeable
    np.testing.assert_array_equal(part.view(np.uint32), np.ascontiguousarray(whole[rows, cols]).view(np.uint32))
    np.testing.assert_array_equal(np.isnan(part).all(axis=2), np.isnan(part).any(axis=2))


def _read(task: tuple[Source, int]) -> bytes:
    reader, row = task
    return reader.read(slice(row, row + 20), slice(0, 170)).tobytes()


@pytest.mark.parametrize("pool", ["threads", "fork", "spawn"])
def test_readers_serve_threads_and_processes(readers: dict[str, tuple[Source, np.ndarray]], pool: str) -> None:
    tasks = [(reader, row) for reader, _ in readers.values() for row in (0, 60, 130)] * 2
    expected = [_read(task) for task in tasks]
    if pool == "threads":
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(_read, tasks)) == expected
    else:
        with get_context(pool).Pool(2) as processes:
            assert processes.map(_read, tasks) == expected


@pytest.mark.parametrize(("resolution", "bands"), [(0.5, 1), (10.5, 3), (300, 2), (7, 30)])
def test_what_is_read_for_a_tile_is_bounded(
    root: Path, resolution: float, bands: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fine a raster is, and however many bands it has: scenes of any size are read in the same memory."""
    monkeypatch.setattr(warping, "MOST", 20_000)
    grid = RasterSource(root / "optical.tif").grid
    side = min(1000, int(500 / resolution) + 20)
    source = ArraySource(np.zeros((side, side, bands), np.float32))
    source.grid = Grid(side, side, grid.crs, place(resolution, west=-3))
    sizes: list[int] = []
    read = source.read

    def counted(rows: slice, cols: slice) -> np.ndarray:
        part = read(rows, cols)
        sizes.append(part.size)
        return part

    monkeypatch.setattr(source, "read", counted)
    found = onto(source, grid, "bilinear", "sar").read(slice(0, 40), slice(0, 50))
    assert (found[:, :, 0] == 0).any()
    margin = 2 * (3 * max(1, 10 / resolution) + 3)
    assert max(sizes) <= ((20_000 / bands) ** 0.5 + margin) ** 2 * bands


def test_a_scene_is_described_without_reading_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(root / "sar.tif", smooth(30, 40, 20), place(20))
    whole = scene_of(root, BOTH)
    monkeypatch.setattr(RasterSource, "stored", None)
    scene = scene_of(root, BOTH, whole=False)
    assert (scene.rasters, scene.maps) == ({}, None)
    assert (scene.height, scene.width, scene.channels) == (40, 50, {"optical": 3, "sar": 2})
    assert (scene.georeference, scene.sources) == (whole.georeference, whole.sources)


def test_the_readers_of_arrays_read_as_files_do(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FINE)
    scene = scene_of(tmp_path, {"optical": {"file": "a.npy"}})
    np.testing.assert_array_equal(scene.readers["optical"].read(slice(3, 5), slice(0, 9)), FINE[3:5, :9])
    again = scene_of(tmp_path, {"optical": {"file": "a.npy"}}, whole=False)
    assert (again.height, again.width, again.channels, again.georeference) == (40, 50, {"optical": 3}, None)
