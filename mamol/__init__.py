"""MaMOL: classification of remote-sensing data when sensors are missing (arXiv 2511.11460).

Names are loaded when they are used, so that ``import mamol`` costs nothing.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mamol.core.version import VERSION as __version__

if TYPE_CHECKING:  # for editors, which do not run __getattr__
    from mamol.api.calibrate import calibrate
    from mamol.api.experiment import Experiment, train
    from mamol.api.export import export
    from mamol.api.merge import merge
    from mamol.api.pretrain import pretrain
    from mamol.api.prune import prune
    from mamol.api.report import report
    from mamol.api.run import Run, load
    from mamol.api.tables import Tables, build_tables
    from mamol.core.errors import MamolError
    from mamol.core.settings import Settings
    from mamol.evaluation.maps import Map

_HOME = {
    "Experiment": "mamol.api.experiment",
    "MamolError": "mamol.core.errors",
    "Map": "mamol.evaluation.maps",
    "Run": "mamol.api.run",
    "Settings": "mamol.api.run",  # with everything registered that options can name
    "Tables": "mamol.api.tables",
    "build_tables": "mamol.api.tables",
    "calibrate": "mamol.api.calibrate",
    "export": "mamol.api.export",
    "load": "mamol.api.run",
    "merge": "mamol.api.merge",
    "pretrain": "mamol.api.pretrain",
    "prune": "mamol.api.prune",
    "report": "mamol.api.report",
    "train": "mamol.api.experiment",
}
"""Public name to the file that has it."""

__all__ = [
    "Experiment",
    "MamolError",
    "Map",
    "Run",
    "Settings",
    "Tables",
    "__version__",
    "build_tables",
    "calibrate",
    "export",
    "load",
    "merge",
    "pretrain",
    "prune",
    "report",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any of the names
    """Loads a name from the room that has it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'mamol' has no attribute {name!r}")
    with warnings.catch_warnings():
        # Lightning's tqdm, in notebooks without ipywidgets; its bars are text then, which is fine.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """All public names, loaded or not."""
    return sorted(__all__)
