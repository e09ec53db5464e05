"""From what a modality brings to the tokens of a tower, by kind of input: windows, images, texts."""

from mamol.embeddings import image, text, window

__all__ = ["image", "text", "window"]
