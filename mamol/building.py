"""From settings to the description of a network."""

from collections.abc import Mapping, Sequence

from mamol.data.tableinfo import TableInfo
from mamol.data.tables import AnyInfo
from mamol.methods import METHODS
from mamol.models.architectures import clip_spec, image_size_of
from mamol.models.clip import visual_tower
from mamol.models.network import Network, NetworkSpec
from mamol.models.text import text_tower
from mamol.models.tower import TEXT
from mamol.settings import Settings


def network_spec(
    settings: Settings,
    bands: Mapping[str, int],
    classes: Sequence[str],
    patch_size: int,
    inputs: Mapping[str, str] | None = None,
) -> NetworkSpec:
    """What the settings make of a table.

    Args:
        settings: Backbone, method and its options.
        bands: Modality to bands, in the order of the features.
        classes: Class names.
        patch_size: Window side; of images, patches per side.
        inputs: Modality to ``image`` or ``text``, where it is no window.

    Returns:
        Everything that is needed to build the trainable part.
    """
    return NetworkSpec(
        backbone=settings.backbone,
        method=settings.method,
        modalities=dict(bands),
        classes=list(classes),
        patch_size=patch_size,
        method_options={name: getattr(settings, name) for name in METHODS[settings.method].options},
        activation=settings.activation,
        fusion=settings.fusion,
        inputs={name: kind for name, kind in (inputs or {}).items() if name in bands},
    )


def grid_of(settings: Settings, info: AnyInfo) -> int:
    """Tokens per side of the visual tower: the window, or the patches of an image.

    Raises:
        MamolError: Unknown backbone, or an ``image_size`` that is no multiple of its patch.
    """
    return info.patch_size if isinstance(info, TableInfo) else image_grid(settings)


def image_grid(settings: Settings) -> int:
    """Patches per side of an image.

    Raises:
        MamolError: Unknown backbone, or an ``image_size`` that is no multiple of its patch.
    """
    return image_size_of(settings.backbone, settings.image_size) // clip_spec(settings.backbone).visual.patch_size


def assemble(spec: NetworkSpec, clip_weights: str, seed: int = 0) -> Network:
    """The network of a description, around the frozen towers that it needs.

    Args:
        spec: What to build.
        clip_weights: ``openai``, a path, or ``random``.
        seed: Of the initial weights.

    Returns:
        The network, not normalised.

    Raises:
        MamolError: Unknown backbone, weights that cannot be had, or options that do not fit the towers.
    """
    tower = visual_tower(spec.backbone, clip_weights, spec.patch_size, activation=spec.activation)
    text = text_tower(spec.backbone, clip_weights, activation=spec.activation) if TEXT in spec.members else None
    return Network(spec, tower, seed, text=text)
