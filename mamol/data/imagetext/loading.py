"""Image-text tables become batches for CLIP's two towers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mamol.core.errors import MamolError
from mamol.data.imagetext.images import decode
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.imagetext.tokens import tokens_of
from mamol.data.missing import Mask


class ImageTextDataset(Dataset[dict[str, Tensor]]):
    """A table whose items are whole batches; what is absent is neither decoded nor read."""

    def __init__(
        self, table: ImageTextTable, modalities: Sequence[str], image_size: int, *, complete: bool = False
    ) -> None:
        """Serves batches.

        Args:
            table: The split.
            modalities: Names in the table; their order is that of ``available``.
            image_size: Side of the images in pixels.
            complete: Whether what is absent is read, too, for methods that make a complete pass.
        """
        from open_clip import image_transform  # takes seconds, and tables of scenes do without

        self.table = table
        self.modalities = tuple(modalities)
        self.image_size = image_size
        self.complete = complete
        self._transform = image_transform(image_size, is_train=False, resize_mode="shortest", interpolation="bicubic")

    def __len__(self) -> int:
        """How many samples the table has."""
        return len(self.table)

    def __getitem__(self, drawn: tuple[NDArray[np.int64], Mask]) -> dict[str, Tensor]:
        """A batch.

        Args:
            drawn: Sample numbers (B,) and which modalities each has (B, M) bool.

        Returns:
            ``image`` (B, 3, S, S) float32, normalised as CLIP's, zeros where absent; ``text`` (B, 77) int64, only start
            and end token where absent; ``available`` (B, M) bool; ``label`` (B,) int64 or (B, K) float32; ``index``
            (B,) int64.

        Raises:
            MamolError: If an image cannot be decoded.
        """
        index, available, *_ = drawn
        read = {"image": self._images, "text": self._texts}
        wanted = available | self.complete
        batch = {name: read[name](index, wanted[:, i]) for i, name in enumerate(self.modalities)}
        label = torch.from_numpy(self.table.label[index])
        return batch | {
            "available": torch.from_numpy(available),
            "label": label.float() if label.ndim == 2 else label,
            "index": torch.from_numpy(index),
        }

    def _images(self, index: NDArray[np.int64], present: NDArray[np.bool_]) -> Tensor:
        images = torch.zeros(len(index), 3, self.image_size, self.image_size)
        for row in np.flatnonzero(present):
            images[row] = self._image(index[row])
        return images

    def _image(self, sample: int) -> Tensor:
        try:
            picture = decode(self.table.image(sample))
        except ValueError as error:
            raise MamolError(
                f"{self.table.path}: the image of {self.table.name(sample)} cannot be decoded ({error}); "
                "build the table again with make_arrow.py, which checks every image"
            ) from error
        return self._transform(picture)

    def _texts(self, index: NDArray[np.int64], present: NDArray[np.bool_]) -> Tensor:
        texts = (self.table.text(sample) if there else "" for sample, there in zip(index, present, strict=True))
        return tokens_of(list(texts))
