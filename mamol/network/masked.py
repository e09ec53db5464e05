"""Masked autoencoding of windows: what a backbone is pre-trained with. The decoder is thrown away.

A stream (a modality of a window) goes through the tower by itself, as with ``fusion=late``, with a quarter of its
pixels; a hidden pixel is a hole for the embedding. The decoder sees all streams of a window together and says every
pixel of every modality that was hidden: the masked ones of what was present, and all of what was taken away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from mamol.backbones.mixture.experts import Told
from mamol.backbones.mixture.folder import Pretrained
from mamol.backbones.mixture.tower import Layer, MixtureTower, Sizes, Weights
from mamol.core.attention import attention
from mamol.core.backbone import Origin
from mamol.core.gates import balance_per_modality, mutual_information
from mamol.core.modality import Modality
from mamol.core.streams import Streams
from mamol.embeddings.window import WindowEmbedding
from mamol.network.fusion import present_streams

DECODER = (64, 2, 2)
"""Width, layers and heads of the decoder."""
Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Seen:
    """What the tower makes of the visible pixels of n streams.

    Attributes:
        streams: They.
        tokens: (n, 1 + k, width), class token and kept pixels.
        place: (n, k), which pixels they are.
        visible: (n, T) bool, of all pixels.
        routing: Of each mixture, gates and probabilities (n, 1 + k, K).
    """

    streams: Streams
    tokens: Tensor
    place: Tensor
    visible: Tensor
    routing: tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Reconstruction:
    """What was hidden, and what the decoder says.

    Attributes:
        names: Of the modalities, M of them.
        said: Of each modality (B, T, bands).
        true: Of each modality (B, T, bands); 0 where nothing was seen.
        counts: (B, M, T) bool, the pixels that were hidden and that a sensor saw.
        visible: (B, M, T) bool, the pixels that the encoder got.
        routing: As of ``Seen``.
        streams: As of ``Seen``.
        mask: (n, 1 + k) bool, tokens that count in the routing.
    """

    names: tuple[str, ...]
    said: tuple[Tensor, ...]
    true: tuple[Tensor, ...]
    counts: Tensor
    visible: Tensor
    routing: tuple[tuple[Tensor, Tensor], ...]
    streams: Streams
    mask: Tensor

    def on_cpu(self) -> "Reconstruction":
        """For numpy and pictures; the routing stays where it is."""
        said, true = (tuple(each.cpu() for each in values) for values in (self.said, self.true))
        return replace(self, said=said, true=true, counts=self.counts.cpu(), visible=self.visible.cpu())


class MaskedAutoencoder(nn.Module):
    """Embeddings, tower and decoder, all trained.

    Attributes:
        sizes: Of the tower.
        tower: The backbone to be.
        embedding: Of each sensor.
        decoder: What is thrown away.
    """

    def __init__(
        self, sizes: Sizes, grounds: Sequence[Sequence[Modality]], mask_ratio: float, seed: int = 0, told: bool = True
    ) -> None:
        """Draws the weights.

        Args:
            sizes: Of the tower, with all sensors.
            grounds: The sensors of each ground, in the order of its windows.
            mask_ratio: Share of the pixels of a stream that the encoder does not get.
            seed: Of the initial weights.
            told: Whether routers are told of the modality of a token.
        """
        super().__init__()
        self.sizes, self.grounds = sizes, [tuple(each) for each in grounds]
        self.kept = max(1, round((1 - mask_ratio) * sizes.grid**2))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tower = MixtureTower(sizes, Weights(sizes), Origin("being pre-trained"))
            self.tower.weights.requires_grad_(True)
            if not told:
                self.tower.weights.knowledge.hide_modality()
            self.embedding = nn.ModuleList(
                WindowEmbedding(sensor, self.tower, 0.02 * torch.randn(sizes.width)) for sensor in sizes.sensors
            )
            self.decoder = Decoder(sizes)

    def see(self, batch: Batch, sensors: Sequence[Modality]) -> Seen:
        """The encoder's part.

        Args:
            batch: As of ``forward``.
            sensors: Those of the batch's ground.
        """
        available = batch["available"]
        sample, modality = present_streams(available)
        noise = batch["noise"][sample, modality]
        windows = [batch[each.name][available[:, i]] for i, each in enumerate(sensors)]
        seen = torch.cat([~x[:, 0].isnan().flatten(1) for x in windows])
        place = (noise + 2 * ~seen).argsort(dim=1)[:, : self.kept]
        visible = torch.zeros_like(seen).scatter(1, place, value=True) & seen
        tokens, start = [], 0
        for each, x in zip(sensors, windows, strict=True):
            shown = visible[start : start + len(x)].unflatten(1, x.shape[2:])[:, None]
            start += len(x)
            embedding = cast(WindowEmbedding, self.embedding[self.sizes.sensors.index(each)])
            tokens.append(embedding(x.masked_fill(~shown, float("nan")), self.tower))
        entering = self.tower.begin(torch.cat(tokens))
        x = torch.cat([entering[:, :1], entering[:, 1:].gather(1, _wide(place, entering))], 1)
        streams = Streams(available[sample].float(), sample, modality, visible.gather(1, place), inputs=tuple(sensors))
        return self._through(x, streams, place, visible)

    def _through(self, x: Tensor, streams: Streams, place: Tensor, visible: Tensor) -> Seen:
        routing = []
        mask = streams.mask(x.shape[1])
        for block in self.tower.blocks:
            h = block.norm_attention(x)
            x = x + block.attend(h, h, mask=mask)
            mlp = block.mlp(streams)
            x = x + mlp(block.norm_mlp(x))
            if isinstance(mlp, Told):
                routing.append(mlp.routed)
        return Seen(streams, self.tower.last_norm(x), place, visible, tuple(routing))

    def forward(self, batch: Batch) -> Reconstruction:
        """Hides, encodes and decodes.

        Args:
            batch: Modality to (B, C, P, P) normalised windows, NaN where nothing was seen; ``available`` (B, M) bool,
                what the encoder gets; ``natural`` (B, M) bool, what is there; ``noise`` (B, M, T), the lowest of which
                are visible; ``ground``. What stands at modalities that are not ``natural`` has no effect.
        """
        sensors = self.grounds[int(batch["ground"])]
        seen = self.see(batch, sensors)
        said = self.decoder(seen, batch["natural"], sensors)
        natural = batch["natural"]
        windows = [batch[each.name].flatten(2).transpose(1, 2) for each in sensors]
        there = torch.stack([~x[..., 0].isnan() for x in windows], 1) & natural[..., None]
        sample, modality = seen.streams.sample, seen.streams.modality
        visible = torch.zeros_like(there).index_put((sample, cast(Tensor, modality)), seen.visible)
        true = tuple(x.where(there[:, i, :, None], 0) for i, x in enumerate(windows))
        return Reconstruction(
            names=tuple(each.name for each in sensors),
            said=said,
            true=true,
            counts=there & ~visible,
            visible=visible,
            routing=seen.routing,
            streams=seen.streams,
            mask=cast(Tensor, seen.streams.mask(1 + seen.place.shape[1])),
        )

    def loss(self, batch: Batch, balance: float, information: float) -> dict[str, Tensor]:
        """What a step descends: the sum of these terms, but for ``information``, which is told alone.

        Args:
            batch: As of ``forward``.
            balance: Weight of the load balancing of each modality.
            information: Weight with which the mutual information of expert and modality is rewarded.

        Returns:
            ``loss``, the mean squared error over modalities; ``routing``, the weighted terms; ``information`` in nats.
        """
        made = self(batch)
        errors = [
            (said - true).square().mean(-1)[counts].sum() / counts.sum()
            for said, true, counts in zip(made.said, made.true, made.counts.unbind(1), strict=True)
            if counts.any()
        ]
        # Sensors of other grounds take part with nothing, as processes that train together expect a gradient of each.
        untouched = sum(p.sum() for part in (self.embedding, self.decoder) for p in part.parameters())
        terms = {"loss": torch.stack(errors).mean() if errors else made.said[0].sum() * 0}
        if made.routing:
            evenly, known = routing_scores(made)
            terms |= {"routing": balance * evenly - information * known, "information": known.detach()}
        return {**terms, "loss": terms["loss"] + 0 * untouched}

    def pretrained(self) -> Pretrained:
        """What is kept."""
        embeddings = [dict(own.named_parameters()) for own in self.embedding]
        return Pretrained(self.sizes, self.tower.weights.state_dict(), embeddings)


def routing_scores(made: Reconstruction) -> tuple[Tensor, Tensor]:
    """Load balancing of each modality, and mutual information of expert and modality; means over the mixtures.

    Args:
        made: With the routing.
    """
    modality = cast(Tensor, made.streams.modality)
    evenly = [balance_per_modality(gates, p, modality[:, None], made.mask) for gates, p in made.routing]
    known = [mutual_information(p, modality, made.mask) for _, p in made.routing]
    return torch.stack(evenly).mean(), torch.stack(known).mean()


class Decoder(nn.Module):
    """A small transformer over all pixels of all modalities of a window, then a linear map per sensor."""

    def __init__(self, sizes: Sizes) -> None:
        """Draws the weights.

        Args:
            sizes: Of the tower.
        """
        super().__init__()
        width, layers, heads = DECODER
        plain = replace(sizes, mixtures=(), experts_per_block=None)
        own = replace(plain, width=width, layers=layers, heads=heads, hidden=4 * width)
        self.sensors = sizes.sensors
        self.enter = nn.Linear(sizes.width, width)
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(1 + sizes.grid**2, width))
        self.kind = nn.Parameter(0.02 * torch.randn(len(sizes.sensors), width))
        self.layers = nn.ModuleList(Layer(own) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.ModuleList(nn.Linear(width, sensor.size) for sensor in sizes.sensors)

    def forward(self, seen: Seen, natural: Tensor, sensors: Sequence[Modality]) -> tuple[Tensor, ...]:
        """What stands at every pixel of every modality.

        Args:
            seen: Of the encoder.
            natural: (B, M) bool; modalities that are not there are left out.
            sensors: M of them.

        Returns:
            Of each modality (B, T, bands).
        """
        numbers = [self.sensors.index(each) for each in sensors]
        own = self.hidden.expand(len(seen.place), len(self.positions), -1)
        given = self.enter(seen.tokens).to(own.dtype)
        place = torch.cat([torch.zeros_like(seen.place[:, :1]), 1 + seen.place], 1)
        shown = torch.cat([torch.ones_like(seen.visible[:, :1]), seen.visible], 1)
        filled = own.scatter(1, _wide(place, given), given).where(shown[..., None], own)
        modality = cast(Tensor, seen.streams.modality)
        grid = self.hidden.expand(*natural.shape, len(self.positions), -1).to(filled.dtype)
        grid = grid.index_put((seen.streams.sample, modality), filled)
        x = (grid + self.positions + self.kind[numbers][:, None]).flatten(1, 2)
        mask = natural[..., None].expand(-1, -1, len(self.positions)).flatten(1)
        for each in self.layers:
            layer = cast(Layer, each)
            h = layer.norm_1(x)
            x = x + attention(layer.attention, h, h, mask=mask)
            x = x + layer.feed_forward(layer.norm_2(x))
        out = self.norm(x).unflatten(1, (natural.shape[1], -1))[:, :, 1:]
        return tuple(self.leave[number](out[:, i]).float() for i, number in enumerate(numbers))


def _wide(place: Tensor, like: Tensor) -> Tensor:
    """(n, k) places as (n, k, width), as ``gather`` and ``scatter`` want them."""
    return place[..., None].expand(-1, -1, like.shape[-1])
