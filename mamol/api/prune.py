"""``prune``: the network that some sensors need, cut out of a run or of a pre-trained backbone."""

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from mamol.api.calls import called
from mamol.api.made import Made
from mamol.backbones.mixture.folder import FOLDER, is_pretrained
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation.prune_backbone import prune_backbone
from mamol.evaluation.prune_run import prune_run


def pruning(settings: Settings) -> Made:
    """Prunes what ``load_path`` means.

    Args:
        settings: ``load_path``, the group ``prune``, and what it is measured on.

    Returns:
        The result.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    asked, path = settings.prune, settings.run.load_path
    if not path or not asked.keep:
        raise MamolError(
            "prune needs load_path=<run, or folder of a backbone> and keep=<modalities that stay>, such as "
            "keep=hsi,lidar"
        )
    for pattern in asked.patterns:
        if foreign := [name for name in pattern.split("+") if name not in asked.keep]:
            raise MamolError(
                f"patterns={pattern}: {', '.join(foreign)} is not in keep={','.join(asked.keep)}; give patterns of "
                "what stays"
            )
    folder = next((each for each in (Path(path), Path(path) / FOLDER) if is_pretrained(str(each))), None)
    found = prune_run(settings) if folder is None else prune_backbone(settings, folder.expanduser())
    return Made(*found)


def prune(source: PathLike[str] | str, keep: str | list[str] | tuple[str, ...], **options: Any) -> Made:  # noqa: ANN401
    """Cuts out of a run or a backbone what some sensors need.

    Args:
        source: Folder of a run (its best checkpoint), a checkpoint, or the folder of a backbone of ``pretrain``.
        keep: Modalities that stay, ``"hsi,lidar"`` or a list.
        options: Of the command line: ``patterns``, ``tau``; ``data_root`` or ``scene`` …

    Returns:
        The result, which ``mamol.load``, ``load_path`` or ``backbone`` takes.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return called(pruning, {**options, "load_path": fspath(source), "keep": keep})
