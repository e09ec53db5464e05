"""Hateful Memes: pictures with the text on them, hateful or not (Kiela et al., 2020).

``train.jsonl``, ``dev.jsonl`` and a test file have a line per meme with ``id``, ``img`` (the image, relative to the
file), ``text`` and ``label``; all of it lies in the folder itself or one level deeper, in ``data``. The release's
``test.jsonl`` has no labels; ``test_seen.jsonl`` and ``test_unseen.jsonl`` of a later release have.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mamol.core import plainjson
from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions
from mamol.data.imagetext.raw import WRONG_FIELDS, Item, Problems, Raw, check_image, check_unique

SIZES = {"train": 8500, "val": 500, "test": 1000}
TEST_FILES = {"test_seen.jsonl": 1000, "test_unseen.jsonl": 2000, "test.jsonl": 1000}
"""Names of the test split, in the order in which they are looked for -> size."""
DEV_FILES = ("dev.jsonl", "dev_seen.jsonl")
FIELDS: dict[str, tuple[type, ...]] = {"id": (int, str), "img": (str,), "text": (str,), "label": (int,)}


def read(options: ImageTextOptions) -> Raw:
    """The memes.

    Args:
        options: The folder, and which file is the test split.

    Raises:
        MamolError: Naming everything that is missing, damaged or listed twice.
    """
    if options.test_file is not None and options.test_file not in TEST_FILES:
        raise MamolError(f"test-file {options.test_file!r} is unknown; known: {', '.join(TEST_FILES)}")
    root, problems = options.root, Problems(options.root)
    base = root / "data" if (root / "data").is_dir() else root
    dev = next((name for name in DEV_FILES if (base / name).is_file()), DEV_FILES[0])
    test = options.test_file or next((name for name in TEST_FILES if (base / name).is_file()), next(iter(TEST_FILES)))
    paths = {split: base / name for split, name in {"train": "train.jsonl", "val": dev, "test": test}.items()}
    records = {split: list(_records(path, problems)) for split, path in paths.items()}
    _refuse_unlabelled(paths["test"], records["test"])
    # The count of all comes first, so that every problem is told as one of so many.
    check_unique(
        {split: (str(each.get("id", place)) for place, each in lines) for split, lines in records.items()}, problems
    )
    items = {
        split: [meme for place, each in lines if (meme := _meme(base, place, each, problems)) is not None]
        for split, lines in records.items()
    }
    problems.refuse("complete the folder from the release of Hateful Memes")
    return Raw(
        items,
        sources={path.relative_to(root).as_posix(): sha256_of(path) for path in paths.values()},
        listed={split: len(lines) for split, lines in records.items()},
        known=SIZES | {"test": TEST_FILES[test]},
        remarks=[f"the validation split is {dev}, the test split is {test}"],
    )


def _records(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a ``.jsonl`` with their places in it."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        problems.add("files missing", path.relative_to(problems.root).as_posix(), of_items=False)
        return
    except (OSError, UnicodeDecodeError) as error:
        problems.add("files that cannot be read", f"{path.name} ({error})", of_items=False)
        return
    for number, line in enumerate(lines, 1):
        place = f"{path.name} line {number}"
        if not line.strip():
            continue
        try:
            record = plainjson.loads(line)
        except ValueError as error:
            problems.add("lines that are no JSON", f"{place} ({error})")
            continue
        if isinstance(record, dict):
            yield place, record
        else:
            problems.add("lines that are no JSON", f"{place} (no object)")


def _refuse_unlabelled(path: Path, records: list[tuple[str, dict[str, Any]]]) -> None:
    without = sum("label" not in record for _, record in records)
    if without:
        raise MamolError(
            f"{path}: {without} of {len(records)} memes have no label; "
            "use test_seen.jsonl or test_unseen.jsonl, which carry labels: put one there and name it with --test-file"
        )


def _meme(base: Path, place: str, record: dict[str, Any], problems: Problems) -> Item | None:
    complete = True
    for name, types in FIELDS.items():
        value = record.get(name)
        if not isinstance(value, types) or isinstance(value, bool):
            problems.add(WRONG_FIELDS, f"{place}[{name!r}] (expected {' or '.join(each.__name__ for each in types)})")
            complete = False
    if not complete:
        return None
    image = check_image(base, record["img"], problems)
    if record["label"] not in (0, 1):
        problems.add("labels that are neither 0 nor 1", f"{place} ({record['label']})")
    if image is None:
        return None
    return Item(str(record["id"]), image, (record["text"],), record["label"])


HATEFUL_MEMES = ImageTextFacts(
    name="hateful_memes",
    title="Hateful Memes: pictures and their text; benign or hateful",
    aliases=("hatefull_memes", "hatememes", "hateful-memes"),
    classes=("benign", "hateful"),
    task="binary",
    config="task_finetune_hatememes",
    options=("test_file",),
    read=read,
    note="offensive content; its release has a licence of its own",
)
