"""What a modality is to a network: a name, a kind of input, a size."""

from dataclasses import dataclass

WINDOW, IMAGE, TEXT = "window", "image", "text"
"""Kinds of input that the program brings embeddings for."""


@dataclass(frozen=True)
class Modality:
    """One modality.

    Attributes:
        name: ``hsi``, ``lidar``, ``image`` …
        kind: ``window`` (pixels around a pixel), ``image``, ``text``, or another key of ``EMBEDDINGS``.
        size: Bands of a window, channels of an image, tokens of a text.
    """

    name: str
    kind: str
    size: int
