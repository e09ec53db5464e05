"""Networks as one graph for all missing patterns: every shape is known in front, but for the number of samples.

A network picks the present streams of a batch, so that how many there are depends on what ``available`` holds. Here all
streams go through the tower, and zeros stand in place of what came of absent ones. Outputs are the same; an absent
stream costs what a present one does.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mamol.core.head import ALL
from mamol.core.network import AnyNetwork
from mamol.core.streams import VISUAL, Streams
from mamol.network.fusion import TOGETHER, Fusion
from mamol.network.network import Network

AVAILABLE, LOGITS = "available", "logits"
"""Names of the input that says which modalities a sample has, and of the output."""


class Graph(nn.Module):
    """A network as a function of tensors: windows of the modalities in their order, then which of them are there.

    Attributes:
        inputs: Names of the tensors.
        network: With dense fusion.
    """

    def __init__(self, network: AnyNetwork, present: Sequence[str] | None = None) -> None:
        """Makes it.

        Args:
            network: On windows, in evaluation mode; it stays as it is.
            present: The modalities of all samples, which are the only inputs then; None: each sample says its own.
        """
        super().__init__()
        names = network.spec.names
        self.fixed = None if present is None else torch.tensor([name in present for name in names])
        self.inputs = [name for name in names if present is None or name in present]
        self.network = network
        if isinstance(network, Network):
            self.network = copy(network)
            chosen = [names.index(name) for name in self.inputs]
            self.network.members = {VISUAL: chosen}
            self.network.fusion = DENSE[network.spec.fusion](names, tuple(chosen))
        if self.fixed is None:
            self.inputs.append(AVAILABLE)
        self.bits = 2 ** torch.arange(len(names))
        patterns = (torch.arange(2 ** len(names))[:, None] & self.bits) > 0
        self.temperatures = torch.from_numpy(network.calibration.temperatures(patterns.numpy())).float()
        self.calibrated = bool((self.temperatures != 1).any())

    def forward(self, *inputs: Tensor) -> Tensor:
        """From windows to logits.

        Args:
            *inputs: Of ``inputs``: (B, C, P, P) each, NaN where the sensor saw nothing, and (B, M) bool.

        Returns:
            (B, K), or (B, P, P, K) of a dense head; divided by the temperature of the sample's pattern.
        """
        batch = dict(zip(self.inputs, inputs, strict=True))
        spec, samples = self.network.spec, inputs[0].shape[0]
        if self.fixed is not None:
            batch[AVAILABLE] = self.fixed.expand(samples, -1)
        for name, bands in spec.sizes.items():
            if name not in batch:
                batch[name] = inputs[0].new_zeros(1).expand(samples, bands, spec.grid, spec.grid)
        logits: Tensor = self.network(batch)[0]
        if self.calibrated:
            temperature = self.temperatures[(batch[AVAILABLE] * self.bits).sum(1)]
            logits = logits / temperature.reshape(-1, *(1 for _ in logits.shape[1:]))
        return logits


@dataclass(frozen=True)
class DenseStreams(Streams):
    """Samples whose windows stand in one sequence, each modality at its own place; absent ones are masked.

    Attributes:
        members: Numbers of the modalities in the sequence.
    """

    members: tuple[int, ...] = ()

    def owners(self, length: int) -> Tensor:
        """The modalities in their order, behind tokens that are of several."""
        number = self.available.shape[1]
        order = torch.tensor(self.members, device=self.sample.device)
        # One token alone is the class token.
        own = order.repeat_interleave(self.count)[: 0 if length < self.count else None]
        return pad(own, (length - len(own), 0), value=number).expand(self.sample.shape[0], -1)


@dataclass(frozen=True)
class DenseLate(Fusion):
    """``fusion=late`` of all streams.

    Attributes:
        names: Of all modalities.
        members: Numbers of those that go through the tower; the others are absent from all samples.
    """

    names: tuple[str, ...]
    members: tuple[int, ...]
    typed = False

    def chosen(self, inputs: Tensor, present: Tensor) -> Tensor:
        """All of it."""
        return inputs

    def parts(self, modalities: Sequence[str], reads: str) -> tuple[str, ...]:
        """All modalities, also those that do not go through the tower."""
        return self.names

    def streams(self, available: Tensor, members: Sequence[int], count: int, tower: str) -> Streams:
        """One row per modality and sample."""
        samples = torch.arange(available.shape[0], device=available.device).repeat(len(members))
        numbers = torch.tensor(members, device=available.device)[:, None].expand(-1, available.shape[0]).flatten()
        return Streams(available.float().repeat(len(members), 1), samples, numbers, tower=tower)

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """The streams themselves."""
        return tokens

    def features(self, encoded: Tensor, available: Tensor, reads: str) -> Tensor:
        """The streams' features, zero where a modality is absent."""
        return self._in_place(encoded.unflatten(0, (len(self.members), -1)).transpose(0, 1), available)

    def _in_place(self, found: Tensor, available: Tensor) -> Tensor:
        """From (B, members, …) to (B, M, …), zero where a modality is absent."""
        kept = dict(zip(self.members, _kept(found, available).unbind(1), strict=True))
        nothing = torch.zeros_like(found[:, 0])
        return torch.stack([kept.get(number, nothing) for number in range(len(self.names))], 1)


class DenseSingleStream(DenseLate):
    """``fusion=single_stream`` with all modalities in the sequence; those that are absent are masked."""

    typed = True

    def parts(self, modalities: Sequence[str], reads: str) -> tuple[str, ...]:
        """One for all, or all modalities where all tokens are read."""
        return self.names if reads == ALL else (TOGETHER,)

    def streams(self, available: Tensor, members: Sequence[int], count: int, tower: str) -> Streams:
        """One row per sample; the mask is that of the network, which knows the holes."""
        samples = torch.arange(available.shape[0], device=available.device)
        return DenseStreams(available.float(), samples, tower=tower, count=count, members=self.members)

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """(B, members · T, width): zeros, and False in a mask, in place of absent ones."""
        by_sample = tokens.unflatten(0, (len(self.members), -1)).transpose(0, 1)
        return _kept(by_sample, available).flatten(1, 2)

    def features(self, encoded: Tensor, available: Tensor, reads: str) -> Tensor:
        """The class features as they are; or the tokens of each stream at its modality."""
        if reads != ALL:
            return encoded[:, None]
        return self._in_place(encoded.unflatten(1, (len(self.members), -1)), available)


def _kept(x: Tensor, there: Tensor) -> Tensor:
    """(B, S, …), zero or False where ``there`` (B, S) is."""
    there = there.reshape(*there.shape, *(1 for _ in x.shape[2:]))
    return x & there if x.dtype == torch.bool else x.where(there, 0)  # onnxruntime knows no where of bool


DENSE: dict[str, type[DenseLate]] = {"late": DenseLate, "single_stream": DenseSingleStream}
"""``fusion=`` to what stands in for it."""
