"""Networks of their own: without frozen towers, trained whole."""

from mamol.networks import dis2, perceiver, unet

__all__ = ["dis2", "perceiver", "unet"]
