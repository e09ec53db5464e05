"""``report``: the page of a run, to be opened in a browser."""

from os import PathLike, fspath
from typing import Any

from mamol.api.made import Made
from mamol.api.run import load
from mamol.core.settings import Settings
from mamol.evaluation.report.command import report as write_report


def reporting(settings: Settings) -> Made:
    """Writes the page of what ``load_path`` means.

    Args:
        settings: ``load_path``, ``data_root``, ``scene``, and the group ``report``.

    Returns:
        The folder, with ``report.html``.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return Made(*write_report(settings))


def report(
    source: PathLike[str] | str,
    scene: PathLike[str] | str = "",
    **options: Any,  # noqa: ANN401 - of any option
) -> Made:
    """Writes the page of a run: maps, scores and confidence under every pattern of sensors.

    Args:
        source: Folder of a run (its best checkpoint), or a checkpoint.
        scene: Raw folder or scene.json to draw maps of; "": a page without maps.
        options: Of the command line: ``data_root``, ``compare``, ``patterns``, ``preview``, ``num_gpus`` …

    Returns:
        The folder, with ``report.html``.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return load(fspath(source), **options).report(scene)
