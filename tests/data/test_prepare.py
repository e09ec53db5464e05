import importlib.util
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mamol.data import writing
from mamol.data.tables import open_tables

Write = Callable[..., Path]
SCRIPT = Path(__file__).parents[2] / "make_arrow.py"


@pytest.fixture
def make_arrow(tmp_path: Path) -> Callable[..., int]:
    spec = importlib.util.spec_from_file_location("make_arrow_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(dataset: str, root: Path, *options: str) -> int:
        return module.main(["--dataset", dataset, "--root", str(root), "--out", str(tmp_path / "out"), *options])

    return run


FEW = ("--patch-size", "4", "--train-per-class", "10", "--test-per-class", "15", "--val-per-class", "3")


def test_the_report_says_what_was_built(
    make_arrow: Callable[..., int], tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_arrow("synthetic", tiny_root, *FEW) == 0
    report = capsys.readouterr().out
    assert "synthetic: 40 x 50, bands: hsi 5, lidar 1, sar 2, windows of 4" in report
    assert "synthetic scene: results on it say nothing" in report
    assert [line.split()[-3:] for line in report.splitlines() if line.startswith("class 2")] == [["10", "3", "15"]]
    assert [line.split() for line in report.splitlines() if line.startswith("total")] == [["total", "30", "9", "45"]]
    assert "overlap: 0 test pixels (0.0 %) are training pixels" in report
    assert f"wrote {tmp_path / 'out' / 'test.arrow'}" in report
    assert report.rstrip().endswith(f"next: python run.py with remote data_root={tmp_path / 'out'}")
    info = open_tables(tmp_path / "out")["train"].info
    assert (info.dataset, info.scene) == ("synthetic", "synthetic")


def test_paper_says_by_how_much_it_leaks(
    make_arrow: Callable[..., int], tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_arrow("trento", tiny_root, "--protocol", "paper", "--patch-size", "4") == 0
    report = capsys.readouterr().out
    overlap = open_tables(tmp_path / "out")["test"].info.overlap
    assert overlap["identical_pixels"] > 0
    assert (
        f"warning: protocol paper leaks: {overlap['identical_pixels']} test pixels ({overlap['identical_percent']} %)"
        in report
    )


def test_shortfall_is_printed_and_recorded(
    make_arrow: Callable[..., int], tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_arrow("trento", tiny_root, "--train-per-class", "10", "--test-per-class", "500") == 0
    shortfall = open_tables(tmp_path / "out")["train"].info.shortfall
    assert set(shortfall) == {"test", "val"}
    assert f"test has fewer pixels than asked for: class 1 {shortfall['test']['class 1']} fewer" in (
        capsys.readouterr().out
    )


def test_a_constant_band_has_deviation_one(
    make_arrow: Callable[..., int], tiny_root: Path, tmp_path: Path, write_mat: Write
) -> None:
    write_mat(tiny_root / "LiDAR.mat", LiDAR=np.full((40, 50), 0.1))
    assert make_arrow("trento", tiny_root, *FEW) == 0
    info = open_tables(tmp_path / "out")["train"].info
    assert info.std["lidar"] == [1.0]
    assert info.mean["lidar"] == [pytest.approx(0.1)]


def test_named_configs_are_proposed_by_the_number_of_sensors(
    make_arrow: Callable[..., int], tiny_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for modalities, config in (("hsi,sar", "augsburg"), ("hsi,sar,lidar", "augsburg3"), ("hsi", "remote")):
        assert make_arrow("augsburg", tiny_root, *FEW, "--modalities", modalities) == 0
        assert f"run.py with {config} data_root" in capsys.readouterr().out


def test_patches_beyond_the_limit_are_refused_with_the_way_out(
    make_arrow: Callable[..., int],
    tiny_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(writing, "LIMIT_BYTES", 10**4)
    assert make_arrow("trento", tiny_root, *FEW) == 1
    assert "use --layout scene" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert make_arrow("trento", tiny_root, *FEW, "--layout", "scene") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layout", "rows"], "layout 'rows' is unknown; known: patches, scene"),
        (["--patch-size", "0"], "patch-size 0: expected 1 to 256"),
        (["--protocol", "odd"], "protocol 'odd' is unknown"),
        (["--protocol", "official"], "protocol official: there are no training and test label maps"),
        (["--modalities", "hsi,ms"], "modalities: trento has no ms"),
        (["--modalities", "hsi,"], "modality ''"),
        (["--test-per-class", "-3"], "test-per-class -3: expected 1 or more"),
        (["--seed", "-3"], "seed -3: expected 0 or more"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    make_arrow: Callable[..., int],
    tiny_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert make_arrow("trento", tiny_root, *options) == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_unknown_dataset_and_root(
    make_arrow: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_arrow("houston", tmp_path) == 1
    assert make_arrow("trento", tmp_path / "nowhere") == 1
    error = capsys.readouterr().err
    assert "dataset 'houston' is unknown; known: houston2013" in error
    assert "nowhere: no such folder" in error


@pytest.fixture
def samples_root(tmp_path: Path, write_mat: Write) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path / "samples"
    write_mat(root / "HSI_TrSet.mat", HSI_TrSet=rng.random((60, 144)))
    write_mat(root / "LiDAR_TrSet.mat", LiDAR_TrSet=rng.random((60, 21 * 9)))
    write_mat(root / "TrLabel.mat", TrLabel=np.repeat([[1], [2]], 30, axis=0))
    return root


def test_a_pre_cut_release_becomes_tables(
    make_arrow: Callable[..., int], samples_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert make_arrow("houston2013", samples_root, *FEW) == 0
    assert "patch-size 4 is ignored: the release has windows of 3" in caplog.text
    table = open_tables(tmp_path / "out")["test"]
    assert table.windows("hsi", np.arange(2)).shape == (2, 144, 3, 3)
    assert set(table.col) == {0}
    assert table.info.overlap["shared_window_percent"] is None
    rows = np.concatenate([each.row for each in open_tables(tmp_path / "out").values()])
    assert len(set(rows)) == len(rows) == 56


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--protocol", "blocks"], "protocol blocks: .* pre-cut release"),
        (["--layout", "scene"], "layout scene: .* pre-cut release"),
        (["--protocol", "official"], "protocol official: there are no"),
    ],
)
def test_what_a_pre_cut_release_cannot_have(
    make_arrow: Callable[..., int],
    samples_root: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert make_arrow("houston2013", samples_root, *options) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("dataset", "folder", "options", "bands", "test_samples"),
    [
        ("trento", "trento_hybrid", ["--patch-size", "8"], {"hsi": 63, "lidar": 2}, 1800),
        ("trento", "trento_hybrid", ["--modalities", "hsi,lidar,sar"], {"hsi": 63, "lidar": 2, "sar": 4}, 1800),
        ("scene", "idtrees", [], {"hsi": 73, "lidar": 1, "ms": 3}, 2400),
        ("scene", "eolearn_slovenia", ["--protocol", "official"], {"hsi": 65, "lidar": 1}, 4026),
        ("scene", "yellow_river", [], {"hsi": 3, "sar": 1}, 600),
        ("scene", "italy", [], {"hsi": 3, "sar": 1}, 600),
    ],
)
def test_real_scenes(
    make_arrow: Callable[..., int],
    shared_data: Path,
    tmp_path: Path,
    dataset: str,
    folder: str,
    options: list[str],
    bands: dict[str, int],
    test_samples: int,
) -> None:
    assert make_arrow(dataset, shared_data / folder, *options, "--layout", "scene") == 0
    tables = open_tables(tmp_path / "out")
    assert tables["test"].info.modalities == bands
    assert len(tables["test"]) == test_samples


def test_the_real_houston_samples(make_arrow: Callable[..., int], shared_data: Path, tmp_path: Path) -> None:
    assert make_arrow("houston2013", shared_data / "houston2013_samples", *FEW) == 0
    info = open_tables(tmp_path / "out")["train"].info
    assert (info.modalities, info.patch_size) == ({"hsi": 144, "lidar": 21}, 7)
    assert info.scene_shape == (2832, 1)
