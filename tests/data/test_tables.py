import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mamol.core.errors import MamolError
from mamol.core.seal import seal
from mamol.data import writing
from mamol.data.patches import WindowCutter
from mamol.data.prepare import Options, prepare
from mamol.data.sceneinfo import SceneInfo
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from tests.arrows import content_of, write_again

SPLITS = ("train", "val", "test")


@pytest.fixture
def options(tiny_root: Path, tmp_path: Path) -> Options:
    return Options(
        "trento",
        tiny_root,
        tmp_path / "out",
        modalities=("hsi", "lidar", "sar"),
        patch_size=6,
        train_per_class=20,
        test_per_class=30,
        val_per_class=5,
    )


@pytest.fixture
def tables(options: Options) -> dict[str, SceneTable]:
    prepare(options)
    return open_tables(options.out)  # type: ignore[return-value]


def rewrite(
    path: Path, *, info: dict[str, object] | None = None, label: int | None = None, labels: np.ndarray | None = None
) -> None:
    """Writes the table again with another information, another first label or other labels."""
    table = content_of(path)
    if label is not None:
        labels = table["label"].to_numpy().copy()
        labels[0] = label
    if labels is not None:
        table = table.set_column(table.column_names.index("label"), "label", pa.array(labels))
    write_again(path, table, info)


def test_columns_and_metadata_are_as_documented(tables: dict[str, SceneTable], options: Options) -> None:
    table = pa.ipc.open_file(pa.memory_map(str(options.out / "train.arrow"))).read_all()
    assert table.schema.field("hsi").type == pa.fixed_shape_tensor(pa.float32(), (5, 6, 6))
    types = {name: table.schema.field(name).type for name in ("label", "row", "col")}
    assert types == {"label": pa.int64(), "row": pa.int32(), "col": pa.int32()}
    info = tables["train"].info
    assert info.modalities == {"hsi": 5, "lidar": 1, "sar": 2}
    assert list(info.modalities) == ["hsi", "lidar", "sar"]
    assert info.counts["test"] == {"class 1": 30, "class 2": 30, "class 3": 30}
    assert (info.format_version, info.dataset, info.protocol, info.seed) == (2, "trento", "disjoint", 0)
    assert (info.patch_size, info.layout, info.split, info.scene_shape) == (6, "patches", "train", (40, 50))
    assert set(info.sources) == {"HSI.mat", "LiDAR.mat", "SAR.mat", "All_label.mat"}
    assert info.overlap["identical_pixels"] == 0
    assert [len(tables[split]) for split in SPLITS] == [60, 15, 90]


def test_windows_are_those_of_the_raw_scene(tables: dict[str, SceneTable], tiny_arrays: dict[str, np.ndarray]) -> None:
    table = tables["test"]
    indices = np.array([5, 0, 89, 5])
    cutter = WindowCutter(tiny_arrays["SAR"], 6)
    np.testing.assert_array_equal(table.windows("sar", indices), cutter.cut(table.row[indices], table.col[indices]))
    labels = tiny_arrays["All_label"][table.row, table.col]
    np.testing.assert_array_equal(labels, table.label + 1)


def test_statistics_are_those_of_the_training_pixels(
    tables: dict[str, SceneTable], tiny_arrays: dict[str, np.ndarray]
) -> None:
    train = tables["train"]
    pixels = tiny_arrays["HSI"][train.row, train.col].astype(np.float64)
    np.testing.assert_allclose(train.info.mean["hsi"], pixels.mean(axis=0))
    np.testing.assert_allclose(train.info.std["hsi"], pixels.std(axis=0))


@pytest.mark.parametrize("batch_bytes", [writing.BATCH_BYTES, 5000])
def test_both_layouts_give_the_same_bits(options: Options, monkeypatch: pytest.MonkeyPatch, batch_bytes: int) -> None:
    monkeypatch.setattr(writing, "BATCH_BYTES", batch_bytes)
    scene_out = options.out.with_name("scene")
    prepare(options)
    prepare(dataclasses.replace(options, out=scene_out, layout="scene"))
    patches, scene = open_tables(options.out), open_tables(scene_out)
    for split in SPLITS:
        assert patches[split].fingerprint == scene[split].fingerprint
        indices = np.random.default_rng(0).permutation(len(patches[split]))
        for name in patches[split].info.modalities:
            ours, theirs = (tables[split].windows(name, indices) for tables in (patches, scene))
            assert ours.dtype == theirs.dtype == np.float32
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_a_batch_may_be_written_to(options: Options, layout: str) -> None:
    prepare(dataclasses.replace(options, layout=layout))
    table = open_tables(options.out)["train"]
    first = table.windows("hsi", np.arange(3))
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(table.windows("hsi", np.arange(3)), expected)


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_a_pickled_table_opens_again_by_its_path(options: Options, layout: str) -> None:
    prepare(dataclasses.replace(options, layout=layout))
    table = open_tables(options.out)["test"]
    pickled = pickle.dumps(table)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again.fingerprint == table.fingerprint
    np.testing.assert_array_equal(again.windows("sar", np.array([2])), table.windows("sar", np.array([2])))


def test_fingerprint_depends_on_the_samples_only(tables: dict[str, SceneTable], options: Options) -> None:
    other = options.out.with_name("other")
    prepare(dataclasses.replace(options, out=other, modalities=("sar",), patch_size=3))
    assert open_tables(other)["test"].fingerprint == tables["test"].fingerprint
    prepare(dataclasses.replace(options, out=other, seed=1))
    assert open_tables(other)["test"].fingerprint != tables["test"].fingerprint
    assert len({table.fingerprint for table in tables.values()}) == 3


def test_building_again_gives_the_same_bytes(tables: dict[str, SceneTable], options: Options) -> None:
    before = {path.name: path.read_bytes() for path in options.out.iterdir()}
    prepare(options)
    assert {path.name: path.read_bytes() for path in options.out.iterdir()} == before


def test_an_empty_validation_table_is_fine(options: Options) -> None:
    prepare(dataclasses.replace(options, val_per_class=0))
    table = open_tables(options.out)["val"]
    assert len(table) == 0
    assert table.windows("hsi", np.empty(0, int)).shape == (0, 5, 6, 6)


def test_information_survives_json(tables: dict[str, SceneTable]) -> None:
    info = tables["train"].info
    assert SceneInfo.from_json(info.to_json(), Path("x")) == info


def test_another_layout_leaves_no_stale_raster(options: Options) -> None:
    prepare(dataclasses.replace(options, layout="scene"))
    assert (options.out / "scene.arrow").exists()
    prepare(options)
    assert sorted(path.name for path in options.out.iterdir()) == ["test.arrow", "train.arrow", "val.arrow"]


def test_an_interrupted_build_leaves_what_was_there(
    tables: dict[str, SceneTable], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in options.out.iterdir()}
    calls = []

    def breaks(array: np.ndarray) -> pa.Array:
        calls.append(array)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return original(array)

    original = writing._tensor_column
    monkeypatch.setattr(writing, "_tensor_column", breaks)
    with pytest.raises(KeyboardInterrupt):
        prepare(dataclasses.replace(options, seed=1))
    assert {path.name: path.read_bytes() for path in options.out.iterdir()} == before


def test_tables_of_two_builds_are_refused(tables: dict[str, SceneTable], options: Options) -> None:
    other = options.out.with_name("other")
    prepare(dataclasses.replace(options, out=other, seed=1))
    shutil.copy(other / "test.arrow", options.out / "test.arrow")
    with pytest.raises(MamolError, match="were not written together; build them again"):
        open_tables(options.out)
    for out, seed in ((options.out, 0), (other, 1)):
        prepare(dataclasses.replace(options, out=out, seed=seed, layout="scene"))
    shutil.copy(other / "scene.arrow", options.out / "scene.arrow")
    with pytest.raises(MamolError, match="were not written together"):
        open_tables(options.out)
    with pytest.raises(MamolError, match="holds the rasters of the tables beside it"):
        SceneTable.open(options.out / "scene.arrow")


def test_a_table_under_another_name_is_refused(tables: dict[str, SceneTable], options: Options) -> None:
    shutil.copy(options.out / "train.arrow", options.out / "test.arrow")
    with pytest.raises(MamolError, match=r"test.arrow: holds split train"):
        open_tables(options.out)


def test_missing_and_truncated_tables(tables: dict[str, SceneTable], options: Options) -> None:
    path = options.out / "test.arrow"
    whole = path.read_bytes()
    for length in (len(whole) - 5, len(whole) // 2, 20, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(MamolError, match=r"test.arrow: truncated or not an Arrow file"):
            open_tables(options.out)
    path.unlink()
    with pytest.raises(MamolError, match=r"test.arrow not found; build the tables with python make_arrow.py"):
        open_tables(options.out)
    with pytest.raises(MamolError, match="no such table"):
        SceneTable.open(path)


def test_tables_of_other_versions_or_makers(tables: dict[str, SceneTable], options: Options) -> None:
    path = options.out / "train.arrow"
    rewrite(path, info={"format_version": 3})
    with pytest.raises(MamolError, match="format version 3, this program reads 1 and 2"):
        SceneTable.open(path)
    rewrite(path, info={"format_version": 2, "more": 1})
    with pytest.raises(MamolError, match="its metadata lacks or adds more"):
        SceneTable.open(path)
    rewrite(options.out / "val.arrow", info={"patch_size": 7})
    with pytest.raises(MamolError, match="columns are not those its metadata names"):
        SceneTable.open(options.out / "val.arrow")
    with pytest.raises(MamolError, match="its metadata is damaged"):
        SceneInfo.from_json(b"{", path)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("a", pa.int8())])):
        pass
    with pytest.raises(MamolError, match=r"not a table of make_arrow.py"):
        SceneTable.open(path)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range(tables: dict[str, SceneTable], options: Options, label: int) -> None:
    rewrite(options.out / "test.arrow", label=label)
    with pytest.raises(MamolError, match=r"labels go from .* expected 0 to 2"):
        SceneTable.open(options.out / "test.arrow")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_in_the_batch_they_are_in(
    tables: dict[str, SceneTable], options: Options, value: float
) -> None:
    path = options.out / "test.arrow"
    content = path.read_bytes()
    pixel = tables["test"].windows("lidar", np.array([4]))[0, 0, 2]
    position = content.index(pixel.tobytes())
    path.write_bytes(content[:position] + np.float32(value).tobytes() + content[position + 4 :])
    seal(path)
    table = SceneTable.open(path)
    with pytest.raises(MamolError, match="lidar has NaN or infinite values"):
        table.windows("lidar", np.arange(90))


def test_large_values_whose_sum_overflows_are_fine(tables: dict[str, SceneTable], options: Options) -> None:
    path = options.out / "test.arrow"
    content = path.read_bytes()
    row = tables["test"].windows("lidar", np.array([4]))[0, 0, 2]
    position = content.index(row.tobytes())
    large = np.full(6, 3e38, np.float32)
    path.write_bytes(content[:position] + large.tobytes() + content[position + large.nbytes :])
    seal(path)
    assert SceneTable.open(path).windows("lidar", np.arange(90)).max() == np.float32(3e38)


def test_a_modality_that_the_table_lacks(tables: dict[str, SceneTable]) -> None:
    with pytest.raises(MamolError, match="no modality 'ms'; it has hsi, lidar, sar"):
        tables["train"].windows("ms", np.array([0]))


def test_an_empty_training_table_is_refused(tables: dict[str, SceneTable], options: Options) -> None:
    path = options.out / "train.arrow"
    write_again(path, content_of(path)[:0])
    with pytest.raises(MamolError, match=r"train.arrow: has no samples"):
        open_tables(options.out)


def test_folders_that_are_refused(options: Options) -> None:
    options.out.mkdir()
    (options.out / "notes.txt").write_text("mine")
    (options.out / "val.arrow").write_bytes(b"something else")
    with pytest.raises(MamolError, match=r"val.arrow is there and not a table of make_arrow.py"):
        prepare(options)
    assert sorted(os.listdir(options.out)) == ["notes.txt", "val.arrow"]
    with pytest.raises(MamolError, match="is a file; give a folder"):
        prepare(dataclasses.replace(options, out=options.out / "notes.txt"))
    with pytest.raises(MamolError, match="cannot be written"):
        prepare(dataclasses.replace(options, out=options.out / "notes.txt" / "below"))


def test_a_damaged_table_of_ours_may_be_replaced(tables: dict[str, SceneTable], options: Options) -> None:
    path = options.out / "test.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    prepare(options)
    assert len(open_tables(options.out)["test"]) == 90
