"""What pruning changed: parameters, multiply-adds, scores; as tables, as JSON, as a page for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.core.method import Batch
from mamol.core.pruning import Cut
from mamol.core.seal import write_sealed_json
from mamol.core.version import VERSION
from mamol.evaluation.markdown import markdown
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_pruned import pruning_plot
from mamol.evaluation.saliency import surviving

FOLDER, REPORT = "pruned", "report.json"
SAMPLES = 512
"""At most so many are measured, of a table or of each scene."""
MEASURE = "K * saliency / sum of saliencies, the largest over patterns and modalities; 1 is an even share"
Counts = Mapping[str, int]


@dataclass(frozen=True)
class Pruning:
    """A pruning that was done.

    Attributes:
        source: What it was cut from: path, checksums.
        keep: Modalities that stay.
        gone: Those that went.
        patterns: Under which experts had to matter.
        tau: The threshold.
        used: Of ``saliency.measure``.
        shares: Of ``saliency.shares``.
        cut: What stays.
        parameters: Part to number, before and after.
        multiply_adds: Pattern to number for one sample, before and after.
        scores: Columns ``present``, ``score``, ``before`` and ``after``; no rows where nobody could say them.
        title: Of the figure and the page, with what a reader must know.
        remarks: Sentences for the page.
    """

    source: Mapping[str, Any]
    keep: Sequence[str]
    gone: Sequence[str]
    patterns: Sequence[str]
    tau: float
    used: pd.DataFrame
    shares: Mapping[int, NDArray[np.float64]]
    cut: Cut
    parameters: tuple[Counts, Counts]
    multiply_adds: tuple[Counts, Counts]
    scores: pd.DataFrame
    title: str
    remarks: Sequence[str] = ()

    def provenance(self) -> dict[str, Any]:
        """What it was cut from, and how."""
        return {
            "from": dict(self.source),
            "keep": list(self.keep),
            "patterns": list(self.patterns),
            "tau": self.tau,
            "experts": {
                str(layer): {str(then): now for now, then in enumerate(kept)}
                for layer, kept in self.cut.experts.items()
            },
        }

    def write(self, folder: Path) -> str:
        """Writes ``report.json``, ``report.md``, ``usage.csv`` and ``pruned.png``.

        Args:
            folder: It is there.

        Returns:
            The page.
        """
        page = self.page()
        before, after = self.parameters
        described = {
            **self.provenance(),
            "measure": MEASURE,
            "shares": {str(layer): share.tolist() for layer, share in self.shares.items()},
            "parameters": {"before": dict(before), "after": dict(after)},
            "multiply_adds": {
                when: dict(counts) for when, counts in zip(("before", "after"), self.multiply_adds, strict=True)
            },
            "scores": [plain_row(row) for row in self.scores.to_dict("records")],
            "remarks": list(self.remarks),
        }
        write_report(folder, page, described)
        with replacing(folder / "usage.csv") as temporary:
            self.used.to_csv(temporary, index=False)
        figure = pruning_plot(self.parameters, self.scores, self.shares, self.cut.experts, self.tau, self.title)
        save_figure(figure, folder / "pruned.png")
        return page

    def page(self) -> str:
        """The report for people."""
        parts = [
            f"# {self.title[0].upper()}{self.title[1:]}",
            f"Kept: {', '.join(self.keep)}. Gone: {', '.join(self.gone) or 'no sensor'}. tau={self.tau:g}, patterns "
            f"{', '.join(self.patterns)}.",
        ]
        if self.shares:
            parts += ["## Routed experts, share of each (1 is even)", markdown(self._experts(), 2)]
        parts += ["## Parameters", markdown(changed(*self.parameters, "part"), 1)]
        parts += ["## Multiply-adds of one sample", markdown(changed(*self.multiply_adds, "present"), 1)]
        if len(self.scores):
            scores = self.scores.assign(change=self.scores["after"] - self.scores["before"])
            parts += ["## Scores under each pattern", markdown(scores, 3)]
        return "\n\n".join([*parts, *self.remarks])

    def _experts(self) -> pd.DataFrame:
        """A line per block: shares, and what stays."""
        rows = []
        for layer, share in self.shares.items():
            kept = self.cut.experts[layer]
            shown = ", ".join(f"{value:.2f}{'' if k in kept else ' (gone)'}" for k, value in enumerate(share))
            rows.append({"block": layer, "share": shown, "kept": f"{len(kept)} of {len(share)}"})
        return pd.DataFrame(rows)


def plain_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of a table for JSON, which has no NaN.

    Args:
        row: Column to value.
    """
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


def changed(before: Counts, after: Counts, what: str) -> pd.DataFrame:
    """A table of counts before and after.

    Args:
        before: Name to number.
        after: Of the same names.
        what: Heading of the names.
    """
    rows = [
        {
            what: name,
            "before": f"{value:,}",
            "after": f"{after[name]:,}",
            "fewer (%)": 100 * (1 - after[name] / value) if value else 0.0,
        }
        for name, value in before.items()
    ]
    return pd.DataFrame(rows)


def same_parts(before: Counts, after: Counts) -> tuple[Counts, Counts]:
    """Counts with the same parts.

    Args:
        before: Part to number.
        after: Part to number; parts that it lacks have none.
    """
    return before, {name: after.get(name, 0) for name in before}


def check_wanted(keep: Sequence[str], known: Sequence[str], path: Path | str) -> tuple[str, ...]:
    """What is to stay, in the order in which it is there.

    Args:
        keep: What the user gave.
        known: What is there.
        path: Where, for the message.

    Raises:
        MamolError: A name is not there.
    """
    if unknown := [name for name in keep if name not in known]:
        raise MamolError(f"keep={','.join(unknown)}: {path} has {', '.join(known)}; keep some of them")
    return tuple(name for name in known if name in keep)


def write_report(folder: Path, page: str, described: Mapping[str, Any]) -> None:
    """Writes what was made of something as ``report.json``, sealed and with the version, and as ``report.md``.

    Args:
        folder: It is there.
        page: For people.
        described: For programs.
    """
    write_sealed_json(folder / REPORT, {**described, "version": VERSION})
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(page + "\n", "utf-8")


def cut_of(inputs: Sequence[int], shares: Mapping[int, NDArray[np.float64]], tau: float) -> Cut:
    """What stays at a threshold.

    Args:
        inputs: Numbers of the modalities or sensors.
        shares: Of ``saliency.shares``.
        tau: The threshold.
    """
    return Cut(tuple(inputs), {layer: surviving(share, tau) for layer, share in shares.items()})


@torch.inference_mode()
def multiply_adds(forward: Callable[[Batch], object], batch: Batch) -> int:
    """Multiplications with their addition of matrix products, convolutions and attention, as torch counts them.

    Args:
        forward: Of a network.
        batch: One sample.
    """
    # The fused attention of a CPU is not counted; that of two products is, and makes as many.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        forward(batch)
    return int(counter.get_total_flops()) // 2
