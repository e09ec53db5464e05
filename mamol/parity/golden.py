"""Golden files: weights, inputs and, stage by stage, outputs of the released code for a small network."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mamol.core.errors import MamolError


@dataclass(frozen=True)
class Golden:
    """A golden file.

    Attributes:
        sizes: The file's metadata.
        tensors: ``weights.*``, ``input.*`` and ``expected.*``.
    """

    sizes: dict[str, str]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Some of the tensors, by names without their prefix.

        Args:
            prefix: What their names begin with, such as ``weights.``.
        """
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def read_golden(path: Path) -> Golden:
    """Reads a golden file.

    Args:
        path: A safetensors file.

    Returns:
        Its sizes and tensors.

    Raises:
        MamolError: There is no such file, or it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            return Golden(file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MamolError(f"{path} cannot be read as safetensors ({error}); give a golden file") from error
