"""``calibrate``: a checkpoint's confidence made to mean something under every missing pattern."""

from os import PathLike, fspath
from typing import Any

from mamol.api.made import Made
from mamol.api.run import settings_of
from mamol.evaluation.trust.calibrate import calibrate as fit
from mamol.training.machine import decide_threads, use_threads
from mamol.training.quiet import as_a_guest


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
    settings = settings_of({**options, "load_path": fspath(source)})
    with as_a_guest():
        use_threads(decide_threads(settings.machine)[0])
        return Made(*fit(settings))
