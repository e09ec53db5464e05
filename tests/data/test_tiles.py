"""Tables of tiles: which tiles there are, whose labels they have, how they are dealt, what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.commands.tables import main
from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.core.task import UNLABELLED
from mamol.data.area import Area
from mamol.data.arrays import scene_of
from mamol.data.datamodules import MultimodalData
from mamol.data.dense import DenseLabels
from mamol.data.extents import Extent, Extents
from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from mamol.data.tiles import Grid, class_counts, draw_tiles, labelled_pixels
from tests.areas import write_area, write_scene

P = 6
TILES: dict[str, Any] = {"task": "segmentation", "tile": P}


def built(root: Path, out: Path, **options: Any) -> dict[str, SceneTable]:
    prepare(Options("scene", root, out, **{**TILES, **options}))
    return open_tables(out)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene whose sides are no multiples of the tiles' side, with a cloud over ``hsi``."""
    folder = write_scene(tmp_path_factory.mktemp("raw") / "field", 0, (26, 32))
    hsi = np.load(folder / "hsi.npy")
    hsi[4:15, 5:20] = np.nan
    np.save(folder / "hsi.npy", hsi)
    return folder


@pytest.fixture(scope="module")
def tables(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SceneTable]:
    return built(root, tmp_path_factory.mktemp("tables"))


def painted(table: SceneTable) -> np.ndarray:
    """(N,) labels of all pixels, from 1; fails where two tiles label one pixel."""
    extents = table.info.extents
    result = np.zeros(extents.shape[0] * extents.shape[1], int)
    for sample in range(len(table)):
        scenes = None if table.scene is None else table.scene[[sample]]
        _, widths, starts = extents.sizes_at(scenes)
        top, left = table.row[sample] - P // 2, table.col[sample] - P // 2
        for i, j in np.argwhere(table.label[sample] != UNLABELLED):
            pixel = starts[0] + (top + i) * widths[0] + left + j
            assert result[pixel] == 0
            result[pixel] = table.label[sample, i, j] + 1
    return result


def test_a_table_of_tiles_says_so(tables: dict[str, SceneTable]) -> None:
    info = tables["train"].info
    assert (info.task, info.tiled, info.window) == ("segmentation", True, P)
    assert [len(tables[split]) for split in SPLITS] == [18, 3, 9]  # 5 x 6 tiles
    assert tables["test"].label.shape == (9, P, P)
    counts = {split: [int((tables[split].label == k).sum()) for k in range(3)] for split in SPLITS}
    assert {split: list(info.counts[split].values()) for split in SPLITS} == counts
    assert info.overlap == {
        "identical_pixels": 0,
        "identical_percent": 0.0,
        "shared_window_percent": 0.0,
        "same_class_window_percent": 0.0,
    }
    assert sum(info.natural["train"].values()) == 18


def test_every_labelled_pixel_is_in_one_split(root: Path, tables: dict[str, SceneTable]) -> None:
    """And is what the map says; only where no sensor saw a pixel, or too little of its tile, there is no label."""
    each = [painted(tables[split]) for split in SPLITS]
    assert (np.sum([own > 0 for own in each], axis=0) <= 1).all()
    labels = np.load(root / "gt.npy").ravel()
    together = np.sum(each, axis=0)
    assert (together[together > 0] == labels[together > 0]).all()
    assert (together > 0).all()  # sar saw everything
    for table in tables.values():
        known = table.label != UNLABELLED
        assert known.any((1, 2)).all()
        beyond = np.array([[r - P // 2 + i >= 26 or r - P // 2 + i < 0 for i in range(P)] for r in table.row])
        assert not known[beyond].any()


def test_labels_go_where_a_sensor_saw_the_pixel_and_enough_of_the_tile(tmp_path: Path) -> None:
    """The first tile is seen by one sensor, in one of its four columns: at half of it, no sensor has it."""
    rng = np.random.default_rng(0)
    hsi, sar = rng.normal(size=(4, 12, 2)), rng.normal(size=(4, 12))
    hsi[:, 0:3] = np.nan  # a quarter of the first tile is left
    sar[:, 0:5] = np.nan
    labels = np.tile([1, 2], (4, 6))
    area = Area.of_one(scene_of({"hsi": hsi, "sar": sar}, labels, name="strip"))
    drawn = draw_tiles(area, "disjoint", (0.5, 0, 0.5), seed=0, size=4, min_valid=0.5)
    assert drawn.left_out == 16
    assert sum(len(own) for own in drawn.split.pixels.values()) == 2
    drawn = draw_tiles(area, "disjoint", (0.5, 0, 0.5), seed=0, size=4, min_valid=0.25)
    assert drawn.left_out == 12
    tiles = [(own.cols[i], own.labels[i]) for own in drawn.split.pixels.values() for i in range(len(own))]
    first = dict(tiles)[2]
    assert (first[:, :3] == UNLABELLED).all()
    assert (first[:, 3] == 1).all()


@pytest.mark.parametrize("scenes", [1, 4])
def test_both_layouts_have_the_same_bits(scenes: int, root: Path, tmp_path: Path) -> None:
    source = root if scenes == 1 else write_area(tmp_path / "valley")
    patches = built(source, tmp_path / "patches", margin=2)
    scene = built(source, tmp_path / "scene", margin=2, layout="scene")
    for split in SPLITS:
        one, other = patches[split], scene[split]
        assert one.fingerprint == other.fingerprint
        index = np.arange(len(one))
        shift = np.random.default_rng(0).integers(-2, 3, (len(one), 2))
        np.testing.assert_array_equal(one.label, other.label)
        for name in one.info.modalities:
            np.testing.assert_array_equal(one.windows(name, index), other.windows(name, index))
            np.testing.assert_array_equal(one.windows(name, index, shift), other.windows(name, index, shift))
        np.testing.assert_array_equal(DenseLabels(one).around(index, shift), DenseLabels(other).around(index, shift))


def test_tiles_of_many_scenes_stay_in_their_own(tmp_path: Path) -> None:
    """Statistics are those of the labelled training pixels; with ``scenes`` no scene is in two splits."""
    root = write_area(tmp_path / "valley")
    tables = built(root, tmp_path / "out", protocol="scenes")
    scenes = {split: set(table.scene.tolist()) for split, table in tables.items() if table.scene is not None}
    assert sum(map(len, scenes.values())) == len(set.union(*scenes.values())) == 4
    train = tables["train"]
    assert train.scene is not None
    rasters = [np.load(root / each.name / "sar.npy")[..., 0] for each in train.info.scenes]
    values = []
    for row, col, scene, label in zip(train.row, train.col, train.scene, train.label, strict=True):
        for i, j in np.argwhere(label != UNLABELLED):
            values.append(float(rasters[scene][row - P // 2 + i, col - P // 2 + j]))
    assert train.info.mean["sar"] == pytest.approx([np.mean(values)])
    assert train.info.std["sar"] == pytest.approx([np.std(values)])
    assert len(painted(train)) == sum(raster.size for raster in rasters)


@settings(deadline=None, max_examples=40)
@given(
    sides=st.lists(st.tuples(st.integers(1, 17), st.integers(1, 17)), min_size=1, max_size=3), size=st.integers(2, 9)
)
def test_every_pixel_is_in_one_tile_whose_middle_is_in_the_scene(sides: list[tuple[int, int]], size: int) -> None:
    extents = Extents(tuple(Extent(str(number), *side) for number, side in enumerate(sides)))
    grid = Grid.of(extents, size)
    pixels = sum(height * width for height, width in sides)
    assert np.bincount(grid.numbers[grid.inside], minlength=pixels).tolist() == [1] * pixels
    middle = size // 2
    assert grid.inside[:, middle, middle].all()
    np.testing.assert_array_equal(grid.numbers[:, middle, middle], extents.numbers(grid.rows, grid.cols, grid.scenes))
    labels = np.random.default_rng(size).integers(0, 4, pixels)
    tiles = grid.tiles(labels)
    found = labelled_pixels(tiles, extents, size)
    np.testing.assert_array_equal(labels[extents.numbers(found.rows, found.cols, found.scenes)], found.labels + 1)
    assert len(found) == (labels > 0).sum()
    assert class_counts(tiles.labels, 3).sum(0).tolist() == [int((labels == k).sum()) for k in (1, 2, 3)]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), height=st.integers(6, 30), width=st.integers(12, 30))
def test_no_label_is_in_two_splits_and_every_class_trains(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((height, width)) < 0.3, 0, rng.integers(1, 3, (height, width)))
    scene = scene_of({"hsi": rng.normal(size=(height, width))}, labels, name="any")
    drawn = draw_tiles(Area.of_one(scene), "disjoint", (0.5, 0.2, 0.3), seed=seed, size=5, min_valid=0.5)
    extents = Extents.of_one(height, width)
    found = [labelled_pixels(drawn.split.pixels[split], extents, 5) for split in SPLITS]
    numbers = np.concatenate([extents.numbers(own.rows, own.cols) for own in found])
    assert sorted(numbers.tolist()) == np.flatnonzero(labels.ravel()).tolist()
    assert set(found[0].labels.tolist()) == {0, 1}
    assert len(found[2])


def test_official_tiles_have_the_labels_of_their_split_alone(tmp_path: Path) -> None:
    """The same tile can train and test, with other labels, and the report says so."""
    truth = np.tile([[1, 2]], (12, 9))
    train, test = truth.copy(), truth.copy()
    train[:, 10:] = 0
    test[:, :10] = 0
    maps = {"train_labels": {"file": "tr.npy"}, "test_labels": {"file": "ts.npy"}}
    folder = write_scene(tmp_path / "field", 0, (12, 18), truth, classes=["a", "b"], **maps)
    np.save(folder / "tr.npy", train)
    np.save(folder / "ts.npy", test)
    out = tmp_path / "out"
    report = prepare(Options("scene", folder, out, protocol="official", **TILES))
    tables = open_tables(out)
    np.testing.assert_array_equal(painted(tables["test"]), test.ravel())
    np.testing.assert_array_equal(painted(tables["train"]) + painted(tables["val"]), train.ravel())
    assert len(tables["val"]) == 1
    assert "% of the test tiles are training tiles, too, with other labels; 0 labelled test pixels (0.0 %)" in report
    assert tables["test"].info.overlap["shared_window_percent"] in (25.0, 50.0)


def test_labels_of_other_splits_never_reach_a_loss(root: Path, tmp_path: Path) -> None:
    """Shifted training tiles look beyond themselves, and have the labels of training tiles alone."""
    tables = built(root, tmp_path, margin=P // 2)
    train = tables["train"]
    assert train.info.reach == P // 2
    known = painted(train).reshape(26, 32)
    data = MultimodalData(tmp_path, batch_size=100, seed=1)
    data.serve_pixels(None)
    (batch,) = data.loader("train")
    shift = data.shifts.draw(len(train), 1, 0) if data.shifts else np.zeros(0)
    assert shift.any()
    neighbours = 0
    for index, label in zip(batch["index"].numpy(), batch["label"].numpy(), strict=True):
        top, left = train.row[index] + shift[index, 0] - P // 2, train.col[index] + shift[index, 1] - P // 2
        for i, j in np.argwhere(label != UNLABELLED):
            assert known[top + i, left + j] == label[i, j] + 1
        neighbours += (label != UNLABELLED).sum() > 0
    assert neighbours == len(train)


def test_the_report_and_the_same_seed(root: Path, tmp_path: Path) -> None:
    options = Options("scene", root, tmp_path / "a", **TILES)
    report = prepare(options)
    for line in ("tiles of 6", "tiles: train 18, val 3, test 9", "overlap: no two tiles share a pixel"):
        assert line in report
    assert "a sensor counts where it saw 50 % of the tile" in report
    assert report.endswith(f"next: python run.py with remote data_root={tmp_path / 'a'} network=unet")
    prepare(dataclasses.replace(options, out=tmp_path / "b"))
    assert (tmp_path / "a" / "test.arrow").read_bytes() == (tmp_path / "b" / "test.arrow").read_bytes()
    prepare(dataclasses.replace(options, out=tmp_path / "c", seed=1, margin=2, shares=(0.5, 0.0, 0.5)))
    other = open_tables(tmp_path / "c")
    assert [len(other[split]) for split in SPLITS] == [15, 0, 15]
    assert other["val"].label.shape == (0, P, P)
    assert "shifted training windows show up to 2 pixels around their tile" in prepare(
        dataclasses.replace(options, out=tmp_path / "c", margin=2)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--task", "both"], "task 'both' is unknown; known: classes, segmentation"),
        (["--tile", "8"], "tile 8: goes with --task segmentation; --patch-size is the side of windows"),
        (
            ["--shares", "0.5,0,0.5"],
            "shares: goes with --task segmentation; --train-per-class and its like draw pixels",
        ),
        (["--task", "segmentation", "--tile", "1"], "tile 1: expected 2 to 256"),
        (
            ["--task", "segmentation", "--patch-size", "8"],
            "patch-size 8: --task segmentation has tiles; give their side",
        ),
        (
            ["--task", "segmentation", "--train-per-class", "8", "--val-per-class", "2"],
            "train-per-class, val-per-class: draws pixels, and a tile keeps all its labels; --shares says how many",
        ),
        (
            ["--task", "segmentation", "--protocol", "blocks"],
            "protocol blocks: draws pixels, and tiles are dealt as a whole and share no pixel; use disjoint, official,",
        ),
        (["--task", "segmentation", "--shares", "0.5,0.5"], "shares 0.5,0.5: expected those of train, val and test"),
        (["--task", "segmentation", "--shares", "0.5,0.3,0.3"], "shares 0.5,0.3,0.3: expected those of train, val and"),
        (
            ["--task", "segmentation", "--shares", "0.5,0,0.5", "--protocol", "scenes"],
            "shares: protocol scenes deals whole scenes; leave it out, or name splits in the list",
        ),
        (
            ["--task", "segmentation", "--tile", "40"],
            "protocol disjoint: no tile of 40 × 40 pixels is left to test; use",
        ),
        (
            ["--task", "segmentation", "--protocol", "official"],
            "protocol official: there are no training and test label",
        ),
        (["--task", "segmentation", "--protocol", "scenes"], "protocol scenes: there is one scene, and one to train"),
    ],
)
def test_what_does_not_go_with_tiles_is_refused_in_one_line(
    given: list[str], message: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dataset", "scene", "--root", str(root), "--out", str(tmp_path / "out"), *given]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_class_in_one_tile_cannot_train_and_a_release_has_no_tiles(tmp_path: Path) -> None:
    labels = np.ones((6, 12), int)
    labels[0, 0], labels[0, 11] = 2, 3
    scene = scene_of({"hsi": np.ones((6, 12))}, labels, name="corner")
    with pytest.raises(MamolError, match=r"class .* gets no training pixel; use a smaller --tile or another --seed"):
        prepare(Options("scene", Path("corner"), tmp_path, **TILES), scene)
    windows = dataclasses.replace(scene, window_size=4)
    with pytest.raises(MamolError, match="task segmentation: corner is a pre-cut release"):
        prepare(Options("scene", Path("corner"), tmp_path, **TILES), windows)
