"""What the figures of a test look like, by the kind of its labels.

A task of a plugin draws what the task it is derived from draws, unless it registers its own: ``@figures_of.register``.
"""

from collections.abc import Sequence
from functools import singledispatch

import numpy as np
from matplotlib.figure import Figure

from mamol.core.task import Labels, Probabilities, Task
from mamol.evaluation.plots import confusion_plot
from mamol.evaluation.plots_scores import f1_plot, roc_plot
from mamol.tasks.binary import Binary
from mamol.tasks.multi_label import MultiLabel
from mamol.tasks.single_label import SingleLabel

Figures = dict[str, Figure]


@singledispatch
def figures_of(task: Task, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str) -> Figures:
    """Figures of a test by file name, without ending.

    Args:
        task: What the labels are.
        probabilities: (n, K).
        label: (n, …).
        classes: K names.
        title: Title of the figures.
    """
    return {}


@figures_of.register
def _single_label(
    task: SingleLabel, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
) -> Figures:
    """The confusion matrix."""
    return {"confusion": confusion_plot(task.confusion(probabilities, label), classes, title)}


@figures_of.register
def _multi_label(
    task: MultiLabel, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str
) -> Figures:
    """F1 and frequency of each class."""
    f1 = np.array(task.per_class(probabilities, label), float)
    return {"f1": f1_plot(f1, label.sum(0), task.predictions(probabilities).sum(0), classes, title)}


@figures_of.register
def _binary(task: Binary, probabilities: Probabilities, label: Labels, classes: Sequence[str], title: str) -> Figures:
    """The confusion matrix and, where both classes occur, the ROC curve."""
    drawn = _single_label(task, probabilities, label, classes, title)
    auroc = task.auroc(probabilities, label)
    return drawn if auroc is None else {**drawn, "roc": roc_plot(probabilities[:, 1], label, auroc, title)}
