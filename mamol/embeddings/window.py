"""From the window of one modality to the tokens of the visual tower."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mamol.core.backbone import Backbone
from mamol.core.embedding import EMBEDDINGS, Embedding
from mamol.core.modality import WINDOW, Modality
from mamol.core.windows import normalised, seen_pixels

HIDDEN = 256  # channels between the two convolutions; the release's value


@EMBEDDINGS.register(WINDOW)
class WindowEmbedding(Embedding):
    """Normalisation, Conv 3×3 C→256, Conv 1×1 256→width, no bias; each pixel becomes one token.

    Of a modality that the tower was trained with, the weights begin with what the tower knows of it. Nothing stands
    between the convolutions, so together they are linear, as in the release.

    Attributes:
        modality_type: (width,), added to every token of the modality; None without a type embedding.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, modality: Modality, backbone: Backbone, type_start: Tensor | None = None) -> None:
        """Makes the embedding.

        Args:
            modality: Its size is the number of bands C.
            backbone: The tower; it says the width of a token.
            type_start: (width,), where the modality's type embedding begins; None: it has none.
        """
        super().__init__(modality, backbone)
        channels, width = modality.size, backbone.width
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))
        self.project = nn.Sequential(
            nn.Conv2d(channels, HIDDEN, 3, padding=1, bias=False), nn.Conv2d(HIDDEN, width, 1, bias=False)
        )
        known = backbone.embedding_of(modality)
        type_start = known.get("modality_type", type_start)
        self.modality_type = None if type_start is None else nn.Parameter(type_start.clone())
        if known:
            self.load_state_dict(known, strict=False)  # the normalisation is the table's

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Sets the statistics of the training pixels, one number per band."""
        self.mean.copy_(torch.as_tensor(mean)[:, None, None])
        self.std.copy_(torch.as_tensor(std)[:, None, None])

    def valid(self, x: Tensor) -> Tensor | None:
        """Which pixels are NaN in no band, (n, P·P); None if all are."""
        seen = seen_pixels(x)
        return None if seen is None else seen.flatten(1)

    def forward(self, x: Tensor, backbone: Backbone) -> Tensor:
        """From windows to tokens.

        Args:
            x: (n, C, P, P) windows in sensor units; a pixel with NaN in a band is zero behind the normalisation.
            backbone: Not used; the weights are the embedding's own.

        Returns:
            (n, P·P, width) tokens, row by row.
        """
        tokens: Tensor = self.project(normalised(x, self.mean, self.std)).flatten(2).transpose(1, 2)
        return tokens if self.modality_type is None else tokens + self.modality_type
