"""What of the windows of a modality was seen, and their values behind the normalisation."""

from torch import Tensor


def seen_pixels(x: Tensor) -> Tensor | None:
    """Which pixels are NaN in no band.

    Args:
        x: (n, C, P, P) windows in sensor units.

    Returns:
        (n, P, P) bool; None if all are.
    """
    # A sum tells at a tenth of the cost of a test of every value; of infinite ones it may be NaN, too.
    if not x.sum().isnan():
        return None
    seen = ~x.isnan().any(1)
    return None if seen.all() else seen


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
