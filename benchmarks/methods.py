"""``python -m benchmarks.methods``: what a training step of each method costs, for ``python run.py methods``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import alternate, commit, machine, quiet_and_repeatable, ratio
from benchmarks.workload import BACKBONE, BATCH_OF_8, batch, frozen_tower, network, training_step
from mamol.commands.cost import PATH, REFERENCE
from mamol.core.files import write_json
from mamol.core.method import METHODS


def run(methods: Sequence[str], rounds: int, backbone: str = BACKBONE) -> dict[str, float]:
    """Times one training step of each method, alternating, in processor time.

    Args:
        methods: Those to measure; the reference comes with them.
        rounds: Timed steps of each, after an untimed one.
        backbone: Tower, shared by all.

    Returns:
        Method to the median over the rounds of its time over the reference's.
    """
    tower, data = frozen_tower(backbone), batch(BATCH_OF_8)
    steps = {
        name: training_step(network(tower, backbone=backbone, method=name), data)
        for name in dict.fromkeys((REFERENCE, *methods))
    }
    seconds = alternate(steps, rounds)
    return {name: ratio(seconds, name, REFERENCE) for name in methods}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all methods and writes the file that ``python run.py methods`` reads."""
    parser = argparse.ArgumentParser("python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each method (default: 3)")
    parser.add_argument("--backbone", default=BACKBONE, help=f"tower (default: {BACKBONE})")
    parser.add_argument("--json", type=Path, default=PATH, help="file to write (default: the one that is read)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    steps = run(list(METHODS), options.rounds, options.backbone)
    about = machine()
    content = {
        "steps": {name: round(ratio, 3) for name, ratio in steps.items()},
        "workload": f"{options.backbone}, batch {len(BATCH_OF_8)} with 11 of 16 streams present, processor time of one "
        f"thread, median of {options.rounds}",
        "machine": f"{about['cpu']}, torch {about['torch']}",
        "commit": commit(),
    }
    write_json(options.json, content)
    print("\n".join(f"{name}: {ratio:.2f}×" for name, ratio in steps.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
