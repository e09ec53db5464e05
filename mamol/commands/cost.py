"""What a training step of each method costs, as ``python -m benchmarks.methods`` measured it."""

import json
from dataclasses import dataclass
from pathlib import Path

from mamol.core.errors import MamolError

PATH = Path(__file__).with_name("cost.json")
REFERENCE = "baseline"


@dataclass(frozen=True)
class Cost:
    """Measured costs.

    Attributes:
        steps: Method to time of a training step over that of ``REFERENCE``.
        conditions: On what it was measured: workload, machine, commit.
    """

    steps: dict[str, float]
    conditions: str


def read_cost(path: Path = PATH) -> Cost:
    """The measured costs.

    Args:
        path: What ``python -m benchmarks.methods`` wrote.

    Raises:
        MamolError: Not there or damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        steps = {name: float(ratio) for name, ratio in content["steps"].items()}
        conditions = f"{content['workload']}; {content['machine']}; commit {content['commit']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MamolError(
            f"{path} holds no measured costs ({error!r}); measure them with: python -m benchmarks.methods"
        ) from error
    return Cost(steps, conditions)
