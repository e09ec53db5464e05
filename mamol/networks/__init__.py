"""Networks of their own: without frozen towers, trained whole."""

from mamol.networks import perceiver, unet

__all__ = ["perceiver", "unet"]
