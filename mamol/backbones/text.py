"""The frozen CLIP text tower: causal, and its feature is that of the end token."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mamol.backbones.blocks import blocks_of
from mamol.core.backbone import Backbone, Origin
from mamol.core.streams import TEXT

if TYPE_CHECKING:
    from open_clip.transformer import TextTransformer


class TextTower(Backbone):
    """A frozen text transformer.

    Attributes:
        text: open_clip's module.
    """

    name = TEXT
    causal = True
    front = 0

    def __init__(self, text: "TextTransformer", origin: Origin) -> None:
        """Freezes ``text``.

        Args:
            text: open_clip's module, weights loaded.
            origin: What the weights are.
        """
        super().__init__(text, origin)
        self.text = text
        self.width, self.output_dim = text.width, text.output_dim
        self.blocks = blocks_of(text.transformer.resblocks)

    @property
    def last_norm(self) -> nn.LayerNorm:
        """``ln_final``."""
        norm: nn.LayerNorm = self.text.ln_final
        return norm

    @property
    def projection(self) -> Tensor:
        """``text_projection``, (width, output_dim)."""
        projection: Tensor = self.text.text_projection
        return projection

    def embed(self, x: Tensor) -> Tensor:
        """Token numbers (N, T) to tokens (N, T, width)."""
        tokens: Tensor = self.text.token_embedding(x)
        return tokens

    def of_embed(self) -> Iterator[nn.Parameter]:
        """Those of the words."""
        yield from self.text.token_embedding.parameters()

    def begin(self, tokens: Tensor) -> Tensor:
        """Positions added: (N, T, width), T at most the context length."""
        placed: Tensor = tokens + self.text.positional_embedding[: tokens.shape[1]]
        return placed
