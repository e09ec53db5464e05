"""Missing patterns as numbers, for methods that keep weights per pattern."""

import torch
from torch import Tensor


def pattern_table(modalities: int) -> Tensor:
    """All non-empty patterns of M modalities.

    Args:
        modalities: M.

    Returns:
        (2^M - 1, M) bool; row p has the modalities whose bits are set in p + 1, the complete pattern is the last.
    """
    numbers = torch.arange(1, 2**modalities)
    return (numbers[:, None] >> torch.arange(modalities)) % 2 == 1


def pattern_index(available: Tensor) -> Tensor:
    """The row of ``pattern_table`` of each stream's sample.

    Args:
        available: (N, M), 1 where the sample has the modality; never all zero.

    Returns:
        (N,) long.
    """
    bits = 2 ** torch.arange(available.shape[1], device=available.device)
    return (available.long() * bits).sum(1) - 1
