"""From the window of one modality to the tokens of a CLIP tower."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

HIDDEN = 256  # channels between the two convolutions; the release's value


class WindowEmbedding(nn.Module):
    """Normalisation, Conv 3×3 C→256, Conv 1×1 256→width, no bias; each pixel becomes one token.

    Nothing stands between the convolutions, so together they are linear, as in the release.

    Attributes:
        modality_type: (width,), added to every token of the modality; None without a type embedding.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, width: int, type_start: Tensor | None = None) -> None:
        """Makes the embedding.

        Args:
            channels: Bands C of the modality.
            width: Token width of the tower.
            type_start: (width,), where the modality's type embedding begins; None: it has none.
        """
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.project = nn.Sequential(
            nn.Conv2d(channels, HIDDEN, 3, padding=1, bias=False), nn.Conv2d(HIDDEN, width, 1, bias=False)
        )
        self.modality_type = None if type_start is None else nn.Parameter(type_start.clone())

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Sets the statistics of the training pixels, one number per band."""
        self.mean.copy_(torch.as_tensor(mean)[:, None, None])
        self.std.copy_(torch.as_tensor(std)[:, None, None])

    def forward(self, window: Tensor) -> Tensor:
        """(N, C, P, P) windows in sensor units to (N, P·P, width) tokens, row by row."""
        tokens = self.project((window - self.mean) / self.std).flatten(2).transpose(1, 2)
        return tokens if self.modality_type is None else tokens + self.modality_type
