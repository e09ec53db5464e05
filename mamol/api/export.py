"""``export``: a run as a file that other programs read."""

from os import PathLike, fspath
from typing import Any

from mamol.api.calls import called
from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation.export_run import export_run


def exporting(settings: Settings) -> Made:
    """Exports what ``load_path`` means.

    Args:
        settings: ``load_path``, ``format``, ``present``, and the tables that it is checked on.

    Returns:
        The result.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    if not settings.run.load_path:
        raise MamolError("export needs load_path=<run>, and present=hsi+lidar for a file of that pattern alone")
    if settings.predict.present == "each":
        raise MamolError('present=each: a file is for one pattern, or for all of them with present=""')
    return Made(*export_run(settings))


def export(source: PathLike[str] | str, present: str = "", **options: Any) -> Made:  # noqa: ANN401 - of any option
    """Writes a run as an ONNX file, checked against the run.

    Args:
        source: Folder of a run (its best checkpoint), or a checkpoint.
        present: Modalities that all samples have, ``"hsi+lidar"``; "" is a file for all patterns.
        options: Of the command line: ``format``, ``data_root``, ``clip_weights`` …

    Returns:
        The folder, with ``model.onnx`` and a card.

    Raises:
        MamolError: Something given does not fit, or the file would differ; nothing is written then.
    """
    return called(exporting, {**options, "load_path": fspath(source), "present": present})
