"""Commands that write, killed at any change of a file: what was there is whole, and the same command ends as ever."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import rasterio.shutil

from tests.faults.commands import Places, cases, litter
from tests.faults.conftest import WHOLE
from tests.faults.kills import SIGNALS, changes_of, killed_at

MOMENTS = 20
COMMANDS = (
    "make_arrow patches",
    "make_arrow scene",
    "make_arrow tiles",
    "train",
    "pretrain",
    "test_only",
    "evaluate",
    "routing",
    "prune",
    "merge",
    "export",
    "save",
    "predict",
)
LARGE = ("train tiles", "calibrate", "predict rasters", "report")
"""Whose way is that of another one in most parts: with ``make faults`` alone."""


@pytest.mark.usefixtures("no_pictures", "small_pretraining", "no_graph")
@pytest.mark.parametrize("name", [*COMMANDS, *(LARGE if WHOLE else ())])
def test_a_killed_command_goes_on_to_the_same_end(name: str, places: Places, tmp_path: Path, share: float) -> None:
    case = cases(places)[name]
    whole = tmp_path / "whole"
    case.begin(whole)
    count = changes_of(whole, lambda: case.work(whole))
    wanted = case.results(whole)
    assert wanted
    moments = min(count, max(1, round(MOMENTS * share)))
    first = [*COMMANDS, *LARGE].index(name)
    for number in range(moments):
        moment = round((count - 1) * (number + 0.5) / moments)
        folder = tmp_path / str(number)
        case.begin(folder)
        sign = SIGNALS[(first + number) % len(SIGNALS)]
        killed = killed_at(moment, sign, folder, lambda: case.work(folder))  # noqa: B023 - done at once
        # Lightning answers SIGTERM between two steps, and so a training that is at its end may end as ever.
        assert killed or sign == signal.SIGTERM, (moment, count)
        assert not killed_at(None, sign, folder, lambda: case.work(folder)), (moment, count)  # noqa: B023
        assert case.results(folder) == wanted, (moment, count, sign)
        assert not litter(folder), (moment, count, sign)
        shutil.rmtree(folder)


@pytest.mark.usefixtures("no_pictures")
def test_what_gdal_left_of_a_killed_map_is_removed(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain raster before the one for the cloud, and the overviews, which GDAL builds beside it."""
    case, folder = cases(places)["predict rasters"], tmp_path / "folder"
    case.begin(folder)

    def killed(source: Path, target: Path, **options: object) -> None:
        target.with_name(f"{target.name}.ovr.tmp").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(rasterio.shutil, "copy", killed)
        assert killed_at(None, signal.SIGKILL, folder, lambda: case.work(folder))
    assert len(litter(folder)) == 2
    case.work(folder)
    assert not litter(folder)
