"""make_arrow.py on images with texts: options, reports, broken images, and what is never overwritten."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from make_arrow import main
from mamol.commands.listing import datasets
from mamol.data.imagetext import prepare as module
from mamol.data.tables import open_tables
from tests.data.imagetext.trees import GENRES, mmimdb_tree
from tests.pages import ROOT

RawFolder = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line into ``out``; returns status, output and errors."""

    def run(dataset: str, root: Path, *options: str) -> tuple[int, str, str]:
        status = main(["--dataset", dataset, "--root", str(root), "--out", str(tmp_path / "out"), *options])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


Make = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("name", "dataset", "config"),
    [
        ("MM-IMDb", "mmimdb", "task_finetune_mmimdb"),
        ("Food101", "food101", "task_finetune_food101"),
        ("Hatefull_Memes", "hateful_memes", "task_finetune_hatememes"),
    ],
)
def test_the_report_says_what_was_built(
    name: str, dataset: str, config: str, make: Make, raw: RawFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status, report, _ = make(name, raw(dataset))
    assert status == 0
    lines = report.splitlines()
    assert [line.split() for line in lines if line.startswith("samples")] == [["samples", "12", "3", "5"]]
    assert "0 of 20 texts are longer than 77" in report
    assert lines[-1] == f"next: python run.py with {config} data_root={tmp_path / 'out'}"
    assert f"wrote {tmp_path / 'out' / 'train.arrow'} (" in report
    assert open_tables(tmp_path / "out")["test"].info.dataset == dataset
    assert f"{dataset}: split train has 12 items, published are " in caplog.text


def test_counts_of_genres_are_reported(make: Make, raw: RawFolder) -> None:
    root = raw("mmimdb")
    _, report, _ = make("mmimdb", root)
    split = json.loads((root / "split.json").read_text())
    labels = {path.stem: json.loads(path.read_text())["genres"] for path in (root / "labels").iterdir()}
    counted = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line}
    for genre in GENRES:
        expected = [sum(genre in labels[name] for name in split[key]) for key in ("train", "dev", "test")]
        assert counted[genre] == [str(number) for number in expected]


def test_known_sizes_are_no_warning(
    make: Make, raw: RawFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mamol.data.imagetext.mmimdb.SIZES", {"train": 12, "val": 4, "test": 5})
    assert make("mmimdb", raw("mmimdb"))[0] == 0
    assert [record.getMessage() for record in caplog.records] == ["mmimdb: split val has 3 items, published are 4"]


def test_long_texts_are_counted(make: Make, raw: RawFolder) -> None:
    root = raw("mmimdb")
    path = next((root / "labels").iterdir())
    path.write_text(json.dumps({"plot": ["word " * 100], "genres": ["War"]}))
    assert "102 per text; 1 of 20 texts are longer than 77 and are cut there" in make("mmimdb", root)[1]


def test_broken_images_are_refused_or_dropped(make: Make, raw: RawFolder, tmp_path: Path) -> None:
    root = raw("food101")
    truncated, corrupt = sorted((root / "images" / "train" / "pizza").iterdir())[:2]
    truncated.write_bytes(truncated.read_bytes()[:-200])
    corrupt.write_bytes(b"no image")
    status, _, error = make("food101", root)
    assert status == 1
    assert f"2 of 20 images truncated or corrupt: images/train/pizza/{truncated.name} (" in error
    assert f"images/train/pizza/{corrupt.name} (cannot identify image file" in error
    assert "leave their items out with --broken-images drop" in error
    assert not (tmp_path / "out").exists()
    status, report, _ = make("food101", root, "--broken-images", "drop")
    assert status == 0
    assert "dropped: 2 items whose images cannot be decoded: images/train/pizza/" in report
    tables = open_tables(tmp_path / "out")
    assert sum(map(len, tables.values())) == 18
    assert tables["train"].info.dropped == {"without a text": 0, "image cannot be decoded": 2}  # type: ignore[attr-defined]
    names = {str(name) for table in tables.values() for name in table.keys["id"]}
    assert not names & {truncated.name, corrupt.name}


def test_a_split_whose_images_are_all_broken_is_refused(make: Make, raw: RawFolder) -> None:
    root = raw("food101")
    for path in (root / "images" / "test").rglob("*.jpg"):
        path.write_bytes(b"")
    _, _, error = make("food101", root, "--broken-images", "drop")
    assert "split test has no items left; complete the folder" in error


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("mmimdb", ["--patch-size", "8"], "--patch-size: not for dataset mmimdb, which takes --broken-images, --plots"),
        ("mmimdb", ["--seed", "0"], "--seed: not for dataset mmimdb"),
        ("mmimdb", ["--test-file", "test.jsonl"], "--test-file: not for dataset mmimdb"),
        ("food101", ["--plots", "all", "--scene", "s.json"], "--plots, --scene: not for dataset food101, which takes "),
        ("hatememes", ["--without-text", "keep"], "--without-text: not for dataset hatememes, which takes --broken"),
        (
            "trento",
            ["--plots", "all"],
            "--plots: not for dataset trento, which takes --layout, --margin, --min-valid, ",
        ),
        ("synthetic", ["--broken-images", "drop"], "--broken-images: not for dataset synthetic"),
        ("mmimbd", [], "dataset 'mmimbd' is unknown; known: houston2013, "),
        ("mmimdb", ["--plots", "some"], "plots 'some' is unknown; known: first, all, longest"),
        ("food101", ["--without-text", "x"], "without-text 'x' is unknown; known: drop, keep"),
        ("food101", ["--broken-images", "x"], "broken-images 'x' is unknown; known: refuse, drop"),
        ("hateful_memes", ["--test-file", "x"], "test-file 'x' is unknown; known: test_seen.jsonl"),
        ("food101", [], "nowhere: no such folder; give the folder of the raw files"),
    ],
)
def test_wrong_options_are_refused_by_name(
    dataset: str, options: list[str], message: str, make: Make, tmp_path: Path
) -> None:
    root = tmp_path / ("nowhere" if dataset == "food101" and not options else ".")
    status, _, error = make(dataset, root, *options)
    assert status == 1
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_not_overwritten(make: Make, raw: RawFolder, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "val.arrow").write_text("mine")
    status, _, error = make("mmimdb", raw("mmimdb"))
    assert status == 1
    assert "val.arrow is there and not a table of make_arrow.py; give another folder" in error
    assert (tmp_path / "out" / "val.arrow").read_text() == "mine"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["val.arrow"]


def test_tables_of_another_dataset_are_replaced_whole(make: Make, raw: RawFolder, tmp_path: Path) -> None:
    assert make("mmimdb", raw("mmimdb"))[0] == 0
    (tmp_path / "out" / "scene.arrow").write_bytes((tmp_path / "out" / "val.arrow").read_bytes())
    assert make("food101", raw("food101"))[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"train.arrow", "val.arrow", "test.arrow"}
    assert open_tables(tmp_path / "out")["train"].info.dataset == "food101"


def test_a_disk_that_is_full_is_told(make: Make, raw: RawFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_tables", full)
    _, _, error = make("mmimdb", raw("mmimdb"))
    assert "cannot be written ([Errno 28] No space left on device); free space or give another folder" in error


def test_the_list_has_the_three() -> None:
    assert {"mmimdb", "food101", "hateful_memes"} <= {line.split()[0] for line in datasets().splitlines()}


def test_starting_needs_no_torch() -> None:
    code = "import make_arrow, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_trees_are_the_same_from_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        mmimdb_tree(tmp_path / name, 8, seed)
    files = {name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in ("a", "b", "c")}
    assert files["a"] == files["b"] != files["c"]


def test_the_genres_of_a_tree_can_be_told_from_an_image_and_from_a_text(tmp_path: Path) -> None:
    """The end-to-end demonstration builds on it: least squares on raw colours, and on words, find all genres."""
    from PIL import Image

    mmimdb_tree(tmp_path / "raw", 200, 0)
    pixels, words, targets = [], [], []
    for path in sorted((tmp_path / "raw" / "labels").iterdir()):
        content = json.loads(path.read_text())
        image = Image.open(tmp_path / "raw" / "images" / f"{path.stem}.jpeg").resize((6, 6))
        pixels.append([*(np.asarray(image, float).ravel() / 255), 1])
        words.append(content["plot"][0].split())
        targets.append([genre in content["genres"] for genre in GENRES])
    vocabulary = sorted({word for text in words for word in text})
    bags = [[*(word in text for word in vocabulary), 1] for text in words]
    truth = np.array(targets)
    assert 1 <= truth.sum(axis=1).min() < truth.sum(axis=1).max() == 3
    for features in (np.array(pixels, float), np.array(bags, float)):
        weights, *_ = np.linalg.lstsq(features[:150], truth[:150].astype(float), rcond=None)
        assert ((features[150:] @ weights > 0.5) == truth[150:]).mean() > 0.95
