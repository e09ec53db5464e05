"""What of the windows of a modality was seen, and their values behind the normalisation."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def seen_pixels(x: Tensor) -> Tensor | None:
    """Which pixels are NaN in no band.

    Args:
        x: (n, C, P, P) windows in sensor units.

    Returns:
        (n, P, P) bool; None if all are, as far as that is known: a graph that is exported is one for all values.
    """
    if torch.compiler.is_exporting():
        return ~x.isnan().any(1)
    # A sum tells at a tenth of the cost of a test of every value; of infinite ones it may be NaN, too.
    if not x.sum().isnan():
        return None
    seen = ~x.isnan().any(1)
    return None if seen.all() else seen


def seen_by_any(batch: Mapping[str, Tensor], modalities: Sequence[str]) -> Tensor:
    """Which pixels of windows some present modality saw.

    Args:
        batch: Modality to (B, C, P, P), and ``available`` (B, M) bool.
        modalities: Names in the order of ``available``, M of them.

    Returns:
        (B, P, P) bool.
    """
    columns = zip(modalities, batch["available"].unbind(1), strict=True)
    saw = [~batch[name][:, 0].isnan() & present[:, None, None] for name, present in columns]
    return torch.stack(saw).any(0)


def normalised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalised windows, zero in all bands of a pixel that is NaN in one.

    Args:
        x: (n, C, P, P) windows in sensor units.
        mean: (C, 1, 1).
        std: (C, 1, 1).

    Returns:
        (n, C, P, P).
    """
    normal, seen = (x - mean) / std, seen_pixels(x)
    return normal if seen is None else normal.where(seen[:, None], 0)
