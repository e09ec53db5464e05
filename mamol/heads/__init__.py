"""What makes logits of features."""

from mamol.heads import class_token, pixels

__all__ = ["class_token", "pixels"]
