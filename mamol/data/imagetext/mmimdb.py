"""MM-IMDb: film posters with plots, 23 genres (Arevalo et al., 2017).

``split.json`` has the ids of train, dev and test; a movie is ``images/<id>.jpeg`` and ``labels/<id>.json`` with
``plot`` (a list of texts) and ``genres`` (a list of names).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mamol.core.files import sha256_of
from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions, class_numbers
from mamol.data.imagetext.raw import WRONG_FIELDS, Item, Problems, Raw, check_image, read_json, read_splits
from mamol.data.progress import shown

CLASSES = (
    *("Drama", "Comedy", "Romance", "Thriller", "Crime", "Action", "Adventure", "Horror", "Documentary", "Mystery"),
    *("Sci-Fi", "Fantasy", "Family", "Biography", "War", "History", "Music", "Animation", "Musical", "Western"),
    *("Sport", "Short", "Film-Noir"),
)
SPLIT_NAMES = {"train": "train", "val": "dev", "test": "test"}
SIZES = {"train": 15552, "val": 2608, "test": 7799}
_NUMBERS = class_numbers(CLASSES)


def read(options: ImageTextOptions) -> Raw:
    """The movies.

    Args:
        options: The folder, and which plots of a movie to take.

    Raises:
        MamolError: Naming everything that is missing, damaged or listed twice.
    """
    root = options.root
    problems, digest = Problems(root), hashlib.sha256()
    splits = read_splits(root / "split.json", SPLIT_NAMES, problems)
    items: dict[str, list[Item]] = {}
    other: Counter[str] = Counter()
    for split, ids in splits.items():
        movies = (_movie(root, name, options.plots, problems, other) for name in ids)
        items[split] = [movie for movie in shown(movies, f"reading {split}", len(ids)) if movie is not None]
    problems.refuse("complete the folder from the release of MM-IMDb")
    for name in sorted(name for ids in splits.values() for name in ids):
        digest.update((root / "labels" / f"{name}.json").read_bytes())
    remarks = [f"texts: --plots {options.plots}"]
    if other:
        remarks.append(
            "genres that are not among the 23 are left out: "
            + ", ".join(f"{name} {count}" for name, count in sorted(other.items()))
        )
    if bare := sum(not movie.label for movies in items.values() for movie in movies):
        remarks.append(f"movies without any of the 23 genres: {bare}")
    return Raw(
        items,
        sources={"split.json": sha256_of(root / "split.json"), "labels": digest.hexdigest()},
        listed={split: len(ids) for split, ids in splits.items()},
        known=SIZES,
        remarks=remarks,
    )


def _movie(root: Path, name: str, plots: str, problems: Problems, other: Counter[str]) -> Item | None:
    image = check_image(root / "images", f"{name}.jpeg", problems)
    content = read_json(root / "labels" / f"{name}.json", problems, label=True)
    texts = _texts(content, "plot", name, problems)
    genres = _texts(content, "genres", name, problems)
    if texts == []:
        problems.add("empty lists of texts", f"{name}.json['plot']")
    if image is None or not texts or genres is None:
        return None
    other.update(genre for genre in set(genres) if genre not in _NUMBERS)
    label = tuple(sorted(_NUMBERS[genre] for genre in set(genres) if genre in _NUMBERS))
    return Item(name, image, _chosen(texts, plots), label)


def _texts(content: Mapping[str, Any] | None, field: str, name: str, problems: Problems) -> list[str] | None:
    """A field that is a list of texts, or None."""
    if content is None:
        return None
    texts = content.get(field)
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    problems.add(WRONG_FIELDS, f"{name}.json[{field!r}] (expected a list of texts)")
    return None


def _chosen(texts: list[str], plots: str) -> tuple[str, ...]:
    if plots == "all":
        return tuple(texts)
    return (max(texts, key=len) if plots == "longest" else texts[0],)


MMIMDB = ImageTextFacts(
    name="mmimdb",
    title="MM-IMDb: film posters and plots; any of 23 genres",
    aliases=("mm-imdb", "mm_imdb"),
    classes=CLASSES,
    task="genres",
    config="task_finetune_mmimdb",
    options=("plots",),
    read=read,
)
