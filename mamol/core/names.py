"""Names of modalities and of missing patterns: what a user may write and what the program calls them."""

import re
from collections.abc import Iterable, Sequence

from mamol.core.errors import MamolError

SPLITS = ("train", "val", "test")
PROTOCOLS = ("disjoint", "paper", "official", "blocks", "polygons", "scenes")
"""How a split can be drawn."""

ALIASES = {"hs": "hsi", "dsm": "lidar", "msi": "ms"}
"""Other names in use, lower-case, and the canonical name each stands for."""

RESERVED = ("label", "row", "col", "available", "all", "both", "none")
"""Names that mean something else in a table, a batch or a missing type."""

UNLABELLED = -100
"""In the labels of a window's pixels: this one does not count. PyTorch's own number for it."""


def canonical(name: str) -> str:
    """The program's name of a modality.

    Args:
        name: Any spelling and case of ``hsi``, ``lidar``, ``sar``, ``ms`` (``HS``, ``DSM``, ``MSI`` too), or the name
            of a custom scene's own modality.

    Returns:
        ``hsi``, ``lidar``, ``sar``, ``ms``, or the custom name in lower case.

    Raises:
        MamolError: If the name cannot be used: empty, reserved, or with other characters than letters, digits, ``_``.
    """
    lower = name.strip().lower()
    if not re.fullmatch(r"[a-z0-9_]+", lower):
        raise MamolError(f"modality {name!r}: a name has letters, digits and '_' only ('+' joins names); rename it")
    if lower in RESERVED:
        raise MamolError(f"modality {name!r}: the name is reserved ({', '.join(RESERVED)}); rename it")
    return ALIASES.get(lower, lower)


def canonical_all(names: Iterable[str]) -> tuple[str, ...]:
    """Canonical names of several modalities, in the given order.

    Args:
        names: Each as for ``canonical``.

    Raises:
        MamolError: If there are none, or two of them mean the same modality.
    """
    result = tuple(canonical(name) for name in names)
    if not result:
        raise MamolError("modalities: none given; name at least one, for example hsi,lidar")
    if len(set(result)) < len(result):
        raise MamolError(f"modalities: {', '.join(result)} names one of them twice; give each once")
    return result


def pattern_name(present: Iterable[bool], modalities: Sequence[str]) -> str:
    """The present modalities joined by +, as in ``hsi+lidar``.

    Args:
        present: One flag per modality.
        modalities: Their names.
    """
    return "+".join(name for name, there in zip(modalities, present, strict=True) if there)
