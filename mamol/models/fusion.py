"""How the modalities of a sample come together: after the tower, or inside it.

A stream is one present modality of one sample; the tokens of a batch's streams come modality by modality. A fusion
makes a tower's sequences out of them, and the head's input out of the tower's features. Absent streams are never
embedded, so nothing of them can get anywhere. ``available`` and M mean the modalities of one tower, but for contexts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mamol.methods.base import Context


def streams(available: Tensor) -> tuple[Tensor, Tensor]:
    """The present streams of a batch.

    Args:
        available: (B, M) bool.

    Returns:
        Sample and modality of each, (n,) long, modality by modality.
    """
    modality, sample = available.T.nonzero(as_tuple=True)
    return sample, modality


class Fusion(ABC):
    """What the network leaves to the fusion.

    Attributes:
        typed: Whether the tokens of a modality bear its type embedding.
    """

    typed: bool

    @abstractmethod
    def feature_width(self, modalities: int, output_dim: int) -> int:
        """Length of ``features`` for M modalities and features (N, output_dim) of the tower."""

    @abstractmethod
    def context(self, available: Tensor, members: Sequence[int], count: int) -> Context:
        """What a method knows of the sequences of one tower.

        Args:
            available: (B, M) bool.
            members: Numbers of the modalities that go through the tower.
            count: T, tokens of a stream.
        """

    @abstractmethod
    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """From the tokens (n, T, width) of the streams to those of the N sequences that go through the tower."""

    @abstractmethod
    def features(self, encoded: Tensor, available: Tensor) -> Tensor:
        """From the tower's features (N, output_dim) to the head's input (B, ``feature_width``)."""


class LateFusion(Fusion):
    """MaMOL's way: every stream is a sequence, features stand side by side, zero where a modality is absent.

    Streams do not meet before the concatenation, so leaving out absent ones is exact.
    """

    typed = False

    def feature_width(self, modalities: int, output_dim: int) -> int:
        """``M·output_dim``."""
        return modalities * output_dim

    def context(self, available: Tensor, members: Sequence[int], count: int) -> Context:
        """One row per stream."""
        sample, member = streams(available[:, members])
        return Context(available[sample].float(), torch.tensor(members, device=member.device)[member])

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """The streams themselves."""
        return tokens

    def features(self, encoded: Tensor, available: Tensor) -> Tensor:
        """The streams' features side by side, (B, M·output_dim)."""
        features = encoded.new_zeros(*available.shape, encoded.shape[-1])
        return features.index_put(streams(available), encoded).flatten(1)


class SingleStream(Fusion):
    """ViLT's way (Kim et al. 2021, arXiv 2102.03334): the present streams of a sample are one sequence.

    The sequences of a batch are padded to the largest number of present streams, and padding is masked out of every
    attention. One class token reads the whole sequence.
    """

    typed = True

    def feature_width(self, modalities: int, output_dim: int) -> int:
        """``output_dim``, whatever M is."""
        return output_dim

    def context(self, available: Tensor, members: Sequence[int], count: int) -> Context:
        """One row per sample; the mask is left out where no sequence is padded."""
        present = available.sum(1)
        longest = int(present.max())
        padded = int(present.min()) < longest
        there = torch.arange(longest, device=available.device) < present[:, None]
        return Context(available.float(), None, token_mask=there.repeat_interleave(count, 1) if padded else None)

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """(B, S·T, width): the sample's streams in the order of the modalities, then zeros."""
        sample, modality = streams(available)
        place = (available.cumsum(1) - 1)[sample, modality]
        longest = int(available.sum(1).max())
        padded = tokens.new_zeros(len(available), longest, *tokens.shape[1:])
        return padded.index_put((sample, place), tokens).flatten(1, 2)

    def features(self, encoded: Tensor, available: Tensor) -> Tensor:
        """The class features as they are, (B, output_dim)."""
        return encoded


FUSIONS: dict[str, Fusion] = {"late": LateFusion(), "single_stream": SingleStream()}
"""What ``fusion=`` can name."""
