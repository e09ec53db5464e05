"""What a scene's table says about itself, and the columns that follow from it."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pyarrow as pa

from mamol.core.errors import MamolError
from mamol.core.modality import WINDOW, Modality
from mamol.core.names import SPLITS
from mamol.core.options import RATE, choice
from mamol.core.plain import Size, Spread, fitted
from mamol.data.arrowfiles import FORMAT_VERSION, METADATA_KEY, REBUILD, SCENE_VERSION, described, parsed
from mamol.data.extents import SCENES, Extent, Extents
from mamol.data.facts import shown_name
from mamol.data.holes import MIN_VALID
from mamol.data.overlap import Overlap
from mamol.data.tableinfo import Statistics, TableInfo, need_counts

SCENE = "scene"
"""Name of the file with the rasters in layout ``scene``."""
LAYOUTS = ("patches", "scene")
COLOURS = "colours"
AVAILABLE = "available"
"""The column that says which modalities a sample has by nature."""
NATURE = ("min_valid", "natural", "left_out")
"""The fields that version 1 does not have: every sample had every modality."""
DENSE = "dense"
"""The key of what only dense heads need: the windows' margin."""
TASKS_OF_SCENES = CLASSES, SEGMENTATION = ("classes", "segmentation")
"""What the labels of a scene's table can be: the class of a pixel, or those of all pixels of a tile."""
RESERVED = ("content",)
"""Keys that version 2 may have: hashes of contents."""
OPTIONAL = (COLOURS, SCENES, "margin", "task")
"""The fields that a table need not have."""
OPTIONAL_COLUMNS = {"polygon": pa.uint32(), "scene": pa.int32()}
"""Columns that version 2 may have: the number of each sample's polygon, and of its scene."""
TAKEN = ("scene", "polygon", "index", "label", "row", "col", "available", "dense")
"""What no modality can be called, as batches or tables have something else of this name."""


class Dense(TypedDict):
    """What stands under ``DENSE``."""

    margin: int


@dataclass(frozen=True)
class SceneInfo(TableInfo):
    """What a table says about itself: the JSON under the schema's metadata key ``mamol``.

    Attributes:
        format_version: ``SCENE_VERSION``, or 1.
        dataset: Name in the registry, ``scene`` for a custom scene.
        scene: The scene's own name.
        note: What a reader has to know of the data, e.g. that they are synthetic; may be empty.
        modalities: Modality -> bands, in table order.
        classes: Class names in label order.
        patch_size: Side of the windows.
        layout: ``patches`` or ``scene``.
        protocol: How the split was drawn.
        seed: Seed of the draw.
        split: ``train``, ``val``, ``test``, or ``scene`` for the rasters.
        counts: Split -> class -> samples.
        shortfall: Split -> class -> pixels that were asked for and not there.
        mean: Modality -> mean per band of the training pixels.
        std: Modality -> standard deviation per band of the training pixels, 1 for a constant band.
        sources: Raw file -> sha256.
        overlap: Measured overlap of test with train (the fields of ``overlap.Overlap``).
        scene_shape: Height and width of the grid that row and col refer to; of several scenes, their pixels and 1.
        output: sha256 that all files written together share.
        min_valid: Share of a sample's window that a sensor must have seen.
        natural: Split -> pattern -> samples that have it by nature; empty where every sample has every modality.
        left_out: Labelled pixels that no sensor saw.
        colours: ``#rrggbb`` of the classes on maps, in label order; empty where nobody chose any.
        scenes: Names, sizes and notes of several scenes, in the order of their numbers; empty where there is one.
        margin: Pixels that windows can be shifted; as many more are stored on each side in layout ``patches``.
        task: What the labels are, one of ``TASKS_OF_SCENES``.
    """

    format_version: int
    dataset: str
    scene: str
    note: str
    modalities: dict[str, Size]
    classes: tuple[str, ...]
    patch_size: Size
    layout: Annotated[str, choice(*LAYOUTS)]
    protocol: str
    seed: int
    split: Annotated[str, choice(*SPLITS, SCENE)]
    counts: dict[str, dict[str, int]]
    shortfall: dict[str, dict[str, int]]
    mean: dict[str, list[float]]
    std: dict[str, list[Spread]]
    sources: dict[str, str]
    overlap: Annotated[dict[str, Any], Overlap]
    scene_shape: tuple[Size, Size]
    output: str
    min_valid: Annotated[float, RATE] = MIN_VALID
    natural: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: int = 0
    colours: tuple[str, ...] = ()
    scenes: tuple[Extent, ...] = ()
    margin: int = 0
    task: Annotated[str, choice(*TASKS_OF_SCENES)] = CLASSES

    def __post_init__(self) -> None:
        """Refuses statistics of other bands than there are, and counts of other classes."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            found = {modality: len(each) for modality, each in numbers.items()}
            if found != self.modalities:
                raise ValueError(f"{name} has numbers for {found}, expected one per band of {self.modalities}")
        need_counts(self.counts, self.classes)
        windows = [self.overlap.get(f"{name}_window_percent", 0.0) is None for name in ("shared", "same_class")]
        if windows[0] != windows[1]:
            raise ValueError("overlap has only one of shared_window_percent and same_class_window_percent")

    @property
    def tiled(self) -> bool:
        """Whether samples are tiles, all of whose pixels are their own."""
        return self.task == SEGMENTATION

    @property
    def extents(self) -> Extents:
        """The sizes of the scenes that row and col, and a scene's number, refer to."""
        return Extents(self.scenes) if self.scenes else Extents.of_one(*self.scene_shape)

    @property
    def placed(self) -> bool:
        """Whether row and col are places in a scene; samples of a pre-cut release have none."""
        return self.overlap.get("shared_window_percent", 0.0) is not None

    @property
    def stored_size(self) -> int:
        """Side of the windows in layout ``patches``, in pixels."""
        return self.patch_size + 2 * self.margin

    @property
    def reach(self) -> int:
        """Pixels by which windows can be shifted.

        Layout ``scene`` has all pixels; but protocol ``blocks`` promises that no pixel is seen from two splits, for
        which the blocks have to know of the margin; and tiles of two splits share no pixel unless somebody asks for it.
        """
        free = self.layout == "scene" and self.protocol != "blocks" and not self.tiled
        return self.patch_size // 2 if free else self.margin

    @property
    def inputs(self) -> tuple[Modality, ...]:
        """Windows of so many bands."""
        return tuple(Modality(name, WINDOW, bands) for name, bands in self.modalities.items())

    @property
    def shown(self) -> str:
        """The scene's own name."""
        return shown_name(self.dataset, self.scene)

    @property
    def window(self) -> int:
        """Side of the windows."""
        return self.patch_size

    @property
    def normalisation(self) -> tuple[Statistics, Statistics]:
        """``mean`` and ``std``."""
        return self.mean, self.std

    def identity(self) -> dict[str, Any]:
        """As the split was drawn; where sensors miss pixels by nature, also what makes one miss."""
        drawn = {"dataset": self.dataset, "protocol": self.protocol, "seed": self.seed}
        return {**drawn, "min_valid": self.min_valid} if self.natural else drawn

    def about(self) -> dict[str, Any]:
        """As the table was written."""
        about = {"layout": self.layout, "overlap": self.overlap, "counts": self.counts}
        return {**about, "natural": self.natural, "left_out": self.left_out} if self.natural else about

    def plain(self) -> dict[str, Any]:
        """Its fields by name, but for the colours, which change no result, and for what it does not have."""
        hidden = (*OPTIONAL,) if self.format_version == SCENE_VERSION else (*OPTIONAL, *NATURE)
        scenes = {SCENES: [each.plain() for each in self.scenes]} if self.scenes else {}
        dense = {DENSE: {"margin": self.margin}} if self.margin else {}
        task = {"task": self.task} if self.tiled else {}
        return {name: value for name, value in asdict(self).items() if name not in hidden} | scenes | dense | task

    def to_json(self) -> str:
        """The JSON text; modalities are in a list, because their order counts."""
        colours = {COLOURS: self.colours} if self.colours else {}
        return json.dumps(self.plain() | {"modalities": list(self.modalities.items())} | colours, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, path: Path) -> "SceneInfo":
        """The information in a table.

        Args:
            text: What ``to_json`` gave.
            path: The table's file, for messages.

        Raises:
            MamolError: If it is of another version of the format or not complete.
        """
        optional = (COLOURS, SCENES, DENSE, "task", *NATURE)
        needed = [each.name for each in fields(cls) if each.name not in (*OPTIONAL, *NATURE)]
        content = parsed(text, path, needed, (*optional, *RESERVED), (FORMAT_VERSION, SCENE_VERSION))
        if content["format_version"] == SCENE_VERSION and (lacking := set(NATURE) - set(content)):
            raise MamolError(f"{path}: its metadata lacks or adds {', '.join(sorted(lacking))}; {REBUILD}")
        content = {key: value for key, value in content.items() if key not in RESERVED}
        try:
            dense = fitted(content.pop(DENSE, None), Dense | None, DENSE)
            scenes = tuple(Extent.of_plain(each) for each in fitted(content.pop(SCENES, []), list[Any], SCENES))
        except ValueError as error:
            raise MamolError(f"{path}: its scenes or its margin are damaged ({error}); {REBUILD}") from error
        return replace(described(content, cls, path), scenes=scenes, margin=dense["margin"] if dense else 0)


def tensor_type(shape: tuple[int, ...]) -> pa.DataType:
    """The Arrow type of a column of float32 arrays of one shape.

    Args:
        shape: Of the array in one cell.
    """
    return pa.fixed_shape_tensor(pa.float32(), shape)


def schema_of(info: SceneInfo, optional: Collection[str] = ()) -> pa.Schema:
    """The schema of a file, with the metadata.

    Args:
        info: What the file says about itself.
        optional: Which of ``OPTIONAL_COLUMNS`` it has beside those that the information asks for.
    """
    optional = {*optional, "scene"} if info.scenes else optional
    shapes: dict[str, tuple[int, ...]] = {}
    if info.split == SCENE:
        shapes = {name: (info.scene_shape[1], bands) for name, bands in info.modalities.items()}
    elif info.layout == "patches":
        shapes = {name: (bands, info.stored_size, info.stored_size) for name, bands in info.modalities.items()}
    columns = [(name, tensor_type(shape)) for name, shape in shapes.items()]
    if info.split != SCENE:
        size = info.patch_size
        label = pa.fixed_shape_tensor(pa.int16(), (size, size)) if info.tiled else pa.int64()
        columns += [("label", label), ("row", pa.int32()), ("col", pa.int32())]
        if info.format_version == SCENE_VERSION:
            columns += [(AVAILABLE, pa.list_(pa.bool_(), len(info.modalities)))]
            columns += [(name, kind) for name, kind in OPTIONAL_COLUMNS.items() if name in optional]
    return pa.schema(columns, metadata={METADATA_KEY: info.to_json().encode()})
