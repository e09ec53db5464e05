"""What a reader finds in a raw folder: items, and everything that is wrong with it, told at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mamol.core import plainjson
from mamol.core.errors import MamolError
from mamol.data.splits import SPLITS

WRONG_FIELDS = "fields missing or of the wrong type"
SHOWN = 10
"""How many names a message shows for each kind of problem."""
SHOWN_LETTERS = 100
"""How much of a name that no file can have."""


@dataclass(frozen=True)
class Item:
    """A movie, a dish, a meme.

    Attributes:
        id: Its name in the release.
        image: The image file.
        texts: Its texts.
        label: Class number, or numbers of the classes that apply.
    """

    id: str
    image: Path
    texts: tuple[str, ...]
    label: int | tuple[int, ...]


@dataclass
class Raw:
    """A release as read.

    Attributes:
        items: Split -> items.
        sources: Raw file -> sha256.
        remarks: What the report has to say of the reading.
        dropped: Reason -> items that were left out.
        listed: Split -> items that the release lists, those left out included.
        known: Split -> items of the release as published.
    """

    items: dict[str, list[Item]]
    sources: dict[str, str]
    listed: Mapping[str, int]
    known: Mapping[str, int]
    remarks: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)


class Problems:
    """What is wrong with a folder: counted by kind, with the first names of each."""

    def __init__(self, root: Path) -> None:
        """Begins without any problem.

        Args:
            root: The folder.
        """
        self.root = root
        self.items = 0
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._of_items: set[str] = set()

    def add(self, kind: str, name: object, *, of_items: bool = True) -> None:
        """Counts one more problem.

        Args:
            kind: What is wrong, such as "image files missing".
            name: Which file, item or field has the problem.
            of_items: Whether the problem is one of single items; the message then says how many of all items have it.
        """
        if of_items:
            self._of_items.add(kind)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        names = self._names.setdefault(kind, [])
        if len(names) < SHOWN:
            names.append(str(name))

    def refuse(self, advice: str) -> None:
        """Raises if there is any problem.

        Args:
            advice: What to do about it.

        Raises:
            MamolError: Naming all kinds of problems in one line.
        """
        if self._counts:
            raise MamolError(f"root {self.root}: {'; '.join(map(self._told, self._counts))}; {advice}")

    def _told(self, kind: str) -> str:
        count, names = self._counts[kind], self._names[kind]
        share = f"{count} of {self.items} " if kind in self._of_items else ""
        first = f"the first {SHOWN}: " if count > SHOWN else ""
        return f"{share}{kind}: {first}{', '.join(names)}"


def read_json(path: Path, problems: Problems, *, label: bool = False) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is none, which is added to ``problems``.

    Args:
        path: The file.
        problems: Where to add that the file is missing or damaged.
        label: Whether it is a label file, of which each item has one.
    """
    files = "label files" if label else "files"
    name = path.relative_to(problems.root).as_posix()
    try:
        content = plainjson.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        problems.add(f"{files} missing", name, of_items=label)
    except (OSError, ValueError) as error:
        problems.add(f"{files} that are no JSON", f"{name} ({error})", of_items=label)
    else:
        if isinstance(content, dict):
            return content
        found = type(content).__name__
        problems.add(f"{files} of the wrong type", f"{name} (expected an object, found {found})", of_items=label)
    return None


def read_splits(path: Path, names: Mapping[str, str], problems: Problems) -> dict[str, list[str]]:
    """The ids of each split in a ``split.json``; an empty list for a split that is missing or no list of ids.

    Args:
        path: The file.
        names: Split -> its name in the file.
        problems: Where to add what is wrong, ids that occur twice included.
    """
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    content = read_json(path, problems)
    if content is None:
        return splits
    for split, name in names.items():
        ids = content.get(name)
        if isinstance(ids, list) and all(isinstance(each, str) for each in ids):
            splits[split] = [each for each in ids if PurePosixPath(each).name == each]
            for each in set(ids) - set(splits[split]):
                problems.add("ids that are no file names", repr(each), of_items=False)
        else:
            problems.add(WRONG_FIELDS, f"{path.name}[{name!r}] (expected a list of ids)", of_items=False)
    check_unique(splits, problems)
    return splits


def check_unique(splits: Mapping[str, Iterable[str]], problems: Problems) -> None:
    """Counts the items, and finds ids that occur twice, in one split or in two.

    Args:
        splits: Split -> ids of its items.
        problems: Where to add the number of items and the ids that occur twice.
    """
    seen: dict[str, str] = {}
    for split, ids in splits.items():
        for name in ids:
            problems.items += 1
            if name not in seen:
                seen[name] = split
            elif seen[name] == split:
                problems.add("duplicate ids", f"{name} ({split})")
            else:
                problems.add("ids in two splits", f"{name} ({seen[name]}, {split})")


def check_image(folder: Path, name: str, problems: Problems) -> Path | None:
    """The path of an image; None if it is not there or lies outside its folder.

    A name in a release must not bring a file from elsewhere on this machine into a table.

    Args:
        folder: Where the image has to lie.
        name: Its path relative to ``folder``, as the release gives it.
        problems: Where to add that the image is missing or outside.
    """
    pure, path = PurePosixPath(name), folder / name
    if pure.is_absolute() or ".." in pure.parts:
        problems.add("image names that lead out of the folder", name)
        return None
    try:
        there = path.is_file()
    except OSError as error:
        problems.add(f"image names that cannot be looked up ({error.strerror})", name[:SHOWN_LETTERS])
        return None
    if not there:
        problems.add("image files missing", path.relative_to(problems.root).as_posix())
        return None
    return path
