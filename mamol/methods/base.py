"""What a method may do inside the encoder: prompts, extra keys and values, the feed-forward part, the feature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.errors import MamolError
from mamol.models.tower import VISUAL, Tower

FeedForward = Callable[[Tensor], Tensor]


@dataclass
class Context:
    """What a method knows of the N streams that go through a tower together.

    A stream is one present modality of one sample; with ``fusion=single_stream`` it is all of them in one sequence.

    Attributes:
        available: (N, M) float, 1 where the stream's sample has the modality.
        modality: (N,) long, the stream's own modality; None if it holds all present ones.
        pattern: Whatever the method derived from ``available`` for this pass, for example ψ(m) as (N, 8).
        losses: Auxiliary losses that the layers of this pass added.
        routing: Layer number to gates (N, T, K), filled only if it is a dictionary; zero at padding.
        token_mask: (N, T) bool, False where an embedded token is padding; None if there is none.
        end: (N,) long, the token of each text that is read; None where it is the class token.
        tower: Name of the tower that the streams go through.
    """

    available: Tensor
    modality: Tensor | None
    pattern: Tensor | None = None
    losses: list[Tensor] = field(default_factory=list)
    routing: dict[int, Tensor] | None = None
    token_mask: Tensor | None = None
    end: Tensor | None = None
    tower: str = VISUAL

    def mask(self, length: int) -> Tensor | None:
        """Which tokens of the sequences are no padding, for every attention and every mean over tokens.

        Args:
            length: Of the sequences at hand: the embedded tokens behind class token and prompts, or the token that is
                read.

        Returns:
            (N, length) bool, or None if all of them are.
        """
        if self.token_mask is None or length == 1:
            return None
        return functional.pad(self.token_mask, (length - self.token_mask.shape[1], 0), value=True)

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

    def record(self, layer: int, gates: Tensor) -> None:
        """Keeps the gates (N, T, K) of a layer, if the routing is asked for."""
        if self.routing is not None:
            mask = self.mask(gates.shape[1])
            self.routing[layer] = gates.detach() if mask is None else gates.detach() * mask[..., None]

    def prepared(self) -> Tensor:
        """``pattern``, of a method whose ``begin`` sets it."""
        if self.pattern is None:
            raise RuntimeError("the method's begin() has not been called for this pass")
        return self.pattern


class Method(nn.Module):
    """The frozen tower as it is; the compared methods override what they change.

    The hooks are called by ``mamol.models.encoder.encode``, once per pass or once per block.

    Attributes:
        trains_embedding: Whether the embeddings are trained with the method.
    """

    trains_embedding = True

    def begin(self, context: Context) -> None:
        """Prepares a pass: computes what all layers share from the missing patterns."""

    def before_block(self, layer: int, x: Tensor, context: Context) -> Tensor:
        """Adds or replaces prompt tokens in front of block ``layer``.

        Args:
            layer: Block number from 0.
            x: (N, T, width) tokens.
            context: The streams.

        Returns:
            (N, T', width) tokens.
        """
        return x

    def attention_prefix(self, layer: int, context: Context) -> tuple[Tensor, Tensor] | None:
        """Extra keys and values in block ``layer``, in front of those of the tokens.

        Args:
            layer: Block number from 0.
            context: The streams.

        Returns:
            Keys and values, (N, L, width) each, used as they are, without the block's projections; or None.
        """
        return None

    def feed_forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """The feed-forward part of block ``layer``, without the residual.

        Args:
            layer: Block number from 0.
            z: (N, T, width), the tokens after attention and ``ln_2``.
            mlp: The block's frozen MLP.
            context: The streams.

        Returns:
            (N, T, width), added to the tokens by the encoder.
        """
        return mlp(z)

    def finish(self, x: Tensor, tower: Tower) -> Tensor:
        """From the tokens that are read (N, width) to features (N, output_dim)."""
        return tower.finish(x)

    def auxiliary_loss(self, context: Context) -> Tensor | None:
        """The sum of the losses that the layers of this pass added, or None."""
        return torch.stack(context.losses).sum() if context.losses else None

    def routing(self) -> list[nn.Module]:
        """The modules that decide which experts are used, for the parameter report."""
        return []


def chosen_blocks(wanted: str | Sequence[int], blocks: int) -> list[int]:
    """The block numbers behind ``expert_blocks``.

    Args:
        wanted: ``first6``, ``last2`` … or a list of block numbers from 0.
        blocks: How many blocks the tower has.

    Returns:
        Sorted block numbers.

    Raises:
        MamolError: A number is outside the tower, or no block is chosen.
    """
    if isinstance(wanted, str):
        word, count = ("first", wanted[5:]) if wanted.startswith("first") else ("last", wanted[4:])
        n = int(count)
        chosen = list(range(n)) if word == "first" else list(range(blocks - n, blocks))
    else:
        chosen = sorted(wanted)
    if not chosen or chosen[0] < 0 or chosen[-1] >= blocks:
        raise MamolError(f"expert_blocks={wanted!r}: the tower has the blocks 0 to {blocks - 1}; choose among them")
    return chosen
