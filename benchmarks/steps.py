"""Training steps beside that of the paper's model: a dense head, holes, distillation. All on the tiny tower."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.plain import PlainNetwork, no_output
from benchmarks.workload import (
    BATCH_OF_8,
    WINDOW,
    Batch,
    batch,
    frozen_tower,
    labelled_pixels,
    loss_of,
    network,
    step_of,
    sum_of,
    training_step,
    with_holes,
)
from mamol.data.missing import incomplete_patterns
from mamol.heads.class_token import ClassTokenHead
from mamol.network.compensator import Compensator, Outcome, distance, divergence, weight_at
from mamol.network.network import Network
from mamol.tasks.single_label import SingleLabel

OURS, PLAIN, COMPLETE = "ours", "all streams and tokens, plain", "the same windows without holes"
HOLES, WITHOUT = "with holes", "the same step without it"
_HOLES = f"{WINDOW // 3} of {WINDOW} rows of every window of HSI were not seen"


class PlainDistillation(nn.Module):
    """``compensate=True`` in plain form: three passes, each of both streams of every sample and with a graph.

    The first is that of the training step; a student sees the complete samples with a drawn pattern, a teacher as they
    are. What they give each other is ours.
    """

    def __init__(self, network: Network) -> None:
        """Shares the frozen tower of ``network`` and copies everything else.

        Args:
            network: With method ``mamol``, the class head and a compensator.
        """
        super().__init__()
        if network.compensator is None:
            raise ValueError("there is nothing to distil without a compensator; give a network with compensate=True")
        self.network = PlainNetwork(network, no_output)
        self.compensator: Compensator = deepcopy(network.compensator)
        self.progress = network.progress

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the task's loss and of what complete samples teach; draws as ours does.

        Args:
            batch: With complete samples.
        """
        available, head = batch["available"], cast(ClassTokenHead, self.network.head)
        features, _ = self.compensator(self.network.features(batch), available, None)
        loss = SingleLabel().loss(head(features, available), batch["label"])
        complete = available.all(1)
        whole = {name: values[complete] for name, values in batch.items()}
        patterns = torch.from_numpy(incomplete_patterns(available.shape[1]))
        drawn = patterns[torch.randint(len(patterns), (int(complete.sum()),))]
        there = _held(self.network.features({**whole, "available": drawn}))
        filled, _ = self.compensator(there, drawn, None)
        full = _held(self.network.features(whole))
        said = functional.linear(torch.cat(list(filled.values()), 1), head.weight.detach(), head.bias.detach())
        student, teacher = Outcome(filled, said), Outcome(full, head(full, whole["available"]).detach())
        return loss + weight_at(self.progress) * distance(student, teacher) + divergence(filled, drawn)


def _held(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """What nothing is learnt through."""
    return {name: values.detach() for name, values in features.items()}


def run(backbone: str = "tiny", rounds: int = 4) -> list[Figure]:
    """All figures.

    Args:
        backbone: Tower.
        rounds: Timed steps of each.
    """
    return [*dense(backbone, rounds), holes(backbone, rounds), *distillation(backbone, rounds)]


def dense(backbone: str, rounds: int) -> list[Figure]:
    """A head that classifies every pixel: against the plain form, and with holes.

    Args:
        backbone: Tower.
        rounds: Timed steps of each.
    """
    data = labelled_pixels(batch(BATCH_OF_8))
    model = network(frozen_tower(backbone), backbone=backbone, head="pixels")
    plain = PlainNetwork(model, no_output)
    torch.testing.assert_close(loss_of(plain, data), loss_of(model, data), atol=1e-4, rtol=1e-4)
    steps = {
        OURS: training_step(model, data),
        PLAIN: training_step(plain, data),
        HOLES: training_step(deepcopy(model), with_holes(data)),
    }
    seconds, what = alternate(steps, rounds), f"{backbone}, batch 8 with 11 of 16 streams present"
    complete = {**seconds, COMPLETE: seconds[OURS]}
    return [
        ratio_figure("training step, dense head", seconds, OURS, PLAIN, at_most=1.0, note=f"{what}, equal losses"),
        ratio_figure("training step, dense head, with holes", complete, HOLES, COMPLETE, at_most=1.1, note=_HOLES),
    ]


def holes(backbone: str, rounds: int) -> Figure:
    """The class head, holes in the windows of a sensor.

    Args:
        backbone: Tower.
        rounds: Timed steps of each.
    """
    data = batch(BATCH_OF_8)
    model = network(frozen_tower(backbone), backbone=backbone)
    steps = {HOLES: training_step(model, with_holes(data)), COMPLETE: training_step(deepcopy(model), data)}
    return ratio_figure(
        "training step with holes", alternate(steps, rounds), HOLES, COMPLETE, at_most=1.1, note=f"{backbone}; {_HOLES}"
    )


def distillation(backbone: str, rounds: int) -> list[Figure]:
    """``compensate=True`` behind its warm-up: against the plain form, and what it costs beside the step itself.

    Args:
        backbone: Tower.
        rounds: Timed steps of each.
    """
    data, task = batch(BATCH_OF_8), SingleLabel()
    model = network(frozen_tower(backbone), backbone=backbone, compensate=True)
    model.progress = 1.0
    plain, without = PlainDistillation(model), network(frozen_tower(backbone), backbone=backbone)
    losses = []
    for loss in (lambda: sum_of(model.loss(data, task)), lambda: plain.loss(data)):
        torch.manual_seed(0)
        losses.append(loss())
    torch.testing.assert_close(*losses, atol=1e-4, rtol=1e-4)
    steps = {
        OURS: step_of(model, lambda: sum_of(model.loss(data, task))),
        PLAIN: step_of(plain, lambda: plain.loss(data)),
        WITHOUT: training_step(without, data),
    }
    seconds, what = alternate(steps, rounds), f"{backbone}, compensate=True, 3 complete samples of 8"
    return [
        ratio_figure("distillation step", seconds, OURS, PLAIN, at_most=1.0, note=f"{what}, equal losses"),
        ratio_figure("distillation", seconds, OURS, WITHOUT, note=what),
    ]
