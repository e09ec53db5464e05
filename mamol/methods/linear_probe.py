"""The floor of the comparison: a linear classifier on the frozen tower behind a fixed random embedding.

Source: the linear probe of CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.2). CLIP's own patch embedding does
not fit windows of C bands, so the embedding is a random projection of the pixels that stays as it was drawn.
"""

from mamol.core.method import Method, NoOptions, Pass, Towers, method


@method(
    "linear_probe",
    summary="trained head alone, behind a fixed random embedding and the frozen tower: the floor",
    source="Radford et al. 2021, arXiv 2103.00020, section 3.2",
)
class LinearProbe(Method[Pass]):
    """The frozen tower as it is, behind an embedding that is not trained either."""

    trains_embedding = False

    def __init__(self, towers: Towers, options: NoOptions) -> None:
        """Makes the method.

        Args:
            towers: Not used.
            options: Not used; there are none.
        """
        super().__init__()
