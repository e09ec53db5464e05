"""Which patterns a page shows."""

from collections.abc import Sequence

from mamol.core.errors import MamolError
from mamol.evaluation.patterns import all_patterns

MOST_SENSORS = 4
"""All of whose patterns are shown, 15 at most."""
MOST_PATTERNS = 16


def wanted_patterns(names: Sequence[str], chosen: Sequence[str]) -> list[list[str]]:
    """The patterns of a page, most complete first.

    Args:
        names: Modalities of the network.
        chosen: Patterns in canonical names, ``hsi+lidar``; none are all.

    Returns:
        The modalities of each.

    Raises:
        MamolError: There are too many, or one has a modality that the network has not.
    """
    given = {frozenset(each.split("+")): each for each in chosen}
    for parts, each in given.items():
        if foreign := sorted(parts - set(names)):
            raise MamolError(
                f"patterns={each}: the checkpoint has no modality {', '.join(foreign)}; it has {'+'.join(names)}"
            )
    if not given and len(names) > MOST_SENSORS:
        raise MamolError(
            f"report: {len(names)} sensors have {2 ** len(names) - 1} patterns, and a page shows all of {MOST_SENSORS} "
            f"sensors at most; choose some, such as patterns={'+'.join(names)},{names[0]}"
        )
    if len(given) > MOST_PATTERNS:
        raise MamolError(f"patterns: found {len(given)} patterns, a page shows {MOST_PATTERNS} at most; choose fewer")
    every = ([name for name, there in zip(names, row, strict=True) if there] for row in all_patterns(len(names)))
    return [pattern for pattern in every if not given or frozenset(pattern) in given]
