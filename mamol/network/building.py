"""From settings and tables to networks: the one place that says how."""

from collections.abc import Sequence
from dataclasses import fields

from mamol.core.backbone import family_of
from mamol.core.errors import MamolError
from mamol.core.groups import DataSettings, MethodSettings, NetworkSettings
from mamol.core.modality import WINDOW, Modality
from mamol.core.network import NETWORKS, PARTS, AnyNetwork
from mamol.core.spec import NetworkSpec
from mamol.core.task import TASKS
from mamol.data.tableinfo import TableInfo


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
        network: Which network; backbone, fusion and head.
        method: The method and its options.
        image_size: Side of images that the user asks for, in pixels; None is the backbone's own.

    Returns:
        Everything that is needed to build the trainable part.

    Raises:
        MamolError: Unknown network, backbone or method, an image size that does not fit the backbone, or samples
            without windows where the network needs them.
    """
    kind = NETWORKS.find(network.network)
    reads = kind.reads
    others = [modality.name for modality in inputs if modality.kind != WINDOW]
    if others and "backbone" not in reads:
        raise MamolError(
            f"network={network.network} takes windows of scenes, and {', '.join(others)} is none; use network=clip"
        )
    grid = window
    if grid is None:
        grid = family_of(network.backbone, network.clip_weights).image_grid(network.backbone, image_size)
    chosen = {f.name: getattr(network, f.name) for f in fields(network)} | {"method": method.method}
    return NetworkSpec(
        **{name: chosen[name] if name in reads else "" for name in PARTS},
        modalities=tuple(inputs),
        classes=tuple(classes),
        grid=grid,
        method_options=method.chosen() if "method" in reads else {},
        network=network.network,
        options={name: chosen[name] for name in kind.options},
    )


def chosen_inputs(info: TableInfo, modalities: Sequence[str]) -> list[Modality]:
    """Some modalities of a table.

    Args:
        info: What the table says.
        modalities: Names, in the order wanted.
    """
    by_name = {modality.name: modality for modality in info.inputs}
    return [by_name[name] for name in modalities]


def assemble(spec: NetworkSpec, clip_weights: str, seed: int = 0) -> AnyNetwork:
    """The network of a description, around the frozen towers that it needs, if any.

    Args:
        spec: What to build.
        clip_weights: ``openai``, a path, or ``random``.
        seed: Of the initial weights.

    Returns:
        The network, not normalised.

    Raises:
        MamolError: Unknown network or backbone, weights that cannot be had, or options that do not fit each other.
    """
    return NETWORKS.find(spec.network).build(spec, clip_weights, seed)


def check_answers(network: AnyNetwork, info: TableInfo) -> None:
    """Refuses a network that says less of a sample than the labels of a table do.

    Args:
        network: It.
        info: What the table says about itself.

    Raises:
        MamolError: All pixels of the table's tiles are labelled, and the network classifies one of them.
    """
    if TASKS.find(info.task).pixels and not network.dense:
        raise MamolError(
            f"head={network.spec.head}: classifies the pixel in the middle of a window, and the table is of tiles with "
            "a label for every pixel; use head=pixels, or network=unet"
        )


def network_for(
    info: TableInfo,
    modalities: Sequence[str],
    data: DataSettings,
    network: NetworkSettings,
    method: MethodSettings,
    seed: int,
) -> AnyNetwork:
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
    check_answers(built, info)
    if data.normalise and info.normalisation is not None:
        built.normalise(*info.normalisation)
    return built
