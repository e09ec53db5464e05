"""What a method may do inside the encoder, and to the loss of a step; and how ``method=`` finds one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mamol.core.attention import Prefix
from mamol.core.backbone import MLP, Backbone
from mamol.core.registry import Registry
from mamol.core.streams import Streams, Trace
from mamol.core.task import Task

Batch = Mapping[str, Tensor]
"""Modality to input, ``available`` (B, M) bool, ``label``."""


class Predicts(Protocol):
    """What ``Method.loss`` needs of the network that the method belongs to."""

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits, and the method's auxiliary loss of this pass if it has one."""


def step_terms(network: Predicts, batch: Batch, task: Task) -> dict[str, Tensor]:
    """The plain loss of a training step: the task's, and the auxiliary one of the pass.

    Args:
        network: What is trained.
        batch: As the loader gives it.
        task: What the labels are.

    Returns:
        As ``Method.loss``.
    """
    logits, auxiliary = network(batch)
    terms = {"loss": task.loss(logits, batch["label"])}
    return terms if auxiliary is None else {**terms, "auxiliary": auxiliary}


@dataclass
class Pass:
    """One pass of streams through one tower, as the hooks of a method see it.

    A method that prepares something in ``begin`` adds it to a class of its own.

    Attributes:
        streams: What is known of the streams.
        trace: Where the routing is recorded, if anybody asks for it.
        losses: Auxiliary losses that the layers of this pass added.
    """

    streams: Streams
    trace: Trace | None = None
    losses: list[Tensor] = field(default_factory=list)

    def record(self, layer: int, gates: Tensor, norms: Callable[[], Tensor] | None = None) -> None:
        """Keeps the gates of a layer, if the routing is asked for.

        Args:
            layer: Block number from 0.
            gates: (N, T, K).
            norms: As of ``Trace.record``.
        """
        if self.trace is not None:
            self.trace.record(self.streams, layer, gates, norms)


PassT = TypeVar("PassT", bound=Pass)


class Method(nn.Module, Generic[PassT]):
    """The frozen tower as it is; methods override what they change.

    The hooks are called by ``mamol.network.encoder.encode``, once per pass or once per block.

    Attributes:
        trains_embedding: Whether the embeddings are trained with the method.
        needs_complete: Whether ``loss`` makes a pass with all modalities, so that the loader has to deliver what the
            mask says is missing, too.
    """

    trains_embedding = True
    needs_complete = False

    def begin(self, streams: Streams, trace: Trace | None = None) -> PassT:
        """Prepares a pass: computes what all layers share from the missing patterns.

        Args:
            streams: What goes through the tower.
            trace: Where the routing is to be recorded.

        Returns:
            What the other hooks of this pass get.
        """
        return Pass(streams, trace)  # type: ignore[return-value]  # of a method with PassT = Pass

    def before_block(self, layer: int, x: Tensor, state: PassT) -> Tensor:
        """Adds or replaces prompt tokens in front of block ``layer``.

        Args:
            layer: Block number from 0.
            x: (N, T, width) tokens.
            state: Of this pass.

        Returns:
            (N, T', width) tokens.
        """
        return x

    def attention_prefix(self, layer: int, state: PassT) -> Prefix | None:
        """Extra keys and values in block ``layer``, in front of those of the tokens.

        Args:
            layer: Block number from 0.
            state: Of this pass.

        Returns:
            Keys and values, (N, L, width) each, used as they are, without the block's projections; or None.
        """
        return None

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: PassT) -> Tensor:
        """The feed-forward part of block ``layer``, without the residual.

        Args:
            layer: Block number from 0.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass.

        Returns:
            (N, T, width), added to the tokens by the encoder.
        """
        return mlp(z)

    def finish(self, x: Tensor, backbone: Backbone, state: PassT) -> Tensor:
        """From the tokens that are read (…, width) to features (…, output_dim).

        Args:
            x: Tokens behind the last block, or behind an earlier one that the head reads, too (``head_blocks``).
            backbone: The tower that they come from.
            state: Of this pass.
        """
        return backbone.finish(x)

    def auxiliary_loss(self, state: PassT) -> Tensor | None:
        """The sum of the losses that the layers of this pass added, or None.

        Args:
            state: Of this pass.
        """
        return torch.stack(state.losses).sum() if state.losses else None

    def loss(self, network: Predicts, batch: Batch, task: Task) -> dict[str, Tensor]:
        """What a training step descends: the sum of these terms.

        A method may make several passes here: a complete one (see ``needs_complete``) and a masked one, for example.

        Args:
            network: The network that the method is part of.
            batch: As the loader gives it.
            task: What the labels are.

        Returns:
            Name to scalar; ``loss`` is the task's own, the others are logged under their names.
        """
        return step_terms(network, batch, task)

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        """Weights of a tower in whose place the method has its own, so that ``train_backbone`` leaves them out.

        Args:
            backbone: The tower.
        """
        return ()

    def routers(self) -> list[nn.Module]:
        """The modules that decide which experts are used, for the parameter report."""
        return []


@dataclass(frozen=True)
class Towers:
    """The frozen towers that a method is added to.

    Attributes:
        backbones: Name to tower.
        members: Tower to the numbers of the modalities that go through it.
        modalities: M of the network, those of all towers together.
    """

    backbones: Mapping[str, Backbone]
    members: Mapping[str, Sequence[int]]
    modalities: int

    @property
    def only(self) -> Backbone:
        """The tower of a method that is made for one.

        Raises:
            ValueError: There are several.
        """
        (backbone,) = self.backbones.values()
        return backbone

    def each(self) -> Iterator["Towers"]:
        """Every tower by itself; M stays that of the network."""
        for name, backbone in self.backbones.items():
            yield Towers({name: backbone}, {name: self.members[name]}, self.modalities)


@dataclass(frozen=True)
class NoOptions:
    """Of a method that reads no settings."""


@dataclass(frozen=True)
class MethodEntry:
    """One method that ``method=`` can name.

    Attributes:
        make: Makes it from ``Towers`` and an instance of ``settings``.
        settings: The dataclass of the settings that it reads, with the method's own defaults.
        summary: One line for ``python run.py methods``.
        source: Where the method comes from.
        fixed: Fields of ``settings`` that no option of a run sets.
        together: Whether one instance serves all towers; otherwise ``make`` gets them one by one.
    """

    make: Callable[[Towers, Any], Method[Any]]
    settings: type
    summary: str
    source: str
    fixed: tuple[str, ...] = ()
    together: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the settings; they are stored with a checkpoint."""
        return tuple(f.name for f in fields(self.settings) if f.name not in self.fixed)

    def resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The method's settings among ``values``, its own default where one is None or not there.

        Args:
            values: Option to value.

        Raises:
            MamolError: Settings that do not fit each other.
        """
        chosen = self.settings(**{name: values[name] for name in self.options if values.get(name) is not None})
        return {name: getattr(chosen, name) for name in self.options}


METHODS: Registry[MethodEntry] = Registry("method")
"""What ``method=`` can name."""

MakeT = TypeVar("MakeT", bound=Callable[..., Method[Any]])


def method(
    name: str,
    *,
    summary: str,
    source: str,
    settings: type = NoOptions,
    fixed: tuple[str, ...] = (),
    together: bool = False,
) -> Callable[[MakeT], MakeT]:
    """Registers the decorated class, or a function that makes a method, under ``method=name``.

    Args:
        name: What ``method=`` calls it.
        summary: As of ``MethodEntry``, here and below.
        source: Where it comes from.
        settings: Its settings.
        fixed: Settings that are no options.
        together: Whether one instance serves all towers.

    Returns:
        The decorator; it gives the class back as it is.
    """

    def decorate(make: MakeT) -> MakeT:
        METHODS.add(name, MethodEntry(make, settings, summary, source, fixed, together))
        return make

    return decorate
