"""Every public function says what its arguments are, or overrides one that does."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from types import ModuleType
from typing import Any

import mamol


def modules() -> Iterator[ModuleType]:
    """Every file of the program; launchers whose package is not installed are left out."""
    for found in pkgutil.walk_packages(mamol.__path__, "mamol."):
        if found.name in ("mamol.launch.ray", "mamol.launch.slurm"):
            continue
        yield importlib.import_module(found.name)


def public_functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions and methods that a module defines itself, by their dotted names."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for own, member in vars(value).items():
                function = getattr(member, "__func__", member)  # of a class method
                # A dataclass explains its fields as attributes.
                shown = (own == "__init__" and not is_dataclass(value)) or not own.startswith("_")
                if _written_in(function, module) and shown and not _overrides(value, own):
                    yield f"{name}.{own}", function


def _written_in(function: object, module: ModuleType) -> bool:
    """Whether it is a function with a name whose text stands in the module; not one that ``typing`` made."""
    return inspect.isfunction(function) and function.__module__ == module.__name__ and function.__name__ != "<lambda>"


def _overrides(cls: type, name: str) -> bool:
    """Whether a base class says what the arguments are."""
    return name not in ("__init__", "forward") and any(name in vars(base) for base in cls.__mro__[1:-1])


def undocumented(function: Callable[..., Any]) -> list[str]:
    """Arguments that the docstring does not explain."""
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    _, _, args = (inspect.getdoc(function) or "").partition("Args:")
    return [name for name in names if not re.search(rf"^\s+\*{{0,2}}{name}:", args, re.MULTILINE)]


def test_every_public_argument_is_documented() -> None:
    found = [
        f"{module.__name__}.{name}: {', '.join(missing)}"
        for module in modules()
        for name, function in public_functions(module)
        if "<locals>" not in function.__qualname__ and (missing := undocumented(function))
    ]
    assert not found, "\n".join(found)
