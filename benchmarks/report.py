"""Results as text, as JSON and as ``docs/PERFORMANCE.md``."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import cost
from benchmarks.harness import Figure, commit, machine
from mamol.core.errors import MamolError
from mamol.core.files import replacing

Results = dict[str, Any]

BY_HAND = "\n## Start-up\n"
"""The last section of the page, which is measured by hand and stays as it is."""

HEAD = """# Performance

Written by `python -m benchmarks --write-docs`; do not edit, but for the section on start-up. Each figure is a ratio
ours / reference (smaller is better) unless its unit says otherwise. Both are measured in the same process, alternating;
the figure is the median over the rounds, in processor time of one thread (on a GPU: wall time). To measure again:
`make bench`, or `python -m benchmarks --json build/bench.json` to keep the results.

The *released way, plain* is the released code's procedure in simple form (`benchmarks/plain.py`): both streams of every
sample encoded and then zeroed, experts one by one over all tokens, output projection, all tokens through all blocks. It
shares the frozen tower, so both sides have the same weights and the same activation.

The other references are plain forms of ours, which give the same logits, losses, batches or maps: the released way
without its output projection (a dense head; distillation in three full passes), the default network *in a straight
line*, without a branch for any option (`benchmarks/straight.py`), a masked autoencoder of all tokens and all experts
(`benchmarks/pretraining.py`), forward passes on windows cut beforehand (`benchmarks/mapping.py`), slices of the rasters
with numpy (`benchmarks/tables.py`), and the network's own passes behind the page of a run (`benchmarks/page.py`).
"""


def line(figure: Figure) -> str:
    """One result as a line for the terminal."""
    against = f" against {figure.against}" if figure.against else ""
    target = f"  [{figure.target}{': MISSED' if figure.missed else ''}]" if figure.target else ""
    return f"{figure.name}: {figure.text}{against}{target}\n    {figure.note}"


def results(figures: Iterable[Figure]) -> Results:
    """What ``--json`` writes: machine, commit, figures."""
    return {"machine": machine(), "commit": commit(), "figures": [asdict(figure) for figure in figures]}


def read(path: Path) -> Results:
    """Results written before.

    Raises:
        MamolError: The file is not there or holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        figures = [Figure(**each) for each in content["figures"]]
        known = {"machine": content["machine"], "commit": content["commit"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MamolError(f"{path}: not a file of results ({error}); write one with --json") from error
    return known | {"figures": [asdict(figure) for figure in figures]}


def write_docs(runs: Sequence[Results], docs: Path) -> None:
    """Writes ``PERFORMANCE.md`` and its plot; the section on start-up is kept.

    Args:
        runs: Results, one section each.
        docs: Folder of the pages.
    """
    page = [HEAD]
    for run in runs:
        page.append(_section(run))
        lines = [each for each in run["figures"] if each["name"] in (cost.BY_RATE, cost.BY_MODALITIES)]
        if lines:
            cost.draw(lines, docs / "img" / "cost.png")
            page.append("![Time of a training step over the number of present streams](img/cost.png)\n")
    path = docs / "PERFORMANCE.md"
    _, heading, by_hand = path.read_text("utf-8").partition(BY_HAND) if path.exists() else ("", "", "")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(page) + heading + by_hand, "utf-8")


def _section(run: Mapping[str, Any]) -> str:
    machine_ = run["machine"]
    rows = ["| what | figure | against | target | measured |", "|---|---|---|---|---|"]
    for each in run["figures"]:
        figure = Figure(**each)
        target = f"{figure.target}{' **missed**' if figure.missed else ''}"
        rows.append(f"| {figure.name} | {figure.text} | {figure.against} | {target} | {figure.note} |")
    title = machine_["gpu"] if machine_["gpu"] != "none" else machine_["cpu"]
    facts = ", ".join(f"{key} {value}" for key, value in machine_.items())
    return "\n".join([f"## {title}, commit {run['commit']}\n", *rows, f"\nMachine: {facts}.\n"])
