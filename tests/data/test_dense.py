"""What a dense head is trained with: labels of training pixels alone, windows shifted by the seed, in both layouts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from mamol.core.errors import MamolError
from mamol.core.task import UNLABELLED
from mamol.data.datamodules import MultimodalData
from mamol.data.dense import DenseLabels, Shifts
from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable
from tests.data.test_tables import rewrite

PATCH, MARGIN = 6, 3


@pytest.fixture
def options(tiny_root: Path, tmp_path: Path) -> Options:
    """A table whose windows can be shifted anywhere."""
    return Options(
        "trento",
        tiny_root,
        tmp_path / "patches",
        modalities=("hsi", "lidar"),
        patch_size=PATCH,
        train_per_class=20,
        test_per_class=30,
        val_per_class=5,
        margin=MARGIN,
    )


def built(options: Options, **changes: object) -> SceneTable:
    """The training table."""
    options = dataclasses.replace(options, **changes)  # type: ignore[arg-type]
    prepare(options)
    return SceneTable.open(options.out / "train.arrow")


def test_both_layouts_give_the_same_shifted_windows_and_labels(options: Options, tmp_path: Path) -> None:
    """To the bit; and a shifted window is that of the pixel that stands in its middle."""
    patches, scene = built(options), built(options, layout="scene", out=tmp_path / "scene")
    index = np.arange(len(patches))
    shift = Shifts.wanted(patches, None).draw(len(patches), 0, 0)
    for name in ("hsi", "lidar"):
        np.testing.assert_array_equal(patches.windows(name, index, shift), scene.windows(name, index, shift))
        np.testing.assert_array_equal(patches.windows(name, index), scene.windows(name, index))
    np.testing.assert_array_equal(DenseLabels(patches).around(index, shift), DenseLabels(scene).around(index, shift))
    inside = (patches.row + shift[:, 0] >= 0) & (patches.row + shift[:, 0] < 40) & (patches.col + shift[:, 1] >= 0)
    inside &= patches.col + shift[:, 1] < 50
    moved = scene.windows("hsi", index, shift)[inside]
    where = {(r, c): i for i, (r, c) in enumerate(zip(scene.row, scene.col, strict=True))}
    there = [
        (number, where[place])
        for number, place in enumerate(zip(*(np.array([scene.row, scene.col]) + shift.T)[:, inside], strict=True))
        if place in where
    ]
    assert there
    for number, own in there:
        np.testing.assert_array_equal(moved[number], scene.windows("hsi", np.array([own]))[0])


def test_labels_are_those_of_training_pixels_alone(options: Options) -> None:
    """Every labelled place of a window is a pixel of the training table, with its label; the sample's is among them."""
    table = built(options)
    index = np.arange(len(table))
    shift = Shifts.wanted(table, None).draw(len(table), 3, 1)
    labels = DenseLabels(table).around(index, shift)
    known = {(r, c): y for r, c, y in zip(table.row, table.col, table.label, strict=True)}
    found = 0
    for sample, (down, across) in enumerate(shift):
        top, left = table.row[sample] + down - PATCH // 2, table.col[sample] + across - PATCH // 2
        for i, j in np.ndindex(PATCH, PATCH):
            if 0 <= top + i < 40 and 0 <= left + j < 50:
                expected = known.get((top + i, left + j), UNLABELLED)
                assert labels[sample, i, j] == expected
                found += expected != UNLABELLED
        middle = PATCH // 2 - down, PATCH // 2 - across
        assert labels[sample][middle] == table.label[sample]
    assert found > len(table)  # neighbours train, too


def test_labels_of_other_splits_never_reach_a_loss(options: Options) -> None:
    """Training batches are the same when every label of val and test is another one."""
    built(options)

    def batches() -> list[np.ndarray]:
        data = MultimodalData(options.out, batch_size=16, seed=1)
        data.serve_pixels(None)
        loaded = list(data.loader("train"))
        return [batch[key].numpy() for batch in loaded for key in ("label", "hsi", "lidar", "available")]

    before = batches()
    for split in ("val", "test"):
        path = options.out / f"{split}.arrow"
        changed = SceneTable.open(path)
        rewrite(path, labels=(changed.label + 1) % 3)
    for one, other in zip(before, batches(), strict=True):
        np.testing.assert_array_equal(one, other)


@given(size=st.integers(1, 20), most=st.integers(0, 30), samples=st.integers(1, 50), seed=st.integers(0, 9))
def test_the_sample_stays_in_its_window(size: int, most: int, samples: int, seed: int) -> None:
    """Wherever the window goes; every draw has its seed and its epoch."""
    shifts = Shifts(size, most)
    drawn = shifts.draw(samples, seed, 0)
    place = size // 2 - drawn
    assert ((place >= 0) & (place < size)).all()
    assert np.abs(drawn).max() <= most
    np.testing.assert_array_equal(drawn, shifts.draw(samples, seed, 0))


def test_a_label_stands_anywhere() -> None:
    """With half a window of shift, every place of a window has its turn."""
    place = 8 // 2 - Shifts(8, 4).draw(5000, 0, 0)
    assert len(np.unique(place[:, 0] * 8 + place[:, 1])) == 64


def test_pixels_that_no_present_sensor_saw_do_not_train(tiny_root: Path, options: Options) -> None:
    """Their features are zero, so that a label there would teach the bias alone."""
    lidar = loadmat(tiny_root / "LiDAR.mat")["LiDAR"]
    lidar[:, ::3] = np.nan
    savemat(tiny_root / "LiDAR.mat", {"LiDAR": lidar})
    prepare(options)
    data = MultimodalData(options.out, ("lidar", "hsi"), batch_size=999)
    data.serve_pixels(0)
    (batch,) = data.loader("train")
    alone = (batch["available"][:, 0] & ~batch["available"][:, 1]).numpy()
    unseen = np.isnan(batch["lidar"].numpy()[:, 0]) & alone[:, None, None]
    labels, known = batch["label"].numpy(), DenseLabels(SceneTable.open(options.out / "train.arrow"))
    everything = known.around(batch["index"].numpy(), np.zeros((len(labels), 2), np.int64))
    assert (everything[unseen] != UNLABELLED).any()
    assert (labels[unseen] == UNLABELLED).all()
    assert (labels != UNLABELLED).any(axis=(1, 2)).all()


def test_blocks_keep_their_distance(options: Options) -> None:
    """Shifted training windows see no pixel of a test window where protocol blocks promises it."""
    table = built(options, protocol="blocks", layout="scene", patch_size=4, margin=2, train_per_class=5)
    test = SceneTable.open(options.out / "test.arrow")
    gap = np.maximum(np.abs(table.row[:, None] - test.row), np.abs(table.col[:, None] - test.col)).min()
    assert gap >= 4 + 2
    assert table.info.reach == 2
    assert built(options, protocol="blocks", layout="scene", margin=0, patch_size=4, train_per_class=5).info.reach == 0
    assert built(options, layout="scene", margin=0).info.reach == PATCH // 2


def test_shifts_and_margins_that_cannot_be(options: Options) -> None:
    """One line each."""
    built(options, margin=1)
    data = MultimodalData(options.out)
    with pytest.raises(
        MamolError, match=r"window_shift=2: the windows of .* by 1 pixels at most; build it with --margin 2"
    ):
        data.serve_pixels(2)
    with pytest.raises(MamolError, match="margin -1: expected 0 to 256 pixels"):
        prepare(dataclasses.replace(options, margin=-1))


def test_a_table_without_margin_is_what_it_was(options: Options) -> None:
    """No new key, no other bits; with one, only the windows are larger."""
    plain = built(options, margin=0)
    assert "dense" not in plain.info.to_json()
    assert built(options).fingerprint == plain.fingerprint


@pytest.mark.parametrize("dense", [5, {"margin": "wide"}, {"width": 3}])
def test_a_damaged_margin_is_told(dense: object, options: Options) -> None:
    """With the file's name."""
    built(options)
    path = options.out / "train.arrow"
    rewrite(path, info={"dense": dense})
    with pytest.raises(MamolError, match=r"train\.arrow: its scenes or its margin are damaged"):
        SceneTable.open(path)
