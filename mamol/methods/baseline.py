"""The frozen tower as it is: what the ablations of Table 5 begin from."""

from mamol.core.method import Method, NoOptions, Pass, Towers, method


@method(
    "baseline",
    summary="trained embedding and head, frozen tower, no experts",
    source="arXiv 2511.11460, Table 5",
)
class Baseline(Method[Pass]):
    """No experts, no prompts."""

    def __init__(self, towers: Towers, options: NoOptions) -> None:
        """Makes the method.

        Args:
            towers: Not used.
            options: Not used; there are none.
        """
        super().__init__()
