"""DIS2 (arXiv 2601.13502): compensators for absent modalities, taught by the network itself on complete samples.

Written anew after the paper's public code, for any number of modalities.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from mamol.core.errors import MamolError
from mamol.core.method import Batch
from mamol.core.network import NETWORKS
from mamol.core.spec import NetworkSpec
from mamol.core.task import UNLABELLED, Task
from mamol.networks.dis2_branch import Branch, Output
from mamol.networks.dis2_encoders import WIDTHS, Encoder, Levels, OwnDecoder, Pools, sides_of
from mamol.networks.dis2_losses import distillation, divergence, strength
from mamol.networks.windows import WindowNetwork

LEAST = 2  # side of a window


def incomplete(modalities: int) -> Tensor:
    """All patterns in which something is absent and something is not, (2^M - 2, M) bool.

    Args:
        modalities: M.
    """
    codes = torch.arange(1, 2**modalities - 1)
    return (codes[:, None] >> torch.arange(modalities)) % 2 == 1


def drawn(available: Tensor) -> Tensor:
    """A missing pattern for each sample, all that it can be under equally likely.

    Args:
        available: (B, M) bool, what each sample has.

    Returns:
        (B, M) bool: a part of what it has, never nothing, never all M.
    """
    patterns = incomplete(available.shape[1]).to(available.device)
    possible = (available[:, None] | ~patterns).all(-1)
    return patterns[torch.multinomial(possible.float(), 1)[:, 0]]


def supervised(task: Task, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The sum of the task's losses; nothing where no pixel has a label, of which there is no mean.

    Args:
        task: What the labels are.
        pairs: Logits (n, K, P, P) and labels (n, P, P).
    """
    losses = [
        task.loss(logits.movedim(1, 3), label) if (label != UNLABELLED).any() else 0 * logits.sum()
        for logits, label in pairs
    ]
    return torch.stack(losses).sum()


def together(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """What parts of a batch gave, in the order of the batch.

    Args:
        parts: Which samples, (B,) bool, and their values; each sample is in one part.
    """
    (rows, values), *others = parts
    if not others:
        return values
    whole = values.new_empty(len(rows), *values.shape[1:])
    for chosen, each in parts:
        whole[chosen] = each
    return whole


def by_level(maps: Sequence[Levels], rows: Tensor) -> list[list[Tensor]]:
    """Some samples' maps level by level.

    Args:
        maps: Of each modality.
        rows: (B,) bool, which samples.
    """
    return [[each[rows] for each in level] for level in zip(*maps, strict=True)]


@NETWORKS.register("dis2")
class DIS2(WindowNetwork):
    """One branch for complete samples, one for all others, in which compensators stand in for what is absent.

    Attributes:
        windows: Normalises and fills.
        encoders: Of each modality.
        decoders: Of each modality alone, in training only.
        compensators: For each modality; they see the others.
        full: The branch of complete samples, the teacher.
        missing: The branch of the others, the student.
        pools: Of the fused maps, for distillation.
        standing: Pools of each compensator's maps, for divergence.
        beside: Pools of each modality's maps, for divergence.
        shapes: (C, h, w) of each level.
    """

    one_graph = False

    def __init__(self, spec: NetworkSpec, seed: int = 0) -> None:
        """Makes it.

        Args:
            spec: Modalities, classes, side of the windows.
            seed: Of the initial weights.

        Raises:
            MamolError: The windows are single pixels, or there is one modality only.
        """
        super().__init__(spec)
        bands, side, classes = list(spec.sizes.values()), spec.grid, len(spec.classes)
        if side < LEAST:
            raise MamolError(
                f"network=dis2: the windows are {side} × {side}; build tables with --patch-size {LEAST} or more"
            )
        if len(bands) < 2:
            raise MamolError(
                f"network=dis2: {spec.names[0]} is the only modality, so that nothing can stand in for it; use two or "
                "more, or network=unet"
            )
        others = [[count for i, count in enumerate(bands) if i != absent] for absent in range(len(bands))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoders = nn.ModuleList(Encoder([count], side) for count in bands)
            self.decoders = nn.ModuleList(OwnDecoder(side, classes) for _ in bands)
            self.compensators = nn.ModuleList(Encoder(seen, side) for seen in others)
            self.full, self.missing = (Branch(len(bands), side, classes) for _ in range(2))
            self.pools = Pools(side)
            self.standing, self.beside = (nn.ModuleList(Pools(side) for _ in bands) for _ in range(2))
        self.shapes = [(width, each, each) for width, each in zip(WIDTHS, sides_of(side)[1:], strict=False)]

    def forward(self, batch: Batch) -> tuple[Tensor, None]:
        """From windows to the logits of their pixels.

        Args:
            batch: As of ``AnyNetwork.forward``.

        Returns:
            (B, P, P, K), and no auxiliary loss.
        """
        return together([(rows, output.logits) for rows, output in self._outputs(batch)]).movedim(1, 3), None

    def loss(self, batch: Batch, task: Task) -> dict[str, Tensor]:
        """What a training step descends: passes of teacher and student through one batch.

        Each sample is a student's, under a pattern that is drawn from what it has; complete ones are the teacher's too.

        Args:
            batch: As of ``forward``, with ``label``.
            task: What the labels are.

        Returns:
            The task's loss of both branches, of the scales of their decoders, of each modality alone; the weighted
            distillation, and the divergence.
        """
        available, label = batch["available"], batch["label"]
        windows, seen, complete = self.windows(batch), self.windows.seen(batch), available.all(1)
        own, pattern = self._own(windows, available), drawn(available)
        slots, standing = self._slots(windows, own, pattern)
        student: Output = self.missing(slots)
        unseen = ~(seen & pattern[:, :, None, None]).any(1)
        passes = [(student, label.masked_fill(unseen, UNLABELLED))]
        distilled = torch.zeros((), device=label.device)
        if complete.any():
            teacher: Output = self.full(by_level(own, complete))
            passes.append((teacher, label[complete]))
            distilled = strength(self.progress) * distillation(student, teacher, self.pools, complete)
        # Each parameter has a gradient in each step, also of parts that no sample went through: several processes take
        # the mean of theirs and wait for all.
        nothing = 0 * torch.stack([parameter.sum() for parameter in self.parameters()]).sum()
        return {
            "loss": supervised(task, ((output.logits, each) for output, each in passes)) + nothing,
            "scales": supervised(task, ((scale, each) for output, each in passes for scale in output.scales)),
            "modalities": supervised(task, self._alone(own, available, label.where(seen.movedim(1, 0), UNLABELLED))),
            "distillation": distilled,
            "divergence": self._divergence(own, standing, pattern),
        }

    def _outputs(self, batch: Batch) -> list[tuple[Tensor, Output]]:
        """Which samples go through a branch, and what it says of them."""
        available, windows = batch["available"], self.windows(batch)
        complete = available.all(1)
        own = self._own(windows, available)
        outputs = []
        if complete.any():
            outputs.append((complete, self.full(by_level(own, complete))))
        if not complete.all():
            slots, _ = self._slots(windows, own, available)
            outputs.append((~complete, self.missing([[each[~complete] for each in maps] for maps in slots])))
        return outputs

    def _own(self, windows: Sequence[Tensor], available: Tensor) -> list[Levels]:
        """The maps of each modality, zero where it is absent."""
        return [
            self._maps(encoder, [windows[i]], available[:, [i]], available[:, i])
            for i, encoder in enumerate(self.encoders)
        ]

    def _slots(
        self, windows: Sequence[Tensor], own: Sequence[Levels], pattern: Tensor
    ) -> tuple[list[list[Tensor]], list[Levels]]:
        """Level by level what the missing branch fuses, and the maps of each compensator, zero where it is not needed.

        A compensator sees what is present in the pattern.
        """
        standing = []
        for absent, compensator in enumerate(self.compensators):
            seen = [i for i in range(len(windows)) if i != absent]
            maps = self._maps(compensator, [windows[i] for i in seen], pattern[:, seen], ~pattern[:, absent])
            standing.append(maps)
        slots = [
            [
                mine.where(pattern[:, i, None, None, None], instead)
                for i, (mine, instead) in enumerate(zip(*level, strict=True))
            ]
            for level in zip(zip(*own, strict=True), zip(*standing, strict=True), strict=True)
        ]
        return slots, standing

    def _maps(self, encoder: nn.Module, windows: Sequence[Tensor], present: Tensor, rows: Tensor) -> Levels:
        """The maps of some samples, zero at the others, which do not go through the encoder."""
        if not rows.any():
            return [windows[0].new_zeros(len(rows), *shape) for shape in self.shapes]
        found = encoder([each[rows] for each in windows], present[rows])
        return [level.new_zeros(len(rows), *level.shape[1:]).index_put((rows,), level) for level in found]

    def _alone(self, own: Sequence[Levels], available: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each modality alone: logits and labels (M, B, P, P) of the samples that have it."""
        for levels, decoder, rows, label in zip(own, self.decoders, available.T, labels, strict=True):
            if rows.any():
                yield decoder([level[rows] for level in levels], self.spec.grid), label[rows]

    def _divergence(self, own: Sequence[Levels], standing: Sequence[Levels], pattern: Tensor) -> Tensor:
        """The sum over the levels of what compensators repeat of the present modalities."""
        pairs = ~pattern[:, :, None] & pattern[:, None]
        pooled = [
            [pools(levels) for pools, levels in zip(each, maps, strict=True)]
            for each, maps in ((self.standing, standing), (self.beside, own))
        ]
        total = pattern.new_zeros((), dtype=torch.float32)
        for stand_in, beside in zip(*(zip(*each, strict=True) for each in pooled), strict=True):
            total = total + divergence(torch.stack(stand_in, 1), torch.stack(beside, 1), pairs)
        return total
