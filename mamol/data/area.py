"""The scenes of a table as one: what building and writing tables ask of them. A single scene is the case of one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from mamol.core.errors import MamolError
from mamol.data import holes
from mamol.data.extents import Extent, Extents, joined
from mamol.data.labels import LabelMaps
from mamol.data.patches import ChunkedRows, Cutter, WindowCutter
from mamol.data.scenes import Scene

NEEDS = {"official": ("train", "training and test label maps"), "polygons": ("polygons", "polygons as labels")}
"""Protocol -> the maps that it needs, and how messages call them."""


@dataclass(frozen=True)
class Area:
    """The scenes of a table: the same modalities and classes in each, on grids of their own.

    The pixels of all scenes are counted through: one scene after the other, row by row.

    Attributes:
        name: What titles and reports call it.
        scenes: They, with labels; the classes of each are those of all.
        note: What a reader has to know of the data; may be empty.
        colours: ``#rrggbb`` of the classes, in label order; empty where nobody chose any.
        splits: The split that is named for each scene; empty: none.
    """

    name: str
    scenes: tuple[Scene, ...]
    note: str
    colours: tuple[str, ...]
    splits: tuple[str, ...]

    @classmethod
    def of_one(cls, scene: Scene) -> "Area":
        """A scene by itself.

        Args:
            scene: It, with labels.
        """
        colours = colours_of(scene.classes, scene.colours)
        return cls(scene.name, (scene,), scene.facts.note, colours, (scene.facts.split,))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes 1 … K."""
        return self.scenes[0].classes

    @property
    def channels(self) -> dict[str, int]:
        """Modality -> number of bands."""
        return self.scenes[0].channels

    @property
    def window_size(self) -> int | None:
        """Side of the windows of a pre-cut release, which is a scene by itself; None for whole scenes."""
        return self.scenes[0].window_size

    @cached_property
    def extents(self) -> Extents:
        """How large the scenes are."""
        return Extents(
            tuple(
                Extent(scene.name, scene.height, scene.width, scene.facts.note, split)
                for scene, split in zip(self.scenes, self.splits, strict=True)
            )
        )

    @property
    def sources(self) -> dict[str, str]:
        """Raw file -> sha256; of several scenes, with the scene's name in front."""
        if not self.extents.several:
            return self.scenes[0].sources
        return {f"{scene.name}/{file}": sha256 for scene in self.scenes for file, sha256 in scene.sources.items()}

    def maps(self, protocol: str) -> LabelMaps:
        """The labels of all pixels, (N,) each; maps that not every scene has are None.

        Args:
            protocol: By which a split is to be drawn from them.

        Raises:
            MamolError: If some scenes have the maps that it needs, and others do not.
        """
        maps = [scene.maps for scene in self.scenes if scene.maps is not None]
        self._check_maps(maps, protocol)
        every = LabelMaps(joined([own.every for own in maps]))
        others = {each.name: [getattr(own, each.name) for own in maps] for each in fields(LabelMaps)}
        in_all = {name: own for name, own in others.items() if all(each is not None for each in own)}
        return replace(every, **{name: joined(own) for name, own in in_all.items() if name != "every"})

    def _check_maps(self, maps: Sequence[LabelMaps], protocol: str) -> None:
        needed = [NEEDS[protocol]] if protocol in NEEDS else []
        needed += [("assigned", '"split" column in labels')] if protocol == "polygons" else []
        for name, what in needed:
            without = [scene.name for scene, own in zip(self.scenes, maps, strict=True) if getattr(own, name) is None]
            if 0 < len(without) < len(maps):
                raise MamolError(
                    f"protocol {protocol}: {', '.join(without)}: no {what}, and other scenes have them; describe all "
                    "scenes in the same way, or use another protocol"
                )

    def natural(self, size: int, min_valid: float, *, middle: bool = True) -> tuple[holes.Valid, ...] | None:
        """Which modalities the pixels have by nature.

        Args:
            size: Side P of the windows.
            min_valid: Share of a window that has to be valid.
            middle: Whether its middle pixel has to be valid, too.

        Returns:
            (N,) of each modality, in order; None if nothing is invalid anywhere.
        """
        found = [holes.natural(scene.rasters, size, min_valid, middle=middle) for scene in self.scenes]
        if all(each is None for each in found):
            return None
        of_scenes = [
            np.ones((len(self.channels), scene.height, scene.width), bool) if there is None else there
            for scene, there in zip(self.scenes, found, strict=True)
        ]
        return tuple(joined(of_modality) for of_modality in zip(*of_scenes, strict=True))

    def cutter(self, modality: str, size: int) -> Cutter:
        """What cuts the windows of a modality, each out of its own scene.

        Args:
            modality: Its name.
            size: Side P of the windows, in pixels; not looked at for a pre-cut release, whose windows are cut already.
        """
        if not self.extents.several:
            return self.scenes[0].cutter(modality, size)
        rasters = [scene.rasters[modality] for scene in self.scenes]
        pixels = ChunkedRows([raster.reshape(-1, raster.shape[2]) for raster in rasters])
        return WindowCutter.of_pixels(pixels, self.extents, size)


def colours_of(classes: Sequence[str], known: dict[str, str]) -> tuple[str, ...]:
    """The colours of classes, in label order; none unless all are known.

    Args:
        classes: Their names.
        known: Class name -> ``#rrggbb``.
    """
    return tuple(known[name] for name in classes) if set(classes) <= set(known) else ()
