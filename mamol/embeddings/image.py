"""Images enter the visual tower through the backbone's own patch embedding, which is not trained."""

from torch import Tensor

from mamol.core.backbone import Backbone
from mamol.core.embedding import EMBEDDINGS, Embedding
from mamol.core.modality import IMAGE


@EMBEDDINGS.register(IMAGE)
class ImageEmbedding(Embedding):
    """Nothing of its own."""

    trained = False

    def forward(self, x: Tensor, backbone: Backbone) -> Tensor:
        """The backbone's patch embedding.

        Args:
            x: (n, 3, S, S) images, normalised as the backbone's.
            backbone: The visual tower.

        Returns:
            (n, grid², width) tokens.
        """
        return backbone.embed(x)
