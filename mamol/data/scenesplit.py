"""Splits by scenes: a whole scene trains, or validates, or tests."""

from collections.abc import Mapping, Sequence

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.extents import Extents
from mamol.data.polygonsplit import called

TRIES = 32
_CODES = {split: number for number, split in enumerate(SPLITS)}


def scene_pools(
    labels: np.ndarray,
    extents: Extents,
    wanted: Mapping[str, int | None],
    rng: np.random.Generator,
    classes: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """The labelled pixels that each split may use so that no scene is in two.

    Scenes that name a split keep it. The others are dealt: about two of five test, one of five validates, and the rest
    trains, at least one of each where there are enough; whichever scene is the last to train with some class stays
    there. Of several deals the one that lacks the fewest of the wanted pixels is kept.

    Args:
        labels: Of all pixels, 0 unlabelled.
        extents: The scenes.
        wanted: Split -> pixels per class; None: all.
        rng: Source of chance.
        classes: Names of the classes 1 … K, for messages.

    Returns:
        Split -> (N,) labels, 0 where the split may not use the pixel.

    Raises:
        MamolError: If there are fewer than two scenes, a class has none that may train, or none is left to test.
    """
    if not extents.several:
        raise MamolError(
            "protocol scenes: there is one scene, and one to train and one to test are needed; give a folder of "
            "several (docs/DATASETS.md, Many scenes), or use --protocol blocks"
        )
    most = int(labels.max())
    counts = np.stack([np.bincount(part.ravel(), minlength=most + 1)[1:] for part in extents.parts(labels)])
    named = np.array([_CODES.get(each.split, -1) for each in extents.each])
    _check(counts, named, extents, classes)
    shares = _shares(len(named), wanted)
    deals = [_dealt(counts, named, shares, rng) for _ in range(TRIES)]
    owners = min(deals, key=lambda deal: _lacking(counts, deal, wanted))
    if not (owners == _CODES["test"]).any():
        raise MamolError(
            "protocol scenes: no scene is left to test: "
            + "; ".join(_needed(counts, number, each.name, classes) for number, each in enumerate(extents.each))
            + "; add scenes, merge classes, or use --protocol blocks"
        )
    owner = np.repeat(owners, [each.height * each.width for each in extents.each])
    return {split: np.where(owner == code, labels.ravel(), 0) for split, code in _CODES.items()}


def _check(counts: np.ndarray, named: np.ndarray, extents: Extents, classes: Sequence[str]) -> None:
    """Refuses names of splits that leave a class without training, or nothing to test."""
    may_train = (named < 0) | (named == _CODES["train"])
    for index in np.flatnonzero((counts[may_train].sum(axis=0) == 0) & (counts.sum(axis=0) > 0)):
        there = [each.name for each, number in zip(extents.each, counts[:, index], strict=True) if number]
        raise MamolError(
            f"protocol scenes: class {called(int(index) + 1, classes)} lies only in {', '.join(there)}, "
            "whose split is not train; name another split there, or merge the class with another"
        )
    if not ((named < 0) | (named == _CODES["test"])).any():
        raise MamolError('protocol scenes: every scene has a split, and none is "test"; name one to test')


def _shares(scenes: int, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """How many scenes validate and test."""
    val = max(1, scenes // 5) if scenes > 2 and wanted["val"] != 0 else 0
    return {"test": max(1, (scenes - val) // 2), "val": val}


def _dealt(counts: np.ndarray, named: np.ndarray, shares: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    """The split of each scene: all that are free train, and leave one by one as long as every class is trained."""
    owners = np.where(named < 0, _CODES["train"], named)
    order = rng.permutation(np.flatnonzero(named < 0))
    nowhere = counts.sum(axis=0) == 0
    for split, share in shares.items():
        for scene in order:
            if (owners == _CODES[split]).sum() >= share:
                break
            training = owners == _CODES["train"]
            left = counts[training].sum(axis=0) - counts[scene]
            if training[scene] and (nowhere | (left > 0)).all():
                owners[scene] = _CODES[split]
    return owners


def _lacking(counts: np.ndarray, owners: np.ndarray, wanted: Mapping[str, int | None]) -> tuple[int, float]:
    """How bad a deal is: classes without a test pixel, then the lacking share of the wanted pixels."""
    share = 0.0
    for split, code in _CODES.items():
        number = wanted[split]
        least = 1 if number is None else number
        got = counts[owners == code].sum(axis=0)
        share += float(np.maximum(least - got, 0).sum()) / max(least, 1)
    return int((counts[owners == _CODES["test"]].sum(axis=0) == 0).sum()), share


def _needed(counts: np.ndarray, scene: int, name: str, classes: Sequence[str]) -> str:
    """Which class keeps a scene in training."""
    alone = np.flatnonzero((counts[scene] > 0) & (np.delete(counts, scene, axis=0).sum(axis=0) == 0))
    return f"{name} alone has {called(int(alone[0]) + 1, classes)}" if len(alone) else f"{name} has a split"
