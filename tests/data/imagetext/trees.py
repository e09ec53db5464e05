"""Tiny raw folders in the three published layouts, whose images and texts each carry the classes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mamol.data.imagetext.food101 import CLASSES

GENRES = ("Drama", "Comedy", "Action", "Western")
"""The genres that occur in ``mmimdb_tree``; a movie has one to three of them."""
DISHES = ("sushi", "pizza", "hot_dog", "apple_pie")
"""The classes that occur in ``food101_tree``."""
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40))
_WORDS = (
    ("tears", "grief", "divorce"),
    ("jokes", "laughter", "prank"),
    ("explosion", "chase", "gunfight"),
    ("cowboy", "saloon", "sheriff"),
)
_FILLER = ("the", "story", "of", "a", "stranger", "in", "town", "who", "finds", "an", "old", "friend", "and", "leaves")


def draw(marks: Sequence[int], size: int, rng: np.random.Generator) -> Image.Image:
    """A noisy grey picture; each mark of 0-3 is a shape in its colour in its quarter."""
    noise = rng.integers(90, 150, (size, size, 1)).repeat(3, axis=2).astype(np.uint8)
    image = Image.fromarray(noise)
    pen, half = ImageDraw.Draw(image), size // 2
    for mark in marks:
        left, top = mark % 2 * half, mark // 2 * half
        low, high = rng.integers(0, half // 6 + 1, 2), half - 1 - rng.integers(0, half // 6 + 1, 2)
        box = (left + int(low[0]), top + int(low[1]), left + int(high[0]), top + int(high[1]))
        (pen.ellipse if mark % 3 else pen.rectangle)(box, fill=COLOURS[mark])
    return image


def tell(marks: Sequence[int], rng: np.random.Generator) -> str:
    """A text of filler words in which each mark has two of its words."""
    words = [str(word) for word in rng.choice(_FILLER, 8)]
    for mark in marks:
        for word in rng.choice(_WORDS[mark], 2, replace=False):
            words.insert(int(rng.integers(0, len(words) + 1)), str(word))
    return " ".join(words)


def parts(items: int) -> dict[str, range]:
    """The first 60 % of the items for training, 15 % for validation, the rest for test."""
    first, second = round(items * 0.6), round(items * 0.75)
    return {"train": range(first), "val": range(first, second), "test": range(second, items)}


def mmimdb_tree(root: Path, movies: int, seed: int, size: int = 48) -> None:
    """Writes ``split.json``, ``images/<id>.jpeg`` and ``labels/<id>.json``.

    A movie has one to three of ``GENRES`` and one to three plots. Its image has a coloured shape for each genre, each
    of its plots has words of each genre; so either tells all genres.

    Args:
        root: The folder; it is created.
        movies: How many; 60 % are in train, 15 % in dev, the rest in test.
        seed: Of everything drawn.
        size: Longer side of the images, which are half as high again as wide, or the reverse.
    """
    rng = np.random.default_rng(seed)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    ids = [f"{int(number):07}" for number in rng.permutation(movies) + 1]
    splits = {split: [ids[i] for i in chosen] for split, chosen in parts(movies).items()}
    splits["dev"] = splits.pop("val")
    _write(root / "split.json", splits)
    for number, name in enumerate(ids):
        marks = sorted(int(mark) for mark in rng.choice(len(GENRES), rng.integers(1, 4), replace=False))
        picture = draw(marks, size, rng)
        other = size * 2 // 3
        picture.resize((other, size) if number % 2 else (size, other)).save(
            root / "images" / f"{name}.jpeg", quality=90
        )
        plots = [tell(marks, rng) for _ in range(1 + number % 3)]
        _write(root / "labels" / f"{name}.json", {"plot": plots, "genres": [GENRES[mark] for mark in marks]})


def food101_tree(root: Path, dishes: int, seed: int, size: int = 48) -> None:
    """Writes ``class_idx.json``, ``split.json``, ``text.json`` and ``images/{train,test}/<class>/<class>_<n>.jpg``.

    The dishes are of ``DISHES`` in turn; validation images lie under ``images/train``, as published.
    """
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    _write(root / "class_idx.json", {name: number for number, name in enumerate(CLASSES)})
    splits: dict[str, list[str]] = {}
    texts = {}
    for split, number, mark in _marked(dishes, len(DISHES)):
        name = f"{DISHES[mark]}_{number}.jpg"
        splits.setdefault(split, []).append(name)
        texts[name] = f"{DISHES[mark].replace('_', ' ')} {tell([mark], rng)}"
        folder = root / "images" / ("test" if split == "test" else "train") / DISHES[mark]
        folder.mkdir(parents=True, exist_ok=True)
        draw([mark], size, rng).save(folder / name, quality=90)
    _write(root / "split.json", splits)
    _write(root / "text.json", texts)


def hateful_memes_tree(root: Path, memes: int, seed: int, size: int = 48, *, level: bool = True) -> None:
    """Writes ``train``, ``dev``, ``test_seen`` and the unlabelled ``test`` ``.jsonl``, and ``img/<id>.png``.

    Args:
        root: The folder; it is created.
        memes: How many; 60 % are in train, 15 % in dev, the rest in both test files.
        seed: Of everything drawn.
        size: Side of the images.
        level: Whether everything lies one level deeper, in ``data/``.
    """
    rng = np.random.default_rng(seed)
    base = root / "data" if level else root
    (base / "img").mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[dict[str, object]]] = {"train": [], "dev": [], "test_seen": [], "test": []}
    for split, number, label in _marked(memes, 2):
        name = f"img/{number:05}.png"
        draw([label], size, rng).save(base / name)
        line: dict[str, object] = {"id": number, "img": name, "text": tell([label], rng)}
        lines[{"val": "dev", "test": "test_seen"}.get(split, split)].append(line | {"label": label})
        if split == "test":
            lines["test"].append(line)
    for split, records in lines.items():
        (base / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


def _marked(items: int, marks: int) -> Iterator[tuple[str, int, int]]:
    """Split, number and mark of each item."""
    for split, numbers in parts(items).items():
        for number in numbers:
            yield split, number, number % marks


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), "utf-8")
