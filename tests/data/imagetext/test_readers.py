"""What is wrong with a raw folder is told at once; what is right with it is read."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mamol.core.errors import MamolError
from mamol.data.imagetext import food101, mmimdb
from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.imagetext.raw import Item, Problems, Raw, read_splits
from mamol.data.imagetext.registry import IMAGE_TEXT_DATASETS, find
from tests.data.imagetext.trees import hateful_memes_tree

RawFolder = Callable[[str], Path]


def read(dataset: str, root: Path, **options: str) -> Raw:
    return IMAGE_TEXT_DATASETS[dataset].read(ImageTextOptions(dataset, root, root.parent / "out", **options))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Changes the content of a JSON file."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def refused(dataset: str, root: Path, *texts: str, **options: str) -> None:
    """Reading tells all these, in one line."""
    with pytest.raises(MamolError, match=re.escape(str(root))) as caught:
        read(dataset, root, **options)
    message = str(caught.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


def train(root: Path) -> list[str]:
    return json.loads((root / "split.json").read_text())["train"]


@pytest.mark.parametrize("dataset", ["mmimdb", "food101", "hateful_memes"])
def test_every_item_is_read_with_its_image_and_label(dataset: str, raw: RawFolder) -> None:
    found = read(dataset, raw(dataset))
    assert {split: len(items) for split, items in found.items.items()} == {"train": 12, "val": 3, "test": 5}
    assert found.listed == {"train": 12, "val": 3, "test": 5}
    assert all(item.image.is_file() and item.texts for items in found.items.values() for item in items)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mmimdb", "mmimdb"),
        ("MM-IMDb", "mmimdb"),
        ("Food101", "food101"),
        ("Hatefull_Memes", "hateful_memes"),
        ("hatememes", "hateful_memes"),
        ("trento", None),
    ],
)
def test_names_that_the_released_codes_use_are_known(name: str, found: str | None) -> None:
    facts = find(name)
    assert (facts and facts.name) == found


def first(root: Path, found: Raw) -> Item:
    """The item of the first id in mmimdb's training split."""
    return next(item for item in found.items["train"] if item.id == train(root)[0])


def test_plots_are_chosen(raw: RawFolder) -> None:
    root = raw("mmimdb")
    plots = ["short", "the longest of all", "second best"]
    edit(root / "labels" / f"{train(root)[0]}.json", lambda content: content | {"plot": plots})
    assert first(root, read("mmimdb", root)).texts == ("short",)
    assert first(root, read("mmimdb", root, plots="longest")).texts == ("the longest of all",)
    assert first(root, read("mmimdb", root, plots="all")).texts == tuple(plots)


def test_genres_outside_the_23_are_left_out_and_told(raw: RawFolder) -> None:
    root = raw("mmimdb")
    names = train(root)
    edit(root / "labels" / f"{names[0]}.json", lambda content: content | {"genres": ["News", "War", "Comedy"]})
    edit(root / "labels" / f"{names[1]}.json", lambda content: content | {"genres": ["News"]})
    found = read("mmimdb", root)
    assert [mmimdb.CLASSES[label] for label in first(root, found).label] == ["Comedy", "War"]
    assert "genres that are not among the 23 are left out: News 2" in found.remarks
    assert "movies without any of the 23 genres: 1" in found.remarks


def test_mmimdb_tells_all_problems_at_once(raw: RawFolder) -> None:
    root = raw("mmimdb")
    names = train(root)
    (root / "images" / f"{names[0]}.jpeg").unlink()
    (root / "labels" / f"{names[1]}.json").unlink()
    (root / "labels" / f"{names[2]}.json").write_text("{")
    (root / "labels" / f"{names[3]}.json").write_text("[]")
    edit(root / "labels" / f"{names[4]}.json", lambda content: content | {"plot": "a text"})
    edit(root / "labels" / f"{names[5]}.json", lambda content: {"plot": content["plot"]})
    edit(root / "labels" / f"{names[6]}.json", lambda content: content | {"plot": []})
    refused(
        "mmimdb",
        root,
        f"1 of 20 image files missing: images/{names[0]}.jpeg",
        f"1 of 20 label files missing: labels/{names[1]}.json",
        f"1 of 20 label files that are no JSON: labels/{names[2]}.json (Expecting property name",
        f"1 of 20 label files of the wrong type: labels/{names[3]}.json (expected an object, found list)",
        f"2 of 20 fields missing or of the wrong type: {names[4]}.json['plot'] (expected a list of texts), "
        f"{names[5]}.json['genres'] (expected a list of texts)",
        f"1 of 20 empty lists of texts: {names[6]}.json['plot']",
        "complete the folder from the release of MM-IMDb",
    )


def test_only_the_first_ten_names_are_told(raw: RawFolder) -> None:
    root = raw("food101")
    shutil.rmtree(root / "images" / "train")
    names = train(root)
    refused("food101", root, "15 of 20 image files missing: the first 10: images/train/sushi/sushi_0.jpg, ", names[9])
    with pytest.raises(MamolError) as caught:
        read("food101", root)
    assert names[10] not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"dev": c["dev"] + c["train"][:1]}, "ids in two splits: "),
        (lambda c: c | {"dev": c["dev"] * 2}, "3 of 23 duplicate ids: "),
        (lambda c: {"train": c["train"], "dev": c["dev"]}, "split.json['test'] (expected a list of ids)"),
        (lambda c: c | {"dev": [1]}, "split.json['dev'] (expected a list of ids)"),
        (lambda c: c | {"dev": ["../secret"]}, "ids that are no file names: '../secret'"),
        (lambda c: c | {"dev": ["/etc/passwd"]}, "ids that are no file names: '/etc/passwd'"),
    ],
)
def test_splits_that_are_wrong_are_refused(change: Callable[[Any], object], message: str, raw: RawFolder) -> None:
    root = raw("mmimdb")
    edit(root / "split.json", change)
    refused("mmimdb", root, message)


def test_a_missing_or_damaged_split_is_told(raw: RawFolder) -> None:
    root = raw("mmimdb")
    (root / "split.json").write_text("{")
    refused("mmimdb", root, "files that are no JSON: split.json (Expecting property name")
    (root / "split.json").unlink()
    refused("mmimdb", root, ": files missing: split.json; complete")


def test_food101_takes_validation_images_from_the_training_folder(raw: RawFolder) -> None:
    found = read("food101", raw("food101"))
    assert {item.image.parts[-3] for item in found.items["val"]} == {"train"}
    assert {item.image.parts[-3] for item in found.items["test"]} == {"test"}


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_dishes_without_text_are_dropped_or_kept_and_counted(text: str | None, raw: RawFolder) -> None:
    root = raw("food101")
    name = train(root)[0]
    edit(root / "text.json", lambda content: {key: content[key] for key in content if key != name})
    if text is not None:
        edit(root / "text.json", lambda content: content | {name: text})
    dropped = read("food101", root)
    assert name not in {item.id for item in dropped.items["train"]}
    assert (dropped.dropped, dropped.listed["train"]) == ({"without a text": 1}, 12)
    assert f"dishes without a text, dropped: 1 ({name})" in dropped.remarks
    kept = read("food101", root, without_text="keep")
    assert next(item for item in kept.items["train"] if item.id == name).texts == ("",)
    assert f"dishes without a text, kept with an empty one: 1 ({name})" in kept.remarks


def test_food101_tells_all_problems_at_once(raw: RawFolder) -> None:
    root = raw("food101")
    name = train(root)[1]
    edit(root / "split.json", lambda content: content | {"val": ["cake_1.jpg", "nothing.jpg"]})
    edit(root / "text.json", lambda content: content | {name: ["a text"]})
    edit(root / "class_idx.json", lambda content: content | {"tacos": 2, "gnocchi": 1, "bread": 101})
    refused(
        "food101",
        root,
        "2 of 19 file names of an unknown class: cake_1.jpg, nothing.jpg",
        f"1 of 19 fields missing or of the wrong type: text.json[{name!r}] (expected a text)",
        "classes numbered otherwise than published in class_idx.json: bread, gnocchi, tacos",
    )
    (root / "class_idx.json").unlink()
    (root / "text.json").unlink()
    refused("food101", root, "files missing: text.json, class_idx.json")


@pytest.mark.parametrize("level", [True, False])
def test_memes_are_found_with_and_without_the_level_data(level: bool, tmp_path: Path) -> None:
    hateful_memes_tree(tmp_path / "raw", 20, 0, 32, level=level)
    found = read("hateful_memes", tmp_path / "raw")
    assert [len(items) for items in found.items.values()] == [12, 3, 5]
    assert [item.label for item in found.items["train"]] == [0, 1] * 6
    prefix = "data/" if level else ""
    assert set(found.sources) == {prefix + name for name in ("train.jsonl", "dev.jsonl", "test_seen.jsonl")}


def test_the_test_file_is_the_first_that_is_there_or_the_named_one(raw: RawFolder) -> None:
    root = raw("hateful_memes")
    data = root / "data"
    assert "the test split is test_seen.jsonl" in read("hateful_memes", root).remarks[0]
    seen = (data / "test_seen.jsonl").read_text()
    (data / "test_unseen.jsonl").write_text(seen.partition("\n")[0])
    chosen = read("hateful_memes", root, test_file="test_unseen.jsonl")
    assert (len(chosen.items["test"]), chosen.known["test"]) == (1, 2000)
    (data / "test_seen.jsonl").unlink()
    assert "the test split is test_unseen.jsonl" in read("hateful_memes", root).remarks[0]
    (data / "test_unseen.jsonl").unlink()
    (data / "test.jsonl").write_text(seen)
    assert "the test split is test.jsonl" in read("hateful_memes", root).remarks[0]
    refused("hateful_memes", root, "files missing: data/test_seen.jsonl", test_file="test_seen.jsonl")
    with pytest.raises(MamolError, match=r"test-file 'x' is unknown; known: test_seen.jsonl, test_unseen.jsonl, "):
        read("hateful_memes", root, test_file="x")


def test_a_test_file_without_labels_says_which_have_them(raw: RawFolder) -> None:
    message = "test.jsonl: 5 of 5 memes have no label; use test_seen.jsonl or test_unseen.jsonl, which carry labels"
    refused("hateful_memes", raw("hateful_memes"), message, test_file="test.jsonl")


def test_dev_seen_is_dev(raw: RawFolder) -> None:
    root = raw("hateful_memes")
    (root / "data" / "dev.jsonl").rename(root / "data" / "dev_seen.jsonl")
    assert "the validation split is dev_seen.jsonl" in read("hateful_memes", root).remarks[0]


def test_memes_tell_all_problems_at_once(raw: RawFolder) -> None:
    root = raw("hateful_memes")
    path = root / "data" / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["label"] = 2
    lines[1]["label"] = True
    del lines[2]["text"]
    lines[3]["img"] = "img/none.png"
    lines[4]["img"] = "../../secret.png"
    lines[5]["id"] = lines[6]["id"]
    path.write_text("\n".join([*map(json.dumps, lines), "", "{", "[]"]))
    refused(
        "hateful_memes",
        root,
        "2 of 20 lines that are no JSON: train.jsonl line 14 (Expecting property name",
        "train.jsonl line 15 (no object)",
        "1 of 20 duplicate ids: 6 (train)",
        "1 of 20 labels that are neither 0 nor 1: train.jsonl line 1 (2)",
        "train.jsonl line 2['label'] (expected int), train.jsonl line 3['text'] (expected str)",
        "1 of 20 image files missing: data/img/none.png",
        "1 of 20 image names that lead out of the folder: ../../secret.png",
    )
    path.write_bytes(b"\xff")
    refused("hateful_memes", root, "files that cannot be read: train.jsonl ('utf-8' codec")
    path.unlink()
    refused("hateful_memes", root, "files missing: data/train.jsonl")


def test_published_splits_have_the_sizes_and_classes_we_say(shared_data: Path) -> None:
    folder = shared_data / "vision_language"
    if not folder.is_dir():
        pytest.skip(f"no published splits in {folder}")
    for module, names in ((mmimdb, mmimdb.SPLIT_NAMES), (food101, {s: s for s in food101.SIZES})):
        root = folder / module.__name__.rpartition(".")[2]
        problems = Problems(root)
        splits = read_splits(root / "split.json", names, problems)
        problems.refuse("")
        assert {split: len(ids) for split, ids in splits.items()} == module.SIZES
    numbers = json.loads((folder / "food101" / "class_idx.json").read_text())
    assert tuple(sorted(numbers, key=numbers.__getitem__)) == food101.CLASSES
    assert sorted(numbers.values()) == list(range(101))
