"""What is known of the streams that go through a backbone together, and what may be recorded of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from mamol.core.modality import Modality

VISUAL, TEXT = "visual", "text"
"""Names of a network's towers."""


@dataclass(frozen=True)
class Streams:
    """N streams: each is one present modality of one sample, or, where modalities meet in one sequence, all of them.

    Attributes:
        available: (N, M) float, 1 where the stream's sample has the modality.
        sample: (N,) long, the row of the batch.
        modality: (N,) long, the stream's own modality; None if it holds all present ones.
        token_mask: (N, T) bool, False where an embedded token does not count, such as padding; None if all count.
        end: (N,) long, the token of each stream that is read; None where it is the class token.
        tower: Name of the tower that the streams go through.
        count: Tokens of one window, where a sequence holds several; 0 where each stream has one modality.
        inputs: What the M modalities are; () where nobody said.
    """

    available: Tensor
    sample: Tensor
    modality: Tensor | None = None
    token_mask: Tensor | None = None
    end: Tensor | None = None
    tower: str = VISUAL
    count: int = 0
    inputs: tuple[Modality, ...] = ()

    def mask(self, length: int) -> Tensor | None:
        """Which tokens of the sequences count, for every attention and every mean over tokens.

        Args:
            length: Of the sequences at hand: the embedded tokens behind class token and prompts, or the token that is
                read.

        Returns:
            (N, length) bool, or None if all of them do.
        """
        if self.token_mask is None or length == 1:
            return None
        return functional.pad(self.token_mask, (length - self.token_mask.shape[1], 0), value=True)

    def mean(self, x: Tensor) -> Tensor:
        """The mean over the embedded tokens of each stream, of those that count.

        Args:
            x: (N, T, width), without class token and prompts.

        Returns:
            (N, width).
        """
        if self.token_mask is None:
            return x.mean(1)
        counts = self.token_mask[..., None].to(x.dtype)
        return (x * counts).sum(1) / counts.sum(1).clamp(min=1)

    def owners(self, length: int) -> Tensor:
        """Of which modality each token of the sequences is.

        Args:
            length: As of ``mask``.

        Returns:
            (N, length) long, or (N, 1) where all tokens of a stream are of one; M at tokens that are of several, such
            as the class token of a sequence of several windows. At padding it is any modality.
        """
        if self.modality is not None:
            return self.modality[:, None]
        present = self.available > 0
        windows = int(present.sum(1).max()) if length > 1 else 0  # one token alone is the class token
        order = present.long().argsort(dim=1, descending=True, stable=True)[:, :windows]
        own = order.repeat_interleave(self.count, 1)
        return functional.pad(own, (length - own.shape[1], 0), value=present.shape[1])

    def by_token(self, each: Tensor, length: int) -> Tensor:
        """What stands for its modality at each token; at a token of several, the mean of those that are present.

        Args:
            each: (M, width), one row per modality.
            length: As of ``mask``.

        Returns:
            (N, length, width), or (N, 1, width) as ``owners``.
        """
        if self.modality is not None:
            return each[self.modality][:, None]
        weight = self.available.to(each.dtype)
        together = (weight @ each / weight.sum(1, keepdim=True))[:, None]
        owners = self.owners(length)[..., None]
        return each[owners[..., 0].clamp(max=len(each) - 1)].where(owners < len(each), together)

    def read(self, x: Tensor, prompts: int) -> Tensor:
        """The token of each stream that becomes its feature: the class token, or the end token of a text.

        Args:
            x: (N, T', width).
            prompts: How many of the T' tokens are prompts, in front.

        Returns:
            (N, 1, width).
        """
        if self.end is None:
            return x[:, prompts : prompts + 1]
        return x[torch.arange(len(x), device=x.device), prompts + self.end][:, None]


@dataclass
class Trace:
    """What is recorded while streams are encoded; whoever asks for it makes it and hands it in.

    Attributes:
        routing: Tower to layer number to gates (N, T, K), zero at tokens that do not count.
        norms: The same of ``‖expert(z)‖``, as far as gates are not zero; None: nobody asks for them.
    """

    routing: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    norms: dict[str, dict[int, Tensor]] | None = None

    def record(self, streams: Streams, layer: int, gates: Tensor, norms: Callable[[], Tensor] | None = None) -> None:
        """Keeps the gates of a layer, and the norms if they are asked for.

        Args:
            streams: Whose they are.
            layer: Block number from 0.
            gates: (N, T, K).
            norms: Gives (N, T, K), how long what each expert makes of a token is; None: the layer cannot say it.
        """
        mask = streams.mask(gates.shape[1])
        kept = gates.detach() if mask is None else gates.detach() * mask[..., None]
        self.routing.setdefault(streams.tower, {})[layer] = kept
        if self.norms is not None and norms is not None:
            self.norms.setdefault(streams.tower, {})[layer] = norms().detach()
