"""From a raw folder of images and texts to tables: read, check every image, write, report."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

from mamol.core.errors import MamolError
from mamol.data.arrowfiles import FORMAT_VERSION
from mamol.data.counting import count_table
from mamol.data.imagetext.facts import ImageTextFacts, ImageTextOptions
from mamol.data.imagetext.images import problem_of
from mamol.data.imagetext.info import TOKENS, ImageTextInfo
from mamol.data.imagetext.raw import Item, Problems, Raw
from mamol.data.imagetext.registry import find
from mamol.data.imagetext.tokens import length_of
from mamol.data.imagetext.writing import write_tables
from mamol.data.progress import shown
from mamol.data.splits import SPLITS
from mamol.data.writing import check_folder

LOGGER = logging.getLogger(__name__)
Items = Mapping[str, Sequence[Item]]


def prepare(options: ImageTextOptions) -> str:
    """Builds the tables of an image-text dataset.

    Args:
        options: What to build. Everything is checked before anything is written.

    Returns:
        A report for the user: counts, what was left out, lengths of texts, files and the next command.

    Raises:
        MamolError: If an option or a raw file is wrong, or the tables cannot be written.
    """
    facts = find(options.dataset)
    if facts is None:
        raise MamolError(f"dataset {options.dataset!r} has no images with texts")
    options.check()
    check_folder(options.out)
    raw = facts.read(options)
    _compare_sizes(facts.name, raw)
    items, broken = _with_good_images(raw, options)
    for split in SPLITS:
        if not items[split] and split != "val":
            raise MamolError(f"root {options.root}: split {split} has no items left; complete the folder")
    info = _info(options, facts, raw, items, broken)
    # Counted first: a text that cannot be counted is noticed before anything is written.
    lengths = _lengths(items)
    try:
        files = write_tables(options.out, info, items)
    except OSError as error:
        raise MamolError(
            f"out {options.out}: cannot be written ({error}); free space or give another folder"
        ) from error
    return _report(options, facts, raw, info, broken, lengths, files)


def _compare_sizes(name: str, raw: Raw) -> None:
    for split in SPLITS:
        found = raw.listed[split]
        if found != raw.known[split]:
            LOGGER.warning("%s: split %s has %d items, published are %d", name, split, found, raw.known[split])


def _with_good_images(raw: Raw, options: ImageTextOptions) -> tuple[dict[str, list[Item]], list[str]]:
    """The items whose images can be decoded, and the names of the other images."""
    items = [(split, item) for split in SPLITS for item in raw.items[split]]
    problems, broken = Problems(options.root), []
    problems.items = len(items)
    good: dict[str, list[Item]] = {split: [] for split in SPLITS}
    with ThreadPool(os.cpu_count()) as pool:
        found = pool.imap(problem_of, (item.image for _, item in items), chunksize=8)
        for (split, item), problem in zip(items, shown(found, "checking images", len(items)), strict=True):
            if problem is None:
                good[split].append(item)
                continue
            broken.append(item.image.relative_to(options.root).as_posix())
            problems.add("images truncated or corrupt", f"{broken[-1]} ({problem})")
    if options.broken_images == "refuse":
        problems.refuse("get them again, or leave their items out with --broken-images drop")
    return good, broken


def _info(
    options: ImageTextOptions, facts: ImageTextFacts, raw: Raw, items: Items, broken: Sequence[str]
) -> ImageTextInfo:
    return ImageTextInfo(
        format_version=FORMAT_VERSION,
        dataset=facts.name,
        note=facts.note,
        classes=facts.classes,
        task=facts.task,
        plots=options.plots,
        split="",
        counts={split: _counts(items[split], facts.classes) for split in SPLITS},
        samples={split: sum(len(item.texts) for item in items[split]) for split in SPLITS},
        dropped=raw.dropped | {"image cannot be decoded": len(broken)},
        sources=raw.sources,
        output="",
    )


def _counts(items: Sequence[Item], classes: Sequence[str]) -> dict[str, int]:
    numbers: Counter[int] = Counter()
    for item in items:
        for label in (item.label,) if isinstance(item.label, int) else item.label:
            numbers[label] += len(item.texts)
    return {name: numbers[label] for label, name in enumerate(classes)}


def _lengths(items: Items) -> list[int]:
    """How many tokens each text has before it is cut."""
    texts = [text for split in SPLITS for item in items[split] for text in item.texts]
    return [length_of(text) for text in shown(texts, "counting tokens", len(texts))]


def _report(
    options: ImageTextOptions,
    facts: ImageTextFacts,
    raw: Raw,
    info: ImageTextInfo,
    broken: Sequence[str],
    lengths: Sequence[int],
    files: Sequence[Path],
) -> str:
    longer = sum(length > TOKENS for length in lengths)
    some = f": {', '.join(broken[:10])}{', …' if len(broken) > 10 else ''}" if broken else ""
    lines = [
        f"{facts.title}, official split",
        *([f"note: {facts.note}"] if facts.note else []),
        "",
        *count_table(info.counts, info.classes, info.samples, "samples"),
        "",
        *raw.remarks,
        *([f"dropped: {len(broken)} items whose images cannot be decoded{some}"] if broken else []),
        f"tokens: {min(lengths)} to {max(lengths)} per text; {longer} of {len(lengths)} texts "
        f"are longer than {TOKENS} and are cut there when they are loaded",
        *(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)" for path in files),
        f"next: python run.py with {facts.config} data_root={options.out}",
    ]
    return "\n".join(lines)
