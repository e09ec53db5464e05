"""What a network of its own is fed with: the normalised windows of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from mamol.core.method import Batch
from mamol.core.modality import Modality
from mamol.core.network import AnyNetwork
from mamol.core.spec import NetworkSpec
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
        return [
            normalised(windows, self.get_buffer(f"mean_{number}"), self.get_buffer(f"std_{number}"))
            for number, windows in enumerate(self._present(batch))
        ]

    def seen(self, batch: Batch) -> Tensor:
        """Which pixels the sensors saw.

        Args:
            batch: As of ``AnyNetwork.forward``.

        Returns:
            (B, M, P, P) bool, False where the modality is absent.
        """
        return torch.stack([~windows.isnan().any(1) for windows in self._present(batch)], 1)

    def _present(self, batch: Batch) -> Iterator[Tensor]:
        """The windows of each modality, NaN where it is absent: it saw no pixel there."""
        for number, name in enumerate(self.names):
            yield batch[name].where(batch["available"][:, number, None, None, None], torch.nan)


class WindowNetwork(AnyNetwork):
    """A network of its own, trained whole on normalised windows; a subclass is its layers and ``forward``.

    Attributes:
        windows: Normalises and fills.
    """

    def __init__(self, spec: NetworkSpec, seed: int = 0) -> None:
        """Begins with what all have; a subclass adds its layers.

        Args:
            spec: Modalities, classes, side of the windows.
            seed: Of the initial weights.
        """
        super().__init__()
        self.spec = spec
        self.windows = Windows(spec.modalities)

    @classmethod
    def build(cls, spec: NetworkSpec, clip_weights: str, seed: int = 0) -> Self:
        """Makes it; there are no frozen weights."""
        return cls(spec, seed)

    def normalise(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        """Sets the statistics of the training pixels."""
        self.windows.normalise(mean, std)

    def trainable_parts(self) -> dict[str, nn.Module]:
        """All of it."""
        return cast(dict[str, nn.Module], dict(self.named_children()))
