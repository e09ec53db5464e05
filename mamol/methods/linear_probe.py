"""The floor of the comparison: a linear classifier on the frozen tower behind a fixed random embedding.

Source: the linear probe of CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.2). CLIP's own patch embedding does
not fit windows of C bands, so the embedding is a random projection of the pixels that stays as it was drawn.
"""

from mamol.methods.base import Method


class LinearProbe(Method):
    """The frozen tower as it is, behind an embedding that is not trained either."""

    trains_embedding = False
