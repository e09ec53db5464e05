"""How much is tried: a part with all tests, the whole with ``make faults``; and what the commands read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mamol.api import pretrain
from mamol.backbones.mixture.tower import NAMED
from mamol.evaluation import export_run, reconstructions
from tests.faults.commands import TILES, Places, cases
from tests.lines import tables
from tests.placed import write_placed

WHOLE = os.environ.get("FAULTS") == "whole"


if WHOLE:

    @pytest.fixture(scope="session", autouse=True)
    def narrow() -> None:
        """``backbone=tiny`` as it is, which the processes that only these trials start have, too."""


@pytest.fixture(scope="session")
def share() -> float:
    """Of the trials of ``make faults`` that are made."""
    return 1.0 if WHOLE else 0.02


@pytest.fixture(scope="session")
def places(
    scene_folder: Path,
    corner_folder: Path,
    table_folder: Path,
    finished_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Places:
    """What the commands read, which nobody changes."""
    tiles = tmp_path_factory.mktemp("tiles")
    done = tables("--dataset", "synthetic", "--root", scene_folder, "--out", tiles, *TILES)
    if done.returncode:
        raise RuntimeError(done.stderr)
    field = write_placed(scene_folder, tmp_path_factory.mktemp("field") / "field", "field", slice(8), slice(10)).parent
    return Places(scene_folder, corner_folder, field, table_folder, tiles, finished_run)


@pytest.fixture
def small_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little to train and to score, and pictures without content, which take longer than the rest."""
    shrink(monkeypatch)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """As of ``small_pretraining``."""
    patch.setitem(NAMED, "tiny", (16, 2, 2))
    patch.setattr(reconstructions, "WINDOWS", 16)
    patch.setattr(pretrain, "picture_of", lambda network, grounds, seed, title: Figure())
    patch.setattr(pretrain, "training_curves", lambda history, title: Figure())


class NoFile:
    """In place of an open ONNX file, for SAR alone."""

    def __init__(self, path: Path) -> None:
        self.inputs = ["sar"]


@pytest.fixture
def no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports without their graph, which takes longer than the rest and is written in one piece."""
    monkeypatch.setattr(export_run, "write_onnx", lambda path, *_: path.write_bytes(b"no graph"))
    monkeypatch.setattr(export_run, "OnnxFile", NoFile)
    monkeypatch.setattr(export_run, "_difference", lambda *_: 0.0)
    monkeypatch.setattr(export_run, "_latency", lambda *_: {"sar": {"onnxruntime": 1.0, "PyTorch": 1.0}})


@pytest.fixture(scope="session")
def pretrained(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of ``pretrain`` as of ``commands.cases``, finished."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        cases(places)["pretrain"].work(folder)
    return folder
