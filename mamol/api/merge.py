"""``merge``: a run for one missing pattern, as a plain tower with slightly wider MLPs."""

from os import PathLike, fspath
from typing import Any

from mamol.api.calls import called
from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation.merge_run import merge_run


def merging(settings: Settings) -> Made:
    """Merges what ``load_path`` means.

    Args:
        settings: ``load_path``, ``present``, and the tables that it is checked on.

    Returns:
        The result.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    present = settings.predict.present
    if not settings.run.load_path or not present:
        raise MamolError("merge needs load_path=<run> and present=<modalities of all samples>, such as hsi+lidar")
    if present == "each":
        raise MamolError("present=each: a merged run is for one pattern; give one, such as present=hsi+lidar")
    return Made(*merge_run(settings))


def merge(source: PathLike[str] | str, present: str, **options: Any) -> Made:  # noqa: ANN401 - of any option
    """Makes hidden units of a plain tower of what a run adds to its frozen one, under one pattern.

    Args:
        source: Folder of a run (its best checkpoint), or a checkpoint.
        present: Modalities that all samples have, ``"hsi+lidar"``.
        options: Of the command line: ``data_root``, ``clip_weights`` …

    Returns:
        The result, which ``mamol.load`` or ``load_path`` takes.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return called(merging, {**options, "load_path": fspath(source), "present": present})
