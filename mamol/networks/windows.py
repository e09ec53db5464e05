"""What a network of its own is fed with: the normalised windows of a batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mamol.core.method import Batch
from mamol.core.modality import Modality
from mamol.core.windows import normalised


class Windows(nn.Module):
    """The statistics of each modality, which are stored with the weights.

    Attributes:
        names: Of the modalities, in the order of ``available``.
    """

    def __init__(self, modalities: Sequence[Modality]) -> None:
        """Begins with mean 0 and standard deviation 1.

        Args:
            modalities: Windows, each with so many bands.
        """
        super().__init__()
        self.names = tuple(modality.name for modality in modalities)
        for number, modality in enumerate(modalities):
            self.register_buffer(f"mean_{number}", torch.zeros(modality.size, 1, 1))
            self.register_buffer(f"std_{number}", torch.ones(modality.size, 1, 1))

    def normalise(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        """Sets the statistics of the training pixels.

        Args:
            mean: Modality to one number per band.
            std: Modality to one number per band.
        """
        for number, name in enumerate(self.names):
            for kind, values in (("mean", mean), ("std", std)):
                self.get_buffer(f"{kind}_{number}").copy_(torch.as_tensor(values[name])[:, None, None])

    def forward(self, batch: Batch) -> list[Tensor]:
        """The normalised windows of each modality.

        Args:
            batch: As of ``AnyNetwork.forward``.

        Returns:
            (B, C, P, P) each, zero where the modality is absent and at pixels that its sensor did not see.
        """
        found = []
        for number, name in enumerate(self.names):
            there = batch["available"][:, number, None, None, None]
            windows = batch[name].where(there, torch.nan)  # an absent modality saw no pixel
            mean, std = (self.get_buffer(f"{kind}_{number}") for kind in ("mean", "std"))
            found.append(normalised(windows, mean, std))
        return found
