"""Texts enter the text tower through the backbone's own token embedding, which is not trained."""

from torch import Tensor

from mamol.core.backbone import Backbone
from mamol.core.embedding import EMBEDDINGS, Embedding
from mamol.core.modality import TEXT as KIND
from mamol.core.streams import TEXT


@EMBEDDINGS.register(KIND)
class TextEmbedding(Embedding):
    """Nothing of its own."""

    tower = TEXT
    trained = False

    def forward(self, x: Tensor, backbone: Backbone) -> Tensor:
        """The backbone's token embedding.

        Args:
            x: (n, T) token numbers.
            backbone: The text tower.

        Returns:
            (n, T, width) tokens.
        """
        return backbone.embed(x)

    def ends(self, x: Tensor) -> Tensor:
        """Where each text ends: the place (n,) of the end token, which is the largest of the numbers (n, T)."""
        return x.argmax(-1)
