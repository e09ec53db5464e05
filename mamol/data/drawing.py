"""What a draw of samples gives to whoever writes tables, and the draw of pixels."""

from typing import NamedTuple

from mamol.data import holes, splits
from mamol.data.area import Area
from mamol.data.overlap import Overlap, measure
from mamol.data.splits import PerClass, Split


class Drawn(NamedTuple):
    """The samples of a table.

    Attributes:
        split: Which they are.
        there: (N,) of each modality: where a sample in whose middle a pixel stands has it; None: everywhere.
        left_out: Labelled pixels that no sensor saw.
        overlap: Of test with train.
    """

    split: Split
    there: tuple[holes.Valid, ...] | None
    left_out: int
    overlap: Overlap


def draw_pixels(
    area: Area, protocol: str, per_class: PerClass, *, seed: int, patch_size: int, margin: int, min_valid: float
) -> Drawn:
    """Samples that are pixels with a window around each.

    Args:
        area: The scenes.
        protocol: One of ``PROTOCOLS``.
        per_class: As of ``splits.draw``.
        seed: Of the draw.
        patch_size: Side of the windows.
        margin: Pixels by which windows can be shifted.
        min_valid: Share of a window that has to be valid.

    Raises:
        MamolError: As of ``splits.draw``, or no sensor saw any labelled pixel.
    """
    maps, there = area.maps(protocol), area.natural(patch_size, min_valid)
    maps, left_out = (maps, 0) if there is None else holes.without_unseen(maps, there)
    split = splits.draw(
        protocol,
        maps,
        per_class,
        seed=seed,
        patch_size=patch_size + margin,
        classes=area.classes,
        extents=area.extents,
    )
    placed = area.window_size is None
    overlap = measure(split.pixels["train"], split.pixels["test"], patch_size, positions_known=placed)
    return Drawn(split, there, left_out, overlap)
