"""Networks of their own: without frozen towers, trained whole."""

from mamol.networks import unet

__all__ = ["unet"]
