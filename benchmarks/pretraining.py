"""A step of pre-training against a masked autoencoder in plain form.

The plain form lets hidden pixels through all blocks of the encoder, as tokens that nothing attends to, and each expert
of a mixture computes every token, whose gate is zero where it is not used. Both give the same loss.
"""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.workload import BATCH_OF_8, HOUSTON, WINDOW, WINDOWS, Batch, batch, step_of
from mamol.backbones.mixture.experts import Mixture
from mamol.backbones.mixture.tower import Sizes
from mamol.core.modality import Modality
from mamol.core.streams import Streams
from mamol.network.masked import MaskedAutoencoder, Seen

OURS, PLAIN = "ours", "all tokens through all experts, plain"
MASK_RATIO = 0.75
BALANCE, INFORMATION = 0.01, 0.01


class PlainMixture(Mixture):
    """Every expert computes every token."""

    def mixed(self, z: Tensor, gates: Tensor) -> Tensor:
        """Gated to zero where a token does not use an expert."""
        return torch.stack([gates[..., k, None] * expert(z) for k, expert in enumerate(self.each())]).sum(0)


class PlainAutoencoder(MaskedAutoencoder):
    """Hidden pixels are tokens, too."""

    def _through(self, x: Tensor, streams: Streams, place: Tensor, visible: Tensor) -> Seen:
        whole = x.new_zeros(len(x), 1 + visible.shape[1], x.shape[2])
        wide = functional.pad(1 + place, (1, 0))[..., None].expand_as(x)
        every = torch.arange(visible.shape[1]).expand_as(visible)
        return super()._through(whole.scatter(1, wide, x), replace(streams, token_mask=visible), every, visible)


def plain_form(network: MaskedAutoencoder) -> PlainAutoencoder:
    """The plain form, with the weights of ``network``, copied.

    Args:
        network: Any.
    """
    plain = PlainAutoencoder(network.sizes, network.grounds, MASK_RATIO)
    plain.kept = network.kept
    plain.load_state_dict(deepcopy(network.state_dict()))
    for module in plain.modules():
        if type(module) is Mixture:
            module.__class__ = PlainMixture
    return plain


def autoencoder(size: str) -> MaskedAutoencoder:
    """Houston's two sensors, the default mixtures.

    Args:
        size: Name of the tower's size.
    """
    sensors = [Modality(name, WINDOWS, bands) for name, bands in HOUSTON.items()]
    return MaskedAutoencoder(Sizes.named(size, sensors, WINDOW), [sensors], MASK_RATIO)


def windows_of(patterns: list[tuple[bool, bool]]) -> Batch:
    """A batch of one ground: some windows are taken away, all are there.

    Args:
        patterns: What the encoder gets.
    """
    data = batch(patterns)
    noise = torch.rand(*data["available"].shape, WINDOW**2, generator=torch.Generator().manual_seed(2))
    natural = torch.ones_like(data["available"])
    return data | {"natural": natural, "noise": noise, "ground": torch.tensor(0)}


def loss_of(network: MaskedAutoencoder, data: Batch) -> Tensor:
    """What a step of pre-training descends.

    Args:
        network: Ours or the plain form.
        data: Of ``windows_of``.
    """
    terms = network.loss(data, BALANCE, INFORMATION)
    return terms["loss"] + terms["routing"]


def run(size: str = "tiny", rounds: int = 4) -> list[Figure]:
    """One figure.

    Args:
        size: Of the tower.
        rounds: Timed steps of each.
    """
    data, ours = windows_of(BATCH_OF_8), autoencoder(size)
    plain = plain_form(ours)
    torch.testing.assert_close(loss_of(plain, data), loss_of(ours, data), atol=1e-4, rtol=1e-4)
    steps = {OURS: step_of(ours, lambda: loss_of(ours, data)), PLAIN: step_of(plain, lambda: loss_of(plain, data))}
    what = f"{size}, {MASK_RATIO:.0%} of the pixels hidden, batch 8 with 11 streams, equal losses"
    return [ratio_figure("pre-training step", alternate(steps, rounds), OURS, PLAIN, at_most=1.0, note=what)]
