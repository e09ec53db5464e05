"""Code of others that registers methods, heads, backbones, tasks or datasets: files, and installed packages."""

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from mamol.core.errors import MamolError

GROUP = "mamol"
"""Entry-point group whose modules are imported: ``[project.entry-points.mamol]`` of a package."""


def load_plugins(files: Sequence[str] = ()) -> None:
    """Imports what registers itself; each file and entry point once per process.

    Args:
        files: Python files, such as ``my_method.py``.

    Raises:
        MamolError: A file is not there, or it or an entry point cannot be imported.
    """
    for point in entry_points(group=GROUP):
        if point.module not in sys.modules:
            try:
                point.load()
            except Exception as error:
                raise MamolError(
                    f"entry point {point.name} ({point.value}) of group {GROUP} cannot be imported ({error!r}); mend "
                    "or uninstall that package"
                ) from error
    for file in files:
        _load(Path(file))


def _load(path: Path) -> None:
    if path.suffix != ".py" or not path.is_file():
        raise MamolError(f"plugins={path}: there is no such Python file; give a .py that registers something")
    # Named by its content: the same file by another path is the same plugin, and worker processes find it again.
    name = f"mamol_plugin_{path.stem}_{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MamolError(f"plugins={path}: Python cannot import this file; give the path of a .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise MamolError(
            f"plugins={path}: cannot be imported ({type(error).__name__}: {error}); mend the file"
        ) from error
