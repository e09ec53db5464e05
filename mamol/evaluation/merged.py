"""What merging changed: parameters, multiply-adds, time, scores; as JSON and as a page for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mamol.evaluation.markdown import markdown
from mamol.evaluation.pruned import Counts, changed, plain_row, write_report


@dataclass(frozen=True)
class Merging:
    """A merging that was done.

    Attributes:
        source: As of ``mamol.evaluation.derived.source_of``.
        present: The pattern.
        ranks: Of each block, what was put into its MLP.
        hidden: Hidden units of a frozen MLP.
        difference: Largest difference of a logit from the run's, over the largest logit where that is above 1.
        windows: On how many windows of the test table.
        parameters: Part to number, before and after.
        multiply_adds: Of one sample, before and after.
        latency: Milliseconds of one sample on the machine at hand, before and after.
        threads: With how many threads.
        scores: Columns ``present``, ``score``, ``before`` and ``after``.
        title: Of the page, with what a reader must know.
    """

    source: Mapping[str, Any]
    present: str
    ranks: Sequence[int]
    hidden: int
    difference: float
    windows: int
    parameters: tuple[Counts, Counts]
    multiply_adds: tuple[int, int]
    latency: tuple[float, float]
    threads: int
    scores: pd.DataFrame
    title: str

    @property
    def cost(self) -> float:
        """What the widest MLP costs, over a frozen one: ``1 + 2R / hidden``."""
        return 1 + 2 * max(self.ranks) / self.hidden

    def write(self, folder: Path) -> str:
        """Writes ``report.json`` and ``report.md``.

        Args:
            folder: It is there.

        Returns:
            The page.
        """
        page = self.page()
        described = {
            "from": dict(self.source),
            "present": self.present,
            "ranks": list(self.ranks),
            "cost_of_an_mlp": self.cost,
            "difference": self.difference,
            "windows": self.windows,
            "parameters": _both({}, *map(dict, self.parameters)),
            "multiply_adds": _both({}, *self.multiply_adds),
            "milliseconds": _both({"threads": self.threads}, *self.latency),
            "scores": [plain_row(row) for row in self.scores.to_dict("records")],
        }
        write_report(folder, page, described)
        return page

    def page(self) -> str:
        """The report for people."""
        blocks = [number for number, rank in enumerate(self.ranks) if rank]
        scores = self.scores.assign(change=self.scores["after"] - self.scores["before"])
        sizes = changed(*self.parameters, "part")
        work = changed({"multiply-adds": self.multiply_adds[0]}, {"multiply-adds": self.multiply_adds[1]}, "one sample")
        before, after = self.latency
        return "\n\n".join(
            [
                f"# {self.title[0].upper()}{self.title[1:]}",
                f"For samples with {self.present}. Updates of rank {max(self.ranks)} at most are hidden units of the "
                f"MLPs of the blocks {', '.join(map(str, blocks))}; such an MLP costs {self.cost:.4f} times a frozen "
                f"one at most. On {self.windows} windows of the test table the logits differ by {self.difference:.1e} "
                "at most.",
                "## Parameters",
                markdown(sizes, 1),
                "## Work of one sample",
                markdown(work, 1),
                f"One sample takes {before:.1f} ms before and {after:.1f} ms after (median, alternating, "
                f"{self.threads} thread{'s' * (self.threads > 1)}; other programs may share the machine).",
                "## Scores",
                markdown(scores, 3),
                f"The merged run has the experts of {self.present} on whatever is present: where a sample lacks some "
                "of it, it is another network than the run.",
            ]
        )


def _both(more: Mapping[str, Any], before: object, after: object) -> dict[str, Any]:
    return {**more, "before": before, "after": after}
