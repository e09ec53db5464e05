"""From settings and tables to networks: the one place that says how."""

from collections.abc import Sequence

from mamol.core.backbone import Backbone, BackboneRequest, family_of
from mamol.core.groups import DataSettings, MethodSettings, NetworkSettings
from mamol.core.modality import Modality
from mamol.core.streams import TEXT, VISUAL
from mamol.data.tableinfo import TableInfo
from mamol.network.network import Network
from mamol.network.spec import NetworkSpec


def spec_of(
    inputs: Sequence[Modality],
    classes: Sequence[str],
    window: int | None,
    network: NetworkSettings,
    method: MethodSettings,
    image_size: int | None = None,
) -> NetworkSpec:
    """What settings make of samples.

    Args:
        inputs: The modalities, in the order of the features.
        classes: Class names.
        window: Side of the windows; None of images, for which the backbone says how many tokens they are.
        network: Backbone, fusion and head.
        method: The method and its options.
        image_size: Side of images that the user asks for, in pixels; None is the backbone's own.

    Returns:
        Everything that is needed to build the trainable part.

    Raises:
        MamolError: Unknown backbone or method, or an image size that does not fit the backbone.
    """
    grid = window
    if grid is None:
        grid = family_of(network.backbone, network.clip_weights).image_grid(network.backbone, image_size)
    return NetworkSpec(
        backbone=network.backbone,
        method=method.method,
        modalities=tuple(inputs),
        classes=tuple(classes),
        grid=grid,
        method_options=method.chosen(),
        activation=network.activation,
        fusion=network.fusion,
        head=network.head,
    )


def chosen_inputs(info: TableInfo, modalities: Sequence[str]) -> list[Modality]:
    """Some modalities of a table.

    Args:
        info: What the table says.
        modalities: Names, in the order wanted.
    """
    by_name = {modality.name: modality for modality in info.inputs}
    return [by_name[name] for name in modalities]


def towers_of(spec: NetworkSpec, clip_weights: str) -> dict[str, Backbone]:
    """The frozen towers that a network needs.

    Args:
        spec: The network.
        clip_weights: ``openai``, a path, or ``random``.

    Raises:
        MamolError: Unknown backbone, or weights that cannot be had.
    """
    family = family_of(spec.backbone, clip_weights)
    request = BackboneRequest(spec.backbone, clip_weights, spec.activation)
    towers = {VISUAL: family.visual(request, spec.grid)}
    return {**towers, TEXT: family.text(request)} if TEXT in spec.members else towers


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
    return Network(spec, towers_of(spec, clip_weights), seed)


def network_for(
    info: TableInfo,
    modalities: Sequence[str],
    data: DataSettings,
    network: NetworkSettings,
    method: MethodSettings,
    seed: int,
) -> Network:
    """The network of settings for the modalities and classes of a table, normalisation set.

    Args:
        info: What the table says about itself.
        modalities: Those to use, in this order.
        data: Whether to normalise, and how large images are.
        network: Backbone, fusion and head.
        method: The method and its options.
        seed: Of the initial weights.

    Raises:
        MamolError: As ``spec_of`` and ``assemble``.
    """
    inputs = chosen_inputs(info, modalities)
    spec = spec_of(inputs, info.classes, info.window, network, method, data.image_size)
    built = assemble(spec, network.clip_weights, seed)
    if data.normalise and info.normalisation is not None:
        built.normalise(*info.normalisation)
    return built
