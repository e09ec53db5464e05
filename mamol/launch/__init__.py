"""Where runs are done: on this machine, on a Ray cluster, or under Slurm."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from mamol.core.errors import MamolError
from mamol.launch.job import AnyJob, Outcome

# name -> class beside this file, package that it needs, file that pins the package
LAUNCHERS = {
    "local": ("LocalLauncher", "torch", "requirements.txt"),
    "ray": ("RayLauncher", "ray", "requirements-ray.txt"),
    "slurm": ("SlurmLauncher", "submitit", "requirements-slurm.txt"),
}


class Launcher(Protocol):
    """Does jobs, several at once."""

    def outcomes(self, jobs: Sequence[AnyJob]) -> Iterator[Outcome]:
        """Yields each job's outcome when it has ended; a failed job does not stop the others.

        Args:
            jobs: What to do.
        """


def launcher_named(name: str, *, jobs: int, gpus: int | str, slurm: Mapping[str, Any]) -> Launcher:
    """Makes a launcher.

    Args:
        name: ``local``, ``ray`` or ``slurm``.
        jobs: How many runs at once.
        gpus: ``num_gpus`` of a run: a number, or ``auto`` for one where there is one.
        slurm: submitit's parameters.

    Returns:
        The launcher; nothing is started yet.

    Raises:
        MamolError: The package that it needs is not installed.
    """
    kind, package, requirements = LAUNCHERS[name]
    if find_spec(package) is None:
        raise MamolError(
            f"launcher={name} needs the package {package}: pip install -r {requirements}, or 'mamol[{name}]'"
        )
    made: Launcher = getattr(import_module(f"mamol.launch.{name}"), kind)(jobs=jobs, gpus=gpus, slurm=dict(slurm))
    return made
