"""From settings to the description of a network."""

from collections.abc import Mapping, Sequence

from mamol.methods import METHODS
from mamol.models.network import NetworkSpec
from mamol.settings import Settings


def network_spec(settings: Settings, bands: Mapping[str, int], classes: Sequence[str], patch_size: int) -> NetworkSpec:
    """What the settings make of a table.

    Args:
        settings: Backbone, method and its options.
        bands: Modality to bands, in the order of the features.
        classes: Class names.
        patch_size: Window side.

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
    )
