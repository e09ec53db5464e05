"""What exists: datasets and methods, as text."""

from mamol.commands.cost import REFERENCE, read_cost
from mamol.core.method import METHODS
from mamol.data.facts import DATASETS
from mamol.data.imagetext.registry import IMAGE_TEXT_DATASETS
from mamol.network import parameters


def datasets() -> str:
    """One line per dataset that make_arrow.py knows: name, what it is, classes."""
    titles = {
        name: facts.title + (f"; {len(facts.classes)} classes" if facts.classes else "")
        for name, facts in DATASETS.items()
    }
    titles |= {name: facts.title for name, facts in IMAGE_TEXT_DATASETS.items()}
    width = max(map(len, titles))
    return "\n".join(f"{name:<{width}}  {title}" for name, title in titles.items())


def methods() -> str:
    """A table of the methods: trainable parameters, measured cost of a training step, what it adds and its source.

    Raises:
        MamolError: The file of measured costs is damaged.
    """
    sizes, cost = parameters.of_methods(), read_cost()
    width = max(map(len, METHODS))
    lines = [f"{'method':<{width}}  {'trainable':>10}  {'step':>6}  what it adds [source]"]
    for name, entry in METHODS.items():
        step = f"{cost.steps[name]:.2f}×" if name in cost.steps else "-"
        lines.append(f"{name:<{width}}  {sizes[name]:>10,}  {step:>6}  {entry.summary} [{entry.source}]")
    return "\n".join(
        [
            *lines,
            "",
            f"trainable: parameters on {parameters.BACKBONE} with 2 modalities and 15 classes ({parameters.EXAMPLE})",
            f"step: time of a training step over that of {REFERENCE}; {cost.conditions}",
        ]
    )
