"""How the modalities of a sample come together: after the tower, or inside it.

A stream is one present modality of one sample; the tokens of a batch's streams come modality by modality. A fusion
makes a tower's sequences out of them, and features per modality out of what leaves the tower. Absent streams are never
embedded, so nothing of them can get anywhere. ``available`` and M mean the modalities of one tower, but for streams.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mamol.core.head import ALL
from mamol.core.streams import Streams

TOGETHER = "all"
"""Name of the one feature of a sequence that holds all modalities."""


def present_streams(available: Tensor) -> tuple[Tensor, Tensor]:
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
    def parts(self, modalities: Sequence[str], reads: str) -> tuple[str, ...]:
        """Names of the features that ``features`` gives.

        Args:
            modalities: Names of the tower's modalities.
            reads: Which tokens the head reads.
        """

    def chosen(self, inputs: Tensor, present: Tensor) -> Tensor:
        """What of a modality goes on.

        Args:
            inputs: (B, …), what its samples bring.
            present: (B,) bool, those that have it.

        Returns:
            (n, …), of the present streams.
        """
        return inputs[present]

    @abstractmethod
    def streams(self, available: Tensor, members: Sequence[int], count: int, tower: str) -> Streams:
        """What a method knows of the sequences of one tower.

        Args:
            available: (B, M) bool, of all modalities of the network.
            members: Numbers of the modalities that go through the tower.
            count: T, tokens of a stream.
            tower: Its name.
        """

    @abstractmethod
    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """From the streams to the sequences that go through the tower.

        Args:
            tokens: (n, T, width) of the present streams, modality by modality.
            available: (B, M) bool.

        Returns:
            (N, T', width).
        """

    @abstractmethod
    def features(self, encoded: Tensor, available: Tensor, reads: str) -> Tensor:
        """What the head sees.

        Args:
            encoded: (N, output_dim), or (N, T', output_dim) where all tokens are read.
            available: (B, M) bool.
            reads: Which tokens the head reads.

        Returns:
            (B, parts, output_dim), or (B, parts, T, output_dim); zero where a modality is absent.
        """


class LateFusion(Fusion):
    """MaMOL's way: every stream is a sequence, features stand side by side, zero where a modality is absent.

    Streams do not meet before the concatenation, so leaving out absent ones is exact.
    """

    typed = False

    def parts(self, modalities: Sequence[str], reads: str) -> tuple[str, ...]:
        """The modalities."""
        return tuple(modalities)

    def streams(self, available: Tensor, members: Sequence[int], count: int, tower: str) -> Streams:
        """One row per stream."""
        sample, member = present_streams(available[:, members])
        numbers = torch.tensor(members, device=member.device)
        return Streams(available[sample].float(), sample, numbers[member], tower=tower)

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """The streams themselves."""
        return tokens

    def features(self, encoded: Tensor, available: Tensor, reads: str) -> Tensor:
        """The streams' features, each at its sample and modality."""
        features = encoded.new_zeros(*available.shape, *encoded.shape[1:])
        return features.index_put(present_streams(available), encoded)


class SingleStream(Fusion):
    """ViLT's way (Kim et al. 2021, arXiv 2102.03334): the present streams of a sample are one sequence.

    The sequences of a batch are padded to the largest number of present streams, and padding is masked out of every
    attention. One class token reads the whole sequence.
    """

    typed = True

    def parts(self, modalities: Sequence[str], reads: str) -> tuple[str, ...]:
        """One for all, as one class token reads the sequence; the modalities where all tokens are read."""
        return tuple(modalities) if reads == ALL else (TOGETHER,)

    def streams(self, available: Tensor, members: Sequence[int], count: int, tower: str) -> Streams:
        """One row per sample; the mask is left out where no sequence is padded."""
        own = available[:, members]
        present = own.sum(1)
        longest = int(present.max())
        padded = int(present.min()) < longest
        there = torch.arange(longest, device=available.device) < present[:, None]
        mask = there.repeat_interleave(count, 1) if padded else None
        samples = torch.arange(len(available), device=available.device)
        return Streams(available.float(), samples, token_mask=mask, tower=tower, count=count)

    def sequences(self, tokens: Tensor, available: Tensor) -> Tensor:
        """(B, S·T, width): the sample's streams in the order of the modalities, then zeros."""
        sample, _, place = self._places(available)
        longest = int(available.sum(1).max())
        padded = tokens.new_zeros(len(available), longest, *tokens.shape[1:])
        return padded.index_put((sample, place), tokens).flatten(1, 2)

    def features(self, encoded: Tensor, available: Tensor, reads: str) -> Tensor:
        """The class features as they are, (B, 1, output_dim); or the tokens of each stream at its modality."""
        if reads != ALL:
            return encoded[:, None]
        sample, modality, place = self._places(available)
        by_stream = encoded.unflatten(1, (int(available.sum(1).max()), -1))[sample, place]
        features = encoded.new_zeros(*available.shape, *by_stream.shape[1:])
        return features.index_put((sample, modality), by_stream)

    def _places(self, available: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample, modality and place in its sequence of every present stream."""
        sample, modality = present_streams(available)
        return sample, modality, (available.cumsum(1) - 1)[sample, modality]


FUSIONS: dict[str, Fusion] = {"late": LateFusion(), "single_stream": SingleStream()}
"""What ``fusion=`` can name."""
