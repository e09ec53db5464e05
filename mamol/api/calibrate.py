"""``calibrate``: a checkpoint's confidence made to mean something under every missing pattern."""

from os import PathLike, fspath
from typing import Any

from mamol.api.calls import called
from mamol.api.made import Made
from mamol.core.settings import Settings
from mamol.evaluation.trust.calibrate import calibrate as fit


def calibrating(settings: Settings) -> Made:
    """Calibrates what ``load_path`` means.

    Args:
        settings: ``load_path``, the group ``calibrate``, and the tables; the run's own if none are given.

    Returns:
        The folder of the page and its figures.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return Made(*fit(settings))


def calibrate(source: PathLike[str] | str, **options: Any) -> Made:  # noqa: ANN401 - of any option
    """Calibrates a checkpoint; whoever opens it then uses what was found.

    Args:
        source: Folder of a run (its best checkpoint), or a checkpoint.
        options: Of the command line: ``coverage``, ``class_conditional``, ``data_root`` …

    Returns:
        The folder of the page and its figures.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    return called(calibrating, {**options, "load_path": fspath(source)})
