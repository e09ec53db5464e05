"""Every stage of a golden file beside what this program computes from the same weights and inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.parity.dcp import released_dcp_remote
from mamol.parity.golden import Golden, read_golden
from mamol.parity.remote import released_remote
from mamol.parity.vision_language import released_vision_language

TOLERANCE = 1e-5  # largest absolute difference, in float32


@dataclass(frozen=True)
class Kind:
    """A kind of golden file.

    Attributes:
        sizes: Metadata keys that such files, and no others, have together.
        stages: Computes every ``expected.*`` tensor by name.
    """

    sizes: frozenset[str]
    stages: Callable[[Golden], dict[str, Tensor]]


KINDS = {
    "released_remote": Kind(
        frozenset({"width", "layers", "heads", "output_dim", "rank", "num_dyn", "num_stat", "topk", "adapter_blocks"}),
        released_remote,
    ),
    "released_vision_language": Kind(
        frozenset({"image_size", "context_length", "vocab_size", "rank", "num_dyn", "num_stat", "adapter_scale"}),
        released_vision_language,
    ),
    "released_dcp_remote": Kind(
        frozenset({"width", "layers", "heads", "output_dim", "prompt_length", "prompt_depth"}), released_dcp_remote
    ),
}


def differences(path: Path) -> dict[str, float]:
    """The largest absolute difference of every stage.

    Args:
        path: A golden file of one of ``KINDS``.

    Returns:
        Stage to difference, in the order of the computation.

    Raises:
        MamolError: The file cannot be read, is of no known kind, or does not hold what its kind needs.
    """
    golden = read_golden(path)
    kind = next((kind for kind in KINDS.values() if kind.sizes <= golden.sizes.keys()), None)
    if kind is None:
        raise MamolError(
            f"{path} is of no known kind: its metadata has {', '.join(sorted(golden.sizes)) or 'nothing'}; "
            + "; ".join(f"{name} needs {', '.join(sorted(kind.sizes))}" for name, kind in KINDS.items())
        )
    try:
        with torch.no_grad():
            computed = kind.stages(golden)
    except MamolError as error:
        raise MamolError(f"{path}: {error}") from error
    # What a file lacks or how its sizes disagree comes out of torch in many ways.
    except (KeyError, ValueError, IndexError, ArithmeticError, AssertionError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise MamolError(f"{path}: its tensors and sizes make no network ({type(error).__name__}: {reason})") from error
    return _compared(computed, golden.part("expected."), path)


def report(found: Mapping[str, float]) -> str:
    """A line per stage, and the verdict.

    Args:
        found: Stage to largest absolute difference; not empty.
    """
    width = max(map(len, found))
    apart = sum(not within(difference) for difference in found.values())
    lines = [
        f"{stage:<{width}}  {difference:.1e}{'' if within(difference) else '  <--'}"
        for stage, difference in found.items()
    ]
    verdict = (
        f"{apart} of {len(found)} stages differ by more than" if apart else f"all {len(found)} stages agree within"
    )
    return "\n".join(["largest absolute difference per stage", *lines, f"{verdict} {TOLERANCE:g}"])


def within(difference: float) -> bool:
    """Whether a difference is at most ``TOLERANCE``; NaN is not.

    Args:
        difference: Absolute, of a stage.
    """
    return difference <= TOLERANCE


def _compared(computed: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> dict[str, float]:
    if different := sorted(computed.keys() ^ expected.keys()):
        raise MamolError(
            f"{path}: its stages are not those of its kind: expected.{different[0]} is "
            + ("missing" if different[0] in computed else "unknown")
        )
    for name, value in computed.items():
        if value.shape != expected[name].shape:
            raise MamolError(
                f"{path}: expected.{name} has shape {tuple(expected[name].shape)}, the network of these sizes gives "
                f"{tuple(value.shape)}"
            )
    return {name: (value - expected[name]).abs().max().item() for name, value in computed.items()}
