"""Scenes and tables that many tests read."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from scipy.io import loadmat, savemat

import make_arrow
from mamol.backbones import architectures
from mamol.backbones.architectures import TINY
from mamol.data.synthetic import write_synthetic_scene
from mamol.evaluation.mapfiles import MapFiles
from tests.lines import trained
from tests.toys import NARROW

SAVE = Figure.savefig


@contextmanager
def _tiny(width: int) -> Iterator[None]:
    """``backbone=tiny`` with a visual tower of this width, in this process."""
    sizes = replace(TINY, visual=replace(TINY.visual, width=width, output_dim=width))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "TINY", sizes)
        yield


@pytest.fixture(scope="session", autouse=True)
def narrow() -> Iterator[None]:
    """``backbone=tiny`` a quarter as wide."""
    with _tiny(NARROW):
        yield


@contextmanager
def _figures(save: Callable[..., object]) -> Iterator[None]:
    """How figures become files in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_figures() -> Iterator[None]:
    """Files without content where figures belong, whose drawing takes half a second each."""
    with _figures(lambda figure, path, **_: Path(path).write_bytes(b"no picture")):
        yield


@pytest.fixture
def figures() -> Iterator[None]:
    """Figures as they are, for tests in which they count."""
    with _figures(SAVE):
        yield


@pytest.fixture(scope="module")
def figures_in_module() -> Iterator[None]:
    """As ``figures``, for fixtures and all tests of a module."""
    with _figures(SAVE):
        yield


@pytest.fixture
def tiny() -> Iterator[None]:
    """``backbone=tiny`` as it is, for tests in which other processes have it, too, or which look at numbers."""
    with _tiny(TINY.visual.width):
        yield


@pytest.fixture(scope="module")
def tiny_in_module() -> Iterator[None]:
    """As ``tiny``, for fixtures and all tests of a module."""
    with _tiny(TINY.visual.width):
        yield


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Every test may read the log, though benchmarks, which run as commands of their own, leave it quiet."""
    logger = logging.getLogger("mamol")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic scene of HSI, LiDAR and SAR as .mat files."""
    return write_synthetic_scene(tmp_path_factory.mktemp("scene"), height=32, width=36)


@pytest.fixture(scope="session")
def corner_folder(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The upper left 8 × 10 pixels of it, for maps of which only the files count."""
    folder = tmp_path_factory.mktemp("corner")
    for path in scene_folder.glob("*.mat"):
        rasters = {name: raster for name, raster in loadmat(path).items() if not name.startswith("__")}
        savemat(folder / path.name, {name: raster[:8, :10] for name, raster in rasters.items()})
    return folder


@pytest.fixture(scope="session")
def table_folder(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of it: 6 classes, 4 × 4 windows, 8 training, 4 validation and 6 test pixels per class."""
    out = tmp_path_factory.mktemp("table")
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    status = make_arrow.main(["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(out), *sizes])
    if status:
        raise RuntimeError("make_arrow.py failed")
    return out


@pytest.fixture(scope="session")
def finished_run(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of two epochs."""
    return trained(tmp_path_factory.mktemp("runs"), f"data_root={table_folder}", "exp_name=done", "max_epoch=2")


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps without their pictures, which take longer than the rest of a small map."""
    monkeypatch.setattr(MapFiles, "_save_png", lambda files, path: [path] * bool(path.write_bytes(b"no picture")))
