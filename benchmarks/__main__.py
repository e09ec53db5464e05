"""``python -m benchmarks [--only NAME …] [--json PATH] [--write-docs RESULTS …]``."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    cost,
    encoder,
    gpu,
    loading,
    mapping,
    maps,
    mapsizes,
    memory,
    page,
    pretraining,
    report,
    step,
    steps,
    straight,
    tables,
)
from benchmarks.harness import Figure, quiet_and_repeatable
from mamol.core.errors import MamolError
from mamol.core.files import write_json

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "step": step.run,
    "steps": steps.run,
    "straight": straight.run,
    "pretraining": pretraining.run,
    "encoder": encoder.run,
    "loading": loading.run,
    "tables": tables.run,
    "mapping": mapping.run,
    "page": page.run,
    "memory": memory.run,
    "maps": maps.run,
    "mapsizes": mapsizes.run,
    "cost": cost.run,
    "gpu": gpu.run,
}
DOCS = Path(__file__).resolve().parents[1] / "docs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs benchmarks and prints their figures, or writes the page from earlier results.

    Returns:
        Exit status; a missed target is printed and is no failure, a neighbour on the machine may have caused it.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.write_docs:
            report.write_docs([report.read(path) for path in options.write_docs], DOCS)
        else:
            _measure(options.only or list(BENCHMARKS), options.json)
    except MamolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(names: Sequence[str], path: Path | None) -> None:
    quiet_and_repeatable()
    start, figures = time.perf_counter(), []
    for name in names:
        for figure in BENCHMARKS[name]():
            figures.append(figure)
            print(report.line(figure), flush=True)
    print(f"{time.perf_counter() - start:.0f} s")
    if path is not None:
        write_json(path, report.results(figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write machine, commit and figures there")
    parser.add_argument(
        "--write-docs",
        nargs="+",
        type=Path,
        metavar="RESULTS",
        help="measure nothing; write docs/PERFORMANCE.md from files of --json, a section for each",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
