"""Image-text tables: what goes in comes out, and what is wrong with a file is told."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mamol.core.errors import MamolError
from mamol.core.modality import IMAGE, TEXT, Modality
from mamol.data import writing
from mamol.data.imagetext.mmimdb import CLASSES
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.tables import open_tables
from tests.arrows import content_of, write_again

Build = Callable[..., Path]


def rewrite(path: Path, *, info: dict[str, object] | None = None, **columns: pa.Array) -> None:
    """Writes the table again with another information or other columns."""
    table = content_of(path)
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    write_again(path, table, info)


def open_imagetext(out: Path) -> dict[str, ImageTextTable]:
    tables = open_tables(out)
    assert all(isinstance(table, ImageTextTable) for table in tables.values())
    return tables  # type: ignore[return-value]


def test_columns_and_metadata_are_as_documented(build: Build) -> None:
    table = content_of(build("mmimdb") / "train.arrow")
    types = {field.name: field.type for field in table.schema}
    label = pa.list_(pa.int8(), 23)
    assert types == {"image": pa.binary(), "text": pa.list_(pa.string()), "label": label, "id": pa.string()}
    metadata = json.loads(table.schema.metadata[b"mamol"])
    assert (metadata["format_version"], metadata["kind"], metadata["dataset"]) == (1, "image_text", "mmimdb")
    assert content_of(build("food101") / "train.arrow").schema.field("label").type == pa.int64()


@pytest.mark.parametrize("dataset", ["mmimdb", "food101", "hateful_memes"])
def test_images_and_texts_come_back_to_the_bit(dataset: str, build: Build, tmp_path: Path) -> None:
    tables = open_imagetext(build(dataset))
    files = {path.stem: path for path in (tmp_path / dataset).rglob("*") if path.suffix in (".jpeg", ".jpg", ".png")}
    assert sum(map(len, tables.values())) == len(files) == 20
    for table in tables.values():
        for i in range(len(table)):
            name = table.name(i)
            stem = name.removesuffix(".jpg") if dataset != "hateful_memes" else f"{int(name):05}"
            assert table.image(i) == files[stem].read_bytes()
            assert table.text(i)


def test_info_says_what_a_run_asks_for(build: Build) -> None:
    info = open_imagetext(build("mmimdb"))["val"].info
    assert info.inputs == (Modality("image", IMAGE, 3), Modality("text", TEXT, 77))
    assert info.names == ("image", "text")
    assert (info.window, info.normalisation) == (None, None)
    assert (info.task, info.protocol) == ("genres", "official")
    assert info.identity() == {"dataset": "mmimdb", "protocol": "official", "seed": 0}
    assert info.about() == {"layout": "image_text", "overlap": {}, "counts": info.counts}
    assert (info.split, info.classes, info.samples) == ("val", CLASSES, {"train": 12, "val": 3, "test": 5})
    assert set(info.sources) == {"split.json", "labels"}


def test_genres_are_multi_hot_and_counted(build: Build, tmp_path: Path) -> None:
    table = open_imagetext(build("mmimdb"))["train"]
    assert (table.label.shape, table.label.dtype) == ((12, 23), np.int8)
    for i in range(12):
        genres = json.loads((tmp_path / "mmimdb" / "labels" / f"{table.name(i)}.json").read_text())["genres"]
        assert {CLASSES[k] for k in np.flatnonzero(table.label[i])} == set(genres)
    assert list(table.info.counts["train"].values()) == table.label.sum(axis=0).tolist()


def test_with_all_plots_each_is_a_sample_of_its_movie(build: Build, tmp_path: Path) -> None:
    first = open_imagetext(build("mmimdb"))["train"]
    assert first.group is None
    table = open_imagetext(build("mmimdb", plots="all"))["train"]
    split = json.loads((tmp_path / "mmimdb" / "split.json").read_text())["train"]
    plots = {name: json.loads((tmp_path / "mmimdb" / "labels" / f"{name}.json").read_text())["plot"] for name in split}
    expected = [(name, number, plot) for name in split for number, plot in enumerate(plots[name])]
    found = [(table.name(i), int(table.keys["text"][i]), table.text(i)) for i in range(len(table))]
    assert found == expected
    assert len(table) == table.info.samples["train"] > 12
    assert table.group is not None
    assert np.unique(table.group).tolist() == list(range(12))
    assert [split[number] for number in table.group] == table.keys["id"].tolist()
    assert len(content_of(table.path)) == 12  # images are there once
    for i in range(len(table)):
        assert table.image(i) == first.image(int(table.group[i]))
        assert (table.label[i] == first.label[table.group[i]]).all()
    assert table.info.counts["train"] == dict(zip(CLASSES, table.label.sum(axis=0).tolist(), strict=True))


def test_fingerprints_tell_samples_apart(build: Build) -> None:
    first = [table.fingerprint for table in open_imagetext(build("mmimdb")).values()]
    again = [table.fingerprint for table in open_imagetext(build("mmimdb")).values()]
    longest = [table.fingerprint for table in open_imagetext(build("mmimdb", plots="longest")).values()]
    assert first == again
    assert len({*first, *longest}) == 6


def test_building_again_gives_the_same_bytes(build: Build) -> None:
    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in build("mmimdb").iterdir()}

    first = content()
    assert set(first) == {"train.arrow", "val.arrow", "test.arrow"}
    assert content() == first


def test_batches_are_bounded(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build("hateful_memes")
    expected = content_of(whole / "train.arrow")
    assert expected["image"].num_chunks == 1
    limit = 3 * max(len(image.as_py()) for image in expected["image"])
    monkeypatch.setattr(writing, "BATCH_BYTES", limit)
    content = content_of(build("hateful_memes") / "train.arrow")
    assert content["image"].num_chunks >= 4
    assert all(sum(len(image.as_py()) for image in chunk) <= limit for chunk in content["image"].chunks)
    assert content.combine_chunks().equals(expected.combine_chunks())
    monkeypatch.setattr(writing, "BATCH_BYTES", 1)
    assert content_of(build("hateful_memes") / "train.arrow")["image"].num_chunks == 12
    table = open_imagetext(whole)["train"]
    assert [table.image(i) for i in range(12)] == expected["image"].to_pylist()


def test_a_table_pickles_as_its_path(build: Build) -> None:
    table = open_imagetext(build("mmimdb"))["train"]
    content = pickle.dumps(table)
    assert len(content) < 500
    again = pickle.loads(content)
    assert (again.fingerprint, again.text(3)) == (table.fingerprint, table.text(3))


def test_tables_of_two_builds_are_refused(build: Build, tmp_path: Path) -> None:
    out = build("mmimdb")
    shutil.copy(out / "val.arrow", tmp_path / "val.arrow")
    build("mmimdb", plots="all")
    shutil.copy(tmp_path / "val.arrow", out / "val.arrow")
    with pytest.raises(MamolError, match=r"out: its tables were not written together; build them again"):
        open_tables(out)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"format_version": 2}, r"train\.arrow: format version 2, this program reads 1; build it again"),
        ({"kind": "sound"}, r"train\.arrow: holds 'sound', which this program does not know"),
        ({"more": 1}, r"train\.arrow: its metadata lacks or adds more; build it again"),
        ({"task": "classes"}, r"train\.arrow: its columns are not those its metadata names"),
    ],
)
def test_metadata_that_are_wrong_are_refused(info: dict[str, object], message: str, build: Build) -> None:
    out = build("mmimdb")
    rewrite(out / "train.arrow", info=info)
    with pytest.raises(MamolError, match=message):
        open_tables(out)


def test_labels_out_of_range_are_refused(build: Build) -> None:
    out = build("food101")
    rewrite(out / "train.arrow", label=pa.array([101] + [0] * 11))
    with pytest.raises(MamolError, match=r"train\.arrow: labels go from 0 to 101, expected 0 to 100; build it again"):
        open_tables(out)
    out = build("mmimdb")
    rewrite(out / "train.arrow", label=pa.array([[2] * 23] * 12, pa.list_(pa.int8(), 23)))
    with pytest.raises(MamolError, match=r"train\.arrow: labels go from 2 to 2, expected 0 to 1; build it again"):
        open_tables(out)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("text", pa.array([[], *[["x"]] * 11], pa.list_(pa.string()))),
        ("text", pa.array([None, *[["x"]] * 11], pa.list_(pa.string()))),
        ("id", pa.array([None, *["x"] * 11], pa.string())),
        ("image", pa.array([None, *[b"x"] * 11], pa.binary())),
    ],
)
def test_empty_cells_are_refused(name: str, column: pa.Array, build: Build) -> None:
    out = build("food101")
    rewrite(out / "train.arrow", **{name: column})
    with pytest.raises(MamolError, match=rf"train\.arrow: {name} has empty cells; build it again"):
        open_tables(out)


def test_a_truncated_file_is_refused(build: Build) -> None:
    out = build("mmimdb")
    path = out / "train.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MamolError, match=r"train\.arrow: truncated or not an Arrow file"):
        open_tables(out)


def test_validation_may_be_empty(build: Build) -> None:
    out = build("mmimdb")
    for path in (out / "train.arrow", out / "val.arrow"):
        write_again(path, content_of(path)[:0])
    assert len(ImageTextTable.open(out / "val.arrow")) == 0
    with pytest.raises(MamolError, match=r"train\.arrow: has no samples"):
        open_tables(out)


def test_information_survives_json(build: Build) -> None:
    info = open_imagetext(build("mmimdb"))["train"].info
    assert type(info).from_json(info.to_json(), Path("x")) == info
    assert dataclasses.replace(info, split="val") != info
