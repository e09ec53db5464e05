"""A U-Net over the bands of all modalities side by side: what one would take without a thought of missing sensors.

Written of torch's own parts: the U-Net of segmentation_models_pytorch refuses windows whose side is no multiple of
2^depth, such as the paper's 14.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.errors import MamolError
from mamol.core.method import Batch
from mamol.core.network import NETWORKS
from mamol.core.spec import NetworkSpec
from mamol.networks.resolutions import Norm, depth_of
from mamol.networks.windows import WindowNetwork

WIDTHS = (32, 64, 128, 256, 512)
"""Channels at each resolution, the window's own first."""
LEAST = 2  # side of a window


def convolutions(before: int, behind: int) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with norm and ReLU.

    Args:
        before: Channels that come in.
        behind: Channels that go out.
    """
    parts: list[nn.Module] = []
    for channels in (before, behind):
        parts += [nn.Conv2d(channels, behind, 3, padding=1, bias=False), Norm(behind), nn.ReLU()]
    return nn.Sequential(*parts)


@NETWORKS.register("unet")
class UNet(WindowNetwork):
    """Early fusion, zero filling, encoder and decoder with skips, logits for every pixel.

    Attributes:
        windows: Normalises and fills.
        encoder: Convolutions at each resolution, the window's own first.
        decoder: Convolutions on the way back, the coarsest first.
        head: From the channels of a pixel to its logits.
    """

    def __init__(self, spec: NetworkSpec, seed: int = 0) -> None:
        """Makes it.

        Args:
            spec: Modalities, classes, side of the windows.
            seed: Of the initial weights.

        Raises:
            MamolError: The windows are single pixels.
        """
        super().__init__(spec)
        if spec.grid < LEAST:
            raise MamolError(
                f"network=unet: the windows are {spec.grid} × {spec.grid}; build tables with --patch-size {LEAST} or "
                "more"
            )
        widths = WIDTHS[: depth_of(spec.grid) + 1]
        finer, coarser = widths[:-1], widths[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            entering = (sum(spec.sizes.values()), *finer)
            self.encoder = nn.ModuleList(convolutions(*pair) for pair in zip(entering, widths, strict=True))
            self.decoder = nn.ModuleList(
                convolutions(low + high, high) for low, high in zip(coarser[::-1], finer[::-1], strict=True)
            )
            self.head = nn.Conv2d(widths[0], len(spec.classes), 1)

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        """From windows to the logits of their pixels.

        Args:
            batch: As of ``AnyNetwork.forward``.

        Returns:
            (B, P, P, K), and no auxiliary loss.
        """
        x = torch.cat(self.windows(batch), 1)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for block in self.decoder:
            skip = skips.pop()
            x = block(torch.cat([functional.interpolate(x, skip.shape[2:], mode="nearest"), skip], 1))
        return self.head(x).movedim(1, 3), None
