"""What samplers share that draw anew in each epoch."""

from typing import TypeVar

from torch.utils.data import Sampler

Drawn = TypeVar("Drawn", covariant=True)


class EpochSampler(Sampler[Drawn]):
    """Knows the epoch.

    Attributes:
        epoch: From 0; what is drawn is a function of it and of a seed.
    """

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch to draw for; Lightning calls this before every epoch.

        Args:
            epoch: From 0.
        """
        self.epoch = epoch
