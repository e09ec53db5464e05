"""A Perceiver IO: tokens of all present modalities in one array, a few latents that read them, a query per pixel.

With ``volumetric=True`` tokens and queries also hold what a 3-D U-Net makes of all bands around the pixel.
"""

from typing import cast

import torch
from torch import Tensor, nn

from mamol.core.attention import attention
from mamol.core.method import Batch
from mamol.core.network import NETWORKS
from mamol.core.spec import NetworkSpec
from mamol.networks.volume import VolumeUNet
from mamol.networks.windows import WindowNetwork

WIDTH, HEADS = 128, 4
LATENTS, BLOCKS = 64, 4
FREQUENCIES = 4  # of the position features, along each axis
INITIAL_STD = 0.02


def positions(side: int) -> Tensor:
    """Where each pixel of a window lies: its coordinates in -1 to 1, with sines and cosines of them.

    Args:
        side: P.

    Returns:
        (P·P, 2 + 4 · ``FREQUENCIES``), row by row.
    """
    line = torch.linspace(-1, 1, side)
    place = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten(0, 1)
    angles = (place[..., None] * torch.pi * 2 ** torch.arange(FREQUENCIES)).flatten(1)
    return torch.cat([place, angles.sin(), angles.cos()], 1)


class Reading(nn.Module):
    """Attention of queries on tokens, or on each other, then a feed-forward part, behind norms, beside residuals."""

    def __init__(self, *, crosses: bool = False) -> None:
        """Makes it; the weights are torch's.

        Args:
            crosses: Whether the queries read something else than each other.
        """
        super().__init__()
        self.norm_query, self.norm_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.norm_context = nn.LayerNorm(WIDTH) if crosses else None
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, query: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Reads.

        Args:
            query: (B, Q, width).
            context: (B, T, width); None where the queries read each other.
            mask: (B, T) bool, False at tokens that nothing reads.

        Returns:
            (B, Q, width).
        """
        asks = self.norm_query(query)
        read = asks if self.norm_context is None else self.norm_context(context)
        x = query + attention(self.attention, asks, read, mask=mask)
        return cast(Tensor, x + self.mlp(self.norm_mlp(x)))


@NETWORKS.register("perceiver")
class Perceiver(WindowNetwork):
    """Cross-attention from latents to all tokens, self-attention of the latents, cross-attention from pixels to them.

    Attributes:
        windows: Normalises and fills.
        tokens: From the bands of a pixel to its token, for each modality.
        modality: (M, width), added to the tokens of each.
        position: From the position features to what is added to tokens and queries.
        latents: (N, width), learned.
        enter: The latents read the tokens.
        blocks: The latents read each other.
        leave: The pixels read the latents.
        head: From the norm of a pixel's feature to its logits.
        volume: From all bands around a pixel to what is added to its tokens and query; None without
            ``volumetric=True``.
    """

    options = ("volumetric",)
    places: Tensor

    def __init__(self, spec: NetworkSpec, seed: int = 0) -> None:
        """Makes it.

        Args:
            spec: Modalities, classes, side of the windows.
            seed: Of the initial weights.
        """
        super().__init__(spec)
        places = positions(spec.grid)
        self.register_buffer("places", places, persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokens = nn.ModuleList(nn.Linear(size, WIDTH) for size in spec.sizes.values())
            self.modality = nn.Embedding(len(spec.modalities), WIDTH)
            self.position = nn.Linear(places.shape[1], WIDTH)
            self.latents = nn.Embedding(LATENTS, WIDTH)
            nn.init.normal_(self.modality.weight, std=INITIAL_STD)
            nn.init.normal_(self.latents.weight, std=INITIAL_STD)
            self.enter, self.leave = Reading(crosses=True), Reading(crosses=True)
            self.blocks = nn.ModuleList(Reading() for _ in range(BLOCKS))
            self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(spec.classes)))
            # Last, so that the other weights are those without it.
            volumetric = spec.options.get("volumetric", False)  # checkpoints of earlier versions do not say
            self.volume = VolumeUNet(sum(spec.sizes.values()), spec.grid, WIDTH) if volumetric else None

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        """From windows to the logits of their pixels.

        Args:
            batch: As of ``AnyNetwork.forward``.

        Returns:
            (B, P, P, K), and no auxiliary loss.
        """
        seen = self.windows.seen(batch).flatten(2)
        where, windows = self.position(self.places)[None], self.windows(batch)
        if self.volume is not None:
            where = where + self.volume(torch.cat(windows, 1))
        by_modality = [
            embed(values.flatten(2).transpose(1, 2)) + self.modality.weight[number]
            for number, (embed, values) in enumerate(zip(self.tokens, windows, strict=True))
        ]
        tokens = torch.stack(by_modality, 1)  # (B, M, P·P, width)
        counts = seen[..., None]
        here = tokens.where(counts, 0).sum(1) / counts.sum(1).clamp(min=1)
        latents = self.latents.weight.expand(len(tokens), -1, -1)
        latents = self.enter(latents, (tokens + where[:, None]).flatten(1, 2), seen.flatten(1))
        for block in self.blocks:
            latents = block(latents)
        logits: Tensor = self.head(self.leave(here + where, latents))
        return logits.unflatten(1, (self.spec.grid, self.spec.grid)), None
