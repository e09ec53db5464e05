"""What an export is: its figures as JSON and as a page, and the card that goes with the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mamol.evaluation.markdown import markdown
from mamol.evaluation.pruned import write_report
from mamol.network.dense import AVAILABLE
from mamol.training.checkpoints import CheckpointInfo

CARD = "README.md"
LICENCE = (
    "The program is MIT. The weights are under the terms of the frozen backbone's weights and of the data that the run "
    "was trained on; neither is known to the program."
)


@dataclass(frozen=True)
class Export:
    """An export that was done.

    Attributes:
        source: As of ``mamol.evaluation.derived.source_of``.
        inputs: Names of the file's inputs.
        metadata: What the file says of itself.
        bytes: Its size.
        differences: Of each pattern, without and with holes, the largest of a logit.
        latency: Pattern to program to milliseconds of one sample on one thread.
        title: Of the page, with what a reader must know.
    """

    source: Mapping[str, Any]
    inputs: Sequence[str]
    metadata: Mapping[str, str]
    bytes: int
    differences: Mapping[str, float]
    latency: Mapping[str, Mapping[str, float]]
    title: str

    @property
    def fixed(self) -> str:
        """The one pattern of the file; "" where each sample says its own."""
        return "" if AVAILABLE in self.inputs else "+".join(self.inputs)

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
            "format": "onnx",
            "present": self.fixed,
            "inputs": list(self.inputs),
            "metadata": dict(self.metadata),
            "bytes": self.bytes,
            "differences": dict(self.differences),
            "milliseconds": {pattern: dict(own) for pattern, own in self.latency.items()},
        }
        write_report(folder, page, described)
        return page

    def page(self) -> str:
        """The report for people."""
        differences = [{"present": name, "largest difference": f"{own:.1e}"} for name, own in self.differences.items()]
        times = [{"present": name, **own} for name, own in self.latency.items()]
        patterns = f"For samples with {self.fixed} alone." if self.fixed else "For all patterns, which are an input."
        return "\n\n".join(
            [
                f"# {self.title[0].upper()}{self.title[1:]}",
                f"model.onnx: {self.bytes / 1e6:.1f} MB. {patterns}",
                "## Logits of onnxruntime against PyTorch, on windows of the test table",
                markdown(pd.DataFrame(differences)),
                "## Milliseconds of one sample (median, alternating, one thread; other programs may share the machine)",
                markdown(pd.DataFrame(times), 1),
            ]
        )


def card(done: Export, info: CheckpointInfo) -> str:
    """A page about the file, as model hubs show it.

    Args:
        done: The export.
        info: Of the checkpoint.

    Returns:
        Markdown with a header of plain values.
    """
    spec = info.network
    sizes = {name: spec.sizes[name] for name in done.inputs if name != AVAILABLE}
    shapes = [f"`{name}` float32 (N, {bands}, {spec.grid}, {spec.grid})" for name, bands in sizes.items()]
    if not done.fixed:
        shapes.append(f"`{AVAILABLE}` bool (N, {len(spec.names)}), in the order {', '.join(spec.names)}")
    dense = done.metadata["mamol.dense"] == "true"
    out = f"(N, {spec.grid}, {spec.grid}, {len(spec.classes)})" if dense else f"(N, {len(spec.classes)})"
    lines = [
        "---",
        "library_name: onnx",
        "tags: [remote-sensing, missing-modality]",
        "---",
        "",
        f"# {done.title[0].upper()}{done.title[1:]}",
        "",
        "It needs onnxruntime alone. Windows are in sensor units, NaN where a sensor saw nothing; it normalises them."
        + ("" if done.fixed else " What stands at a modality that is not available has no effect; give zeros."),
        "",
        *(f"- Input {shape}" for shape in shapes),
        f"- Output `logits` float32 {out}: of "
        + ("every pixel" if dense else f"the pixel in row and column {spec.grid // 2}, counted from 0"),
        f"- Classes: {', '.join(spec.classes)}",
        "- "
        + (
            "Calibrated: the softmax of the logits is what `predict` calls confidence"
            if done.metadata["mamol.calibration"]
            else "Not calibrated: the softmax of the logits is no measured confidence"
        ),
        f"- Largest difference of a logit from the run's: {max(done.differences.values()):.1e}",
        f"- Frozen weights: {info.backbone_origin}"
        + (f", sha256 `{info.backbone_fingerprint}`" if spec.backbone else ""),
        f"- Checkpoint: sha256 `{done.source['sha256']}`; made with mamol {info.version}",
        f"- Licence: {LICENCE}",
        "",
        "```python",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("model.onnx")',
        f"(logits,) = session.run(None, {{{', '.join(f'{name!r}: {name}' for name in done.inputs)}}})",
        "session.get_modelmeta().custom_metadata_map  # classes, bands, window, what it was made of",
        "```",
        "",
    ]
    return "\n".join(lines)
