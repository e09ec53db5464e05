"""What a network is to training, tests, maps and checkpoints; and how ``network=`` finds one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor, nn

from mamol.core.calibration import AS_IS, Calibration
from mamol.core.errors import MamolError
from mamol.core.method import Batch, step_terms
from mamol.core.registry import Registry
from mamol.core.spec import NetworkSpec
from mamol.core.task import UNLABELLED, Task
from mamol.core.windows import seen_by_any

PARTS = ("backbone", "method", "activation", "fusion", "head")
"""Fields of ``NetworkSpec`` that are options of a run, too, and that a network need not have."""


class AnyNetwork(nn.Module, ABC):
    """From samples to logits.

    What is not abstract is that of a network that is trained whole and classifies every pixel of its windows.

    Attributes:
        reads: Those of ``PARTS`` that it has; the others are "" in its description.
        options: Further options of a run that it reads, which ``spec.options`` holds; no other network takes them.
        progress: Share of the optimiser's steps that are done, for losses that change on the way; training sets it.
        calibration: What its probabilities go through; whoever opens a checkpoint sets it.
        spec: What it was built from.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    progress: float = 0.0
    calibration: Calibration = AS_IS
    spec: NetworkSpec

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
            """As ``forward``."""

    @classmethod
    @abstractmethod
    def build(cls, spec: NetworkSpec, clip_weights: str, seed: int = 0) -> Self:
        """Makes the network of a description, not normalised.

        Args:
            spec: What to build.
            clip_weights: Where frozen weights are, for networks that have some.
            seed: Of the initial weights.

        Raises:
            MamolError: It cannot be built so.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """From inputs to logits.

        Args:
            batch: Modality to (B, C, P, P) windows, NaN where the sensor saw nothing, or to what else modalities bring,
                and ``available`` (B, M) bool. What stands at an absent modality has no effect.

        Returns:
            (B, K), or (B, P, P, K) of a dense network, and the sum of auxiliary losses, if there are any.
        """

    @abstractmethod
    def normalise(self, mean: Mapping[str, Sequence[float]], std: Mapping[str, Sequence[float]]) -> None:
        """Sets the statistics of the training pixels.

        Args:
            mean: Modality to one number per band.
            std: Modality to one number per band.
        """

    @abstractmethod
    def trainable_parts(self) -> dict[str, nn.Module]:
        """Everything but frozen towers, by name: what a checkpoint holds."""

    @property
    def dense(self) -> bool:
        """Whether there are logits for every pixel of a window."""
        return True

    @property
    def needs_complete(self) -> bool:
        """Whether ``loss`` makes a pass with all modalities, as ``Method.needs_complete``."""
        return False

    @property
    def image_size(self) -> int:
        """Side of the images that it takes, in pixels."""
        return self.spec.grid

    @property
    def origin(self) -> str:
        """Where the frozen weights come from, in words."""
        return "none: all weights are trained"

    @property
    def random_weights(self) -> bool:
        """Whether frozen weights were never trained, so that results mean nothing as those of the backbone."""
        return False

    @property
    def seen(self) -> frozenset[str]:
        """sha256 of the raw files that frozen weights were trained on, as far as that is known."""
        return frozenset()

    @property
    def fingerprint(self) -> str:
        """sha256 of the frozen weights; "" without any."""
        return ""

    def classify(self, batch: Batch, *, pixels: bool = False) -> Tensor:
        """The logits of the samples, which stand in the middle of their windows.

        Args:
            batch: As of ``forward``.
            pixels: Whether all pixels of the windows are wanted, of a network that is dense.

        Returns:
            (B, K); (B, P, P, K) of all pixels.
        """
        logits, _ = self(batch)
        middle = self.spec.grid // 2
        return logits[:, middle, middle] if self.dense and not pixels else logits

    def tested(self, batch: Batch, task: Task) -> tuple[Tensor, Tensor]:
        """What a test needs of a batch.

        Args:
            batch: As of ``forward``, with ``label``.
            task: What the labels are.

        Returns:
            The logits, and what the task keeps of them; pixels that no present modality saw count as unlabelled.
        """
        logits, label = self.classify(batch, pixels=task.pixels), batch["label"]
        if task.pixels:
            label = label.where(seen_by_any(batch, self.spec.names), UNLABELLED)
            return logits, task.kept(logits, label)
        return logits, self.calibration.of_tensor(task.kept(logits, label), batch["available"])

    def loss(self, batch: Batch, task: Task) -> dict[str, Tensor]:
        """What a training step descends: the sum of these terms.

        Args:
            batch: As of ``forward``, with ``label``.
            task: What the labels are.

        Returns:
            As ``Method.loss``.
        """
        return step_terms(self, batch, task)

    def count_trainable(self) -> dict[str, int]:
        """Trainable parameters of each part that has some."""
        counts = {name: trainable(part) for name, part in self.trainable_parts().items()}
        return {name: count for name, count in counts.items() if count}

    def trainable_state(self) -> dict[str, Tensor]:
        """Weights and normalisation of the trainable parts, by full name."""
        return {
            f"{part}.{name}": value
            for part, module in self.trainable_parts().items()
            for name, value in module.state_dict().items()
        }

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Loads what ``trainable_state`` gave.

        Args:
            state: Full name to weights.

        Raises:
            MamolError: Names are missing or unexpected, a shape differs, or a weight is NaN or infinite.
        """
        own = self.trainable_state()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        shapes = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if missing or unexpected or shapes:
            raise MamolError(
                f"the checkpoint does not fit the network: missing {_some(missing)}, unexpected {_some(unexpected)}, "
                f"other shape {_some(sorted(shapes))}; use the options it was trained with"
            )
        broken = [name for name in own if not torch.isfinite(state[name]).all()]
        if broken:
            raise MamolError(
                f"the checkpoint holds NaN or infinite weights in {_some(broken)}; take an earlier one, or train again "
                "with a smaller learning_rate or precision=32"
            )
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])


def trainable(module: nn.Module) -> int:
    """How many parameters of a module require a gradient.

    Args:
        module: Any.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "nothing"


NETWORKS: Registry[type[AnyNetwork]] = Registry("network")
"""What ``network=`` can name."""
