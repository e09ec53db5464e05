"""A 3-D U-Net over the stack of all bands: what lies around a pixel, and what several bands say together."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.networks.resolutions import Norm, depth_of

WIDTHS = (8, 16, 32, 64, 128)
"""Channels at each resolution, the window's own first."""
SPECTRAL_KERNEL, SPECTRAL_STRIDE = 7, 4


class VolumeNorm(Norm):
    """As that of ``unet``, over batch, bands, rows and columns."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises.

        Args:
            x: (B, C, D, H, W).

        Returns:
            The same shape.
        """
        return super().forward(x.flatten(2, 3)).unflatten(2, x.shape[2:4])


def convolution(before: int, behind: int, bands: int = 3, stride: int = 1) -> nn.Sequential:
    """A 3-D convolution with norm and ReLU, which keeps rows and columns.

    Args:
        before: Channels that come in.
        behind: Channels that go out.
        bands: Side of the kernel along the bands; 3 along rows and columns.
        stride: Along the bands.
    """
    kernel = nn.Conv3d(before, behind, (bands, 3, 3), (stride, 1, 1), (bands // 2, 1, 1), bias=False)
    return nn.Sequential(kernel, VolumeNorm(behind), nn.ReLU())


class VolumeUNet(nn.Module):
    """From the volume 1 × bands × P × P to a feature of each pixel.

    Attributes:
        encoder: A convolution at each resolution, the window's own first.
        decoder: A convolution on the way back, the coarsest first.
        leave: From all channels and planes of a pixel to its feature.
    """

    def __init__(self, bands: int, side: int, width: int) -> None:
        """Makes it; the weights are torch's.

        Args:
            bands: Of all modalities together.
            side: P.
            width: Of a feature.
        """
        super().__init__()
        widths = WIDTHS[: depth_of(side) + 1]
        finer, coarser = widths[:-1], widths[1:]
        self.encoder = nn.ModuleList([convolution(1, widths[0], SPECTRAL_KERNEL, SPECTRAL_STRIDE)])
        self.encoder.extend(convolution(*pair) for pair in zip(finer, coarser, strict=True))
        self.decoder = nn.ModuleList(
            convolution(low + high, high) for low, high in zip(coarser[::-1], finer[::-1], strict=True)
        )
        self.leave = nn.Linear(widths[0] * -(-bands // SPECTRAL_STRIDE), width)

    def forward(self, stack: Tensor) -> Tensor:
        """From normalised windows to features.

        Args:
            stack: (B, bands, P, P), zero where a modality is absent or did not see the pixel.

        Returns:
            (B, P·P, width), row by row.
        """
        # On a CPU in float32: with bfloat16, torch's gradient of a 3-D kernel over a few pixels reads memory that
        # nothing was written to (2.12; 58 of 60 times with 32 to 64 channels on 2 x 2 x 2).
        with torch.autocast("cpu", enabled=False):
            return self._features(stack[:, None])

    def _features(self, x: Tensor) -> Tensor:
        """From (B, 1, bands, P, P)."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            if level:
                x = functional.max_pool3d(x, (min(2, x.shape[2]), 2, 2))
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            skip = skips.pop()
            x = block(torch.cat([functional.interpolate(x, skip.shape[2:], mode="nearest"), skip], 1))
        feature: Tensor = self.leave(x.flatten(1, 2).flatten(2).transpose(1, 2))
        return feature
