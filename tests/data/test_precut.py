import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mamol.core.errors import MamolError
from mamol.core.task import UNLABELLED
from mamol.data.dense import DenseLabels
from mamol.data.prepare import Options, prepare
from mamol.data.scenes import load_scene
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables

Write = Callable[..., Path]
SAMPLES = 6


@pytest.fixture
def spectra() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, 144))


@pytest.fixture
def windows() -> np.ndarray:
    return np.random.default_rng(1).random((SAMPLES, 21, 7, 7))


@pytest.fixture
def mdl_rs(tmp_path: Path, spectra: np.ndarray, windows: np.ndarray, write_mat: Write) -> Path:
    write_mat(tmp_path / "HSI_TrSet.mat", HSI_TrSet=spectra)
    write_mat(tmp_path / "LiDAR_TrSet.mat", LiDAR_TrSet=windows.reshape(SAMPLES, -1))
    write_mat(tmp_path / "TrLabel.mat", TrLabel=np.array([[1, 1, 2, 2, 3, 3]]).T)
    return tmp_path


def test_vectors_and_flat_windows(mdl_rs: Path, spectra: np.ndarray, windows: np.ndarray) -> None:
    scene = load_scene("houston2013", mdl_rs)
    assert (scene.height, scene.width, scene.window_size) == (SAMPLES, 1, 7)
    assert scene.channels == {"hsi": 144, "lidar": 21}
    samples, zeros = np.array([4, 0]), np.zeros(2, int)
    np.testing.assert_array_equal(scene.cutter("lidar", 7).cut(samples, zeros), windows[samples].astype(np.float32))
    hsi = scene.cutter("hsi", 7).cut(samples, zeros)
    assert hsi.shape == (2, 144, 7, 7)
    np.testing.assert_array_equal(hsi, np.tile(spectra[samples, :, None, None].astype(np.float32), (1, 1, 7, 7)))
    np.testing.assert_array_equal(scene.cutter("lidar", 7).centres(samples, zeros), windows[samples, :, 3, 3])
    assert scene.train_labels is None


def test_test_samples_follow_where_all_are_there(
    mdl_rs: Path, spectra: np.ndarray, windows: np.ndarray, write_mat: Write
) -> None:
    write_mat(mdl_rs / "HSI_TeSet.mat", HSI_TeSet=spectra[:2] + 1)
    write_mat(mdl_rs / "TeLabel.mat", TeLabel=[[3], [1]])
    assert load_scene("houston2013", mdl_rs).height == SAMPLES
    write_mat(mdl_rs / "LiDAR_TeSet.mat", LiDAR_TeSet=windows[:2].reshape(2, -1))
    scene = load_scene("houston2013", mdl_rs)
    assert scene.labels is not None
    assert scene.train_labels is not None
    assert scene.test_labels is not None
    assert scene.labels.ravel().tolist() == [1, 1, 2, 2, 3, 3, 3, 1]
    assert scene.train_labels.ravel().tolist() == [1, 1, 2, 2, 3, 3, 0, 0]
    assert scene.test_labels.ravel().tolist() == [0, 0, 0, 0, 0, 0, 3, 1]


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_a_hole(
    mdl_rs: Path,
    spectra: np.ndarray,
    windows: np.ndarray,
    write_mat: Write,
    caplog: pytest.LogCaptureFixture,
    number: float,
) -> None:
    """A sample has a modality where its centre and half of its window are valid, as in a scene."""
    spectra[2, 4] = number
    windows[0, 20, 0] = windows[1, 3, 3, 3] = windows[3, 5, :, 4:] = windows[5, 0, :, 4:] = number
    windows[3, 6, 0, :4] = number  # with it 24 of 49 pixels of sample 3 are left, and 28 of sample 5
    write_mat(mdl_rs / "HSI_TrSet.mat", HSI_TrSet=spectra)
    write_mat(mdl_rs / "LiDAR_TrSet.mat", LiDAR_TrSet=windows.reshape(SAMPLES, -1))
    out = mdl_rs / "tables"
    sizes = {"train_per_class": 1, "test_per_class": 1, "val_per_class": 0}
    report = prepare(Options("houston2013", mdl_rs, out, **sizes))
    assert "houston2013: hsi: 16.7 % of the pixels are invalid" in caplog.text
    assert "seen by" in report
    seen = {}
    for split in ("train", "test"):
        table = open_tables(out)[split]
        assert isinstance(table, SceneTable)
        there = table.natural_of(["hsi", "lidar"])
        assert there is not None
        windows_there = table.windows("lidar", np.arange(len(table)))
        for row, has, lidar in zip(table.row, there, windows_there, strict=True):
            seen[int(row)] = has.tolist()
            invalid = ~(np.abs(windows[row]) < 1e38).all(0)
            np.testing.assert_array_equal(np.isnan(lidar), np.broadcast_to(invalid, lidar.shape))
    assert seen == {
        0: [True, True],
        1: [True, False],
        2: [False, True],
        3: [True, False],
        4: [True, True],
        5: [True, True],
    }


def test_windows_with_bands_last(tmp_path: Path, write_mat: Write) -> None:
    cube = np.random.default_rng(0).random((4, 11, 11, 63))
    write_mat(tmp_path / "HSI_Tr.mat", Data=cube)
    write_mat(tmp_path / "LIDAR_Tr.mat", Data=cube[..., 0])
    write_mat(tmp_path / "TrLabel.mat", Data=[[1, 1, 2, 2]])
    scene = load_scene("trento", tmp_path)
    assert (scene.channels, scene.window_size) == ({"hsi": 63, "lidar": 1}, 11)
    got = scene.cutter("hsi", 11).cut(np.array([2]), np.array([0]))[0]
    np.testing.assert_array_equal(got, cube[2].transpose(2, 0, 1).astype(np.float32))


def test_pre_cut_releases_that_do_not_fit_together(
    mdl_rs: Path, spectra: np.ndarray, windows: np.ndarray, write_mat: Write
) -> None:
    with pytest.raises(MamolError, match="there is no map to draw"):
        load_scene("houston2013", mdl_rs, need_labels=False)
    with pytest.raises(MamolError, match=r"pre-cut release of houston2013 .* has no ms; it has hsi, lidar"):
        load_scene("houston2013", mdl_rs, modalities=["hsi", "ms"])
    write_mat(mdl_rs / "HSI_TrSet.mat", HSI_TrSet=spectra[1:])
    with pytest.raises(MamolError, match=r"HSI_TrSet.mat: 5 samples, but there are 6 labels"):
        load_scene("houston2013", mdl_rs)
    write_mat(mdl_rs / "HSI_TrSet.mat", HSI_TrSet=np.full_like(spectra, np.inf))
    with pytest.raises(MamolError, match="houston2013: hsi: none of its 6 x 1 x 7 x 7 pixels is valid"):
        load_scene("houston2013", mdl_rs)
    write_mat(mdl_rs / "HSI_TrSet.mat", HSI_TrSet=spectra[:, :100])
    with pytest.raises(MamolError, match=re.escape("is neither (N, 144) nor (N, 144·P·P)")):
        load_scene("houston2013", mdl_rs)
    write_mat(mdl_rs / "HSI_TrSet.mat", HSI_TrSet=np.zeros((SAMPLES, 5, 5, 144)))
    with pytest.raises(MamolError, match="windows of different sizes"):
        load_scene("houston2013", mdl_rs)
    write_mat(mdl_rs / "TrLabel.mat", TrLabel=np.zeros((SAMPLES, 1)))
    with pytest.raises(MamolError, match="labels of samples start at 1"):
        load_scene("houston2013", mdl_rs)


def test_a_dense_head_learns_a_releases_middle_pixels(mdl_rs: Path, tmp_path: Path) -> None:
    """The samples beside a sample in the table are not its neighbours on the ground."""
    options = Options("houston2013", mdl_rs, tmp_path / "out", train_per_class=1, test_per_class=1, val_per_class=0)
    prepare(options)
    table = SceneTable.open(tmp_path / "out" / "train.arrow")
    labels = DenseLabels(table).around(np.arange(3), np.zeros((3, 2), np.int64))
    assert labels[:, 3, 3].tolist() == table.label.tolist()
    assert (labels != UNLABELLED).sum() == 3
    assert not table.info.placed
    with pytest.raises(MamolError, match=r"margin 2: .* is a pre-cut release, whose samples have no place in a scene"):
        prepare(replace(options, margin=2))
