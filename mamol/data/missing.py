"""Which modalities of which samples are missing: a pure function of the split, the rate, the type and a seed."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.names import pattern_name

Mask = NDArray[np.bool_]
KEYS = "missing_type, test_type or evaluate_types"
"""The options that name a missing type."""


def incomplete_patterns(modalities: int) -> Mask:
    """All patterns that miss something but not everything.

    Args:
        modalities: M, how many there are.

    Returns:
        (2^M - 2, M) bool, True where present.
    """
    rows = [p for p in product((True, False), repeat=modalities) if any(p) and not all(p)]
    return np.array(rows, bool).reshape(-1, modalities)


def _generator(*key: object) -> np.random.Generator:
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _count(rate: float, samples: int) -> int:
    """``rate · samples`` to the nearest whole number, halves up (0.7 · 10 is 7 although 0.7 is not exact)."""
    return int(np.floor(rate * samples + 0.5))


def draw(
    samples: int, modalities: Sequence[str], *, ratio: float, kind: str, seed: int, fingerprint: str, epoch: int = 0
) -> Mask:
    """Which modalities each sample has, at a missing rate η.

    Exactly ``η·N`` samples are incomplete. ``both`` and ``all`` spread them evenly (±1) over every incomplete,
    non-empty pattern: η/2 each for two modalities (the paper's setting). A modality name lets that one go missing,
    ``a+b`` lets those go missing together.

    Args:
        samples: N.
        modalities: Names in the table's order.
        ratio: η, share of incomplete samples, 0 to 1.
        kind: ``both``, ``all``, a modality, or several joined by +.
        seed: Named seed of the run.
        fingerprint: Of the split, so that every split and table has its own draw.
        epoch: Another draw for each epoch, where patterns are drawn anew.

    Returns:
        (N, M) bool, True where present; every row has at least one True.

    Raises:
        MamolError: Unknown modality, or a type that would leave nothing.
    """
    patterns = _patterns_of(kind, modalities)
    mask = np.ones((samples, len(modalities)), bool)
    count = _count(ratio, samples) if len(patterns) else 0
    drawn = "both" if kind == "all" else kind  # two words for one thing
    rng = _generator("missing", fingerprint, drawn, ratio, seed, epoch)
    chosen = rng.permutation(samples)[:count]
    mask[chosen] = rng.permutation(patterns)[np.arange(count) % max(len(patterns), 1)]
    return mask


def _patterns_of(kind: str, modalities: Sequence[str]) -> Mask:
    if kind in ("both", "all"):
        return incomplete_patterns(len(modalities))
    gone = kind.split("+")
    unknown = [name for name in gone if name not in modalities]
    if unknown:
        raise MamolError(
            f"missing type {kind}: the table has no modality {', '.join(unknown)}; "
            f"allowed are {', '.join(modalities)}, several joined by +, both or all; correct {KEYS}"
        )
    if len(set(gone)) < len(gone):
        once = "+".join(dict.fromkeys(gone))
        raise MamolError(f"missing type {kind}: a modality is named twice; name each once in {KEYS}: {once}")
    if set(gone) == set(modalities):
        raise MamolError(
            f"missing type {kind}: nothing would be left; at least one of {', '.join(modalities)} must stay"
        )
    return np.array([[name not in gone for name in modalities]], bool)


def draw_availability(
    samples: int,
    rates: Mapping[str, float],
    modalities: Sequence[str],
    *,
    reading: str,
    seed: int,
    fingerprint: str,
    epoch: int = 0,
) -> Mask:
    """Which modalities each sample has, at given rates per modality (the paper's Table 3).

    Modality i is missing in exactly ``(1 - rate_i)·N`` samples, and no sample misses everything.

    Args:
        samples: N.
        rates: Modality to share of samples that have it; modalities left out are always there.
        modalities: Names in the table's order.
        reading: ``independent``: each modality goes missing on its own, so samples can miss several;
            ``overall``: no sample misses more than one, as the paper's "75 % overall" requires.
        seed: Named seed of the run.
        fingerprint: Of the split.
        epoch: Another draw for each epoch, where patterns are drawn anew.

    Returns:
        (N, M) bool, True where present.

    Raises:
        MamolError: Unknown modality, or rates that cannot hold together.
    """
    unknown = sorted(rates.keys() - set(modalities))
    if unknown:
        raise MamolError(
            f"availability: the table has no modality {', '.join(unknown)}; it has {', '.join(modalities)}"
        )
    gone = [_count(1 - rates.get(name, 1.0), samples) for name in modalities]
    most = samples if reading == "overall" else samples * (len(modalities) - 1)
    if sum(gone) > most:
        raise MamolError(
            f"availability={dict(rates)} ({reading}): {sum(gone)} modalities would be missing in {samples} samples, "
            f"at most {most} can be; raise a rate"
        )
    # The first epoch is keyed as it was before there was an epoch in the key.
    later = (epoch,) if epoch else ()
    rng = _generator("availability", fingerprint, sorted(rates.items()), reading, seed, *later)
    mask = np.ones((samples, len(modalities)), bool)
    if reading == "overall":
        mask[rng.permutation(samples)[: sum(gone)], np.repeat(np.arange(len(modalities)), gone)] = False
        return mask
    for i, count in enumerate(gone):
        mask[rng.permutation(samples)[:count], i] = False
    return _leave_one(mask, rng)


def _leave_one(mask: Mask, rng: np.random.Generator) -> Mask:
    """Moves a missing modality from each empty sample to one that can spare it; the counts stay."""
    for empty in np.flatnonzero(~mask.any(1)):
        for i in rng.permutation(mask.shape[1]):
            spare = np.flatnonzero(mask[:, i] & (mask.sum(1) >= 2))
            if len(spare):
                mask[rng.choice(spare), i] = False
                mask[empty, i] = True
                break
    return mask


def upon(natural: Mask, drawn: Mask) -> Mask:
    """What is there by nature and not drawn away; the draw never takes a sample's last modality.

    Args:
        natural: (N, M) bool, True where the sensor saw the sample; every row has at least one True.
        drawn: (N, M) bool, of ``draw`` or ``draw_availability``.

    Returns:
        (N, M) bool; where nothing would be left, the row of ``natural``.
    """
    left = natural & drawn
    return np.where(left.any(1, keepdims=True), left, natural)


def realised(mask: Mask, modalities: Sequence[str], natural: Mask | None = None, spared: int = 0) -> dict[str, Any]:
    """Counts of what is missing in a mask, for printing and ``metrics.json``.

    Args:
        mask: (N, M) bool, True where present.
        modalities: M names, in the order of the columns.
        natural: (N, M) bool, True where the sensor saw the sample; None if all did.
        spared: Samples whose last modality the draw would have taken.

    Returns:
        ``n``, ``incomplete_percent``, ``patterns`` (name to count, most complete first) and
        ``available_percent`` (modality to percent); where sensors miss samples by nature, the same of nature alone
        under ``natural``, and ``spared``.
    """
    if natural is not None:
        return {**realised(mask, modalities), "natural": realised(natural, modalities), "spared": spared}
    rows, counts = np.unique(mask, axis=0, return_counts=True)
    order = np.lexsort((*(~rows).T[::-1], -rows.sum(1)))
    n = max(len(mask), 1)
    return {
        "n": len(mask),
        "incomplete_percent": round(100 * float((~mask.all(1)).sum()) / n, 4),
        "patterns": {pattern_name(rows[i], modalities): int(counts[i]) for i in order},
        "available_percent": {name: round(100 * float(mask[:, i].sum()) / n, 4) for i, name in enumerate(modalities)},
    }
