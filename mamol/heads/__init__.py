"""What makes logits of features."""

from mamol.heads import class_token

__all__ = ["class_token"]
