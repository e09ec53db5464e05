"""What of a scene fits a checkpoint: which sensors, which bands, and what its map is called."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from mamol.core.calibration import AS_IS
from mamol.core.errors import MamolError
from mamol.core.names import canonical
from mamol.core.network import AnyNetwork
from mamol.data.facts import shown_name
from mamol.data.scenejson import read_scene_json
from mamol.data.scenes import Scene, load_scene
from mamol.evaluation.blocks import MIN_VALID
from mamol.evaluation.marking import marked
from mamol.training.checkpoints import CheckpointInfo


def scene_at(
    scene: Path, root: str, info: CheckpointInfo, modalities: Sequence[str], inside: Path | None = None
) -> Scene:
    """The scene to map.

    Args:
        scene: Raw folder, or its scene.json.
        root: Folder of the files that the scene.json names; "": where it lies.
        info: Of the checkpoint.
        modalities: Those to read.
        inside: Folder of the area that it is of, which relative names of files must not leave; None: its own.

    Raises:
        MamolError: It cannot be read.
    """
    if not root:
        return load_scene(info.dataset, scene, modalities=modalities, need_labels=False, whole=False, inside=inside)
    if not scene.is_file():
        raise MamolError(f"root={root}: goes with scene=<scene.json>, and scene={scene} is no file")
    return load_scene("scene", Path(root), scene_file=scene, modalities=modalities, need_labels=False, whole=False)


def check_modalities(scene: Path, needed: Sequence[str]) -> None:
    """Refuses a scene of an area without a sensor that the maps of all scenes use.

    Args:
        scene: Its scene.json.
        needed: Modalities.

    Raises:
        MamolError: Naming those that it lacks.
    """
    there = read_scene_json(scene).modalities
    if lacking := [name for name in needed if name not in there]:
        raise MamolError(
            f"{scene}: there is no {', '.join(lacking)} among its modalities {', '.join(there)}; name the sensors that "
            "all scenes of the area have with present=, or draw the map of this one by itself"
        )


def min_valid_of(info: CheckpointInfo) -> float:
    """The share of a window that has to be valid, as the tables had it.

    Args:
        info: Of the checkpoint; those of earlier versions say nothing.
    """
    return float(info.data.get("min_valid", MIN_VALID))


def map_title(scene: str, pattern: Sequence[str], info: CheckpointInfo, transductive: bool = False) -> str:
    """What a map shows, and what a reader must know of the weights.

    Args:
        scene: Its name.
        pattern: The modalities used.
        info: Of the checkpoint.
        transductive: Whether the frozen weights were trained on the scene, without labels.
    """
    title = f"{shown_name(info.dataset, scene)}: {info.network.label} with {'+'.join(pattern)}"
    return marked(title, "", info.random_weights, transductive)


def present_patterns(present: str, info: CheckpointInfo) -> list[list[str]]:
    """The patterns that ``present=`` means.

    Args:
        present: Modalities in any order and spelling, ``hsi+lidar``; empty: all; ``each``: every non-empty pattern.
        info: Of the checkpoint.

    Returns:
        The names of each pattern's modalities, in the checkpoint's order.

    Raises:
        MamolError: The checkpoint has no such modality.
    """
    known = list(info.network.names)
    if present == "each":
        return [list(some) for n in range(len(known), 0, -1) for some in combinations(known, n)]
    wanted = [canonical(name) for name in present.split("+")] if present else known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise MamolError(
            f"present={present}: the checkpoint has no modality {', '.join(unknown)}; it has {'+'.join(known)}"
        )
    return [[name for name in known if name in wanted]]


def check_bands(scene: Scene, info: CheckpointInfo, present: list[str]) -> None:
    """Refuses a scene whose rasters have other band counts than the checkpoint.

    Args:
        scene: It has the rasters of ``present``.
        info: Of the checkpoint.
        present: Modalities to check.

    Raises:
        MamolError: Naming the modality and both counts.
    """
    for name in present:
        found, wanted = scene.channels[name], info.network.sizes[name]
        if found != wanted:
            raise MamolError(
                f"scene {scene.name}: {name} has {found} bands, the checkpoint was trained with {wanted}; "
                "give the scene it belongs to"
            )


def check_stride(stride: int | None, network: AnyNetwork) -> None:
    """Refuses a stride that leaves pixels out, or that means nothing.

    Args:
        stride: From window to window; None: the windows' side.
        network: It knows head and windows.

    Raises:
        MamolError: It is larger than a window, or the head classifies one pixel of each.
    """
    if stride is None:
        return
    if not network.dense:
        raise MamolError(
            f"stride={stride}: goes with head=pixels; this run has head={network.spec.head}, which needs a window for "
            "every pixel"
        )
    if not 1 <= stride <= network.spec.grid:
        raise MamolError(f"stride={stride}: expected 1 to {network.spec.grid}, the side of the windows")


def check_abstain(risk: float | None, network: AnyNetwork, path: Path | str) -> None:
    """Refuses to leave pixels undecided where nothing says from which confidence on.

    Args:
        risk: The accepted share of wrong pixels; None: all are decided.
        network: With its calibration.
        path: The checkpoint, for the message.

    Raises:
        MamolError: It has none.
    """
    if risk is not None and network.calibration is AS_IS:
        raise MamolError(
            f"abstain={risk:g}: nothing says which pixels are sure enough; run calibrate with load_path={path} first, "
            "and leave out calibrated=False"
        )
