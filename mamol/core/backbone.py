"""What the encoder needs of a frozen transformer: a beginning, blocks, an end; and how ``backbone=`` finds one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mamol.core.attention import Prefix
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint
from mamol.core.modality import Modality
from mamol.core.registry import Instances
from mamol.core.streams import Streams

RANDOM = "random"
"""``clip_weights=random``: frozen weights that were drawn and never trained."""
ACTIVATIONS = ("auto", "quickgelu", "gelu")
"""Of the frozen MLPs; ``auto`` is the one that the weights were trained with."""


class MLP(nn.Module, ABC):
    """A block's feed-forward part in parts, so that adapters reach inside: ``contract(activate(expand(z)))``.

    Attributes:
        width: Of its input and output.
        expanded: Of what ``expand`` gives.
        inner: Of what ``activate`` gives and ``contract`` takes; half of ``expanded`` in a gated MLP.
    """

    width: int
    expanded: int
    inner: int

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, z: Tensor) -> Tensor:
            """As ``forward``."""

    @abstractmethod
    def expand(self, z: Tensor) -> Tensor:
        """The first linear map.

        Args:
            z: (…, width).

        Returns:
            (…, expanded).
        """

    @abstractmethod
    def activate(self, hidden: Tensor) -> Tensor:
        """What stands between the linear maps.

        Args:
            hidden: (…, expanded), of ``expand``.

        Returns:
            (…, inner).
        """

    @abstractmethod
    def contract(self, hidden: Tensor) -> Tensor:
        """The last linear map, and what scales the residual, if anything does.

        Args:
            hidden: (…, inner), of ``activate``.

        Returns:
            (…, width).
        """

    def absorb(self, down: Tensor, up: Tensor) -> None:
        """Makes ``up @ down @ z`` part of it: 2R more hidden units, as ``gelu(x) - gelu(-x) = x``.

        Args:
            down: (R, width).
            up: (width, R).

        Raises:
            MamolError: It has no hidden units of that kind, which a gated MLP and a mixture of experts have not.
        """
        raise MamolError(
            f"{type(self).__name__}: this MLP of the backbone cannot be given more hidden units; merge takes runs "
            "around a CLIP or ViLT"
        )

    def forward(self, z: Tensor) -> Tensor:
        """All of it.

        Args:
            z: (…, width).

        Returns:
            (…, width).
        """
        return self.contract(self.activate(self.expand(z)))


class Block(ABC):
    """A residual block: ``x + attend(norm_attention(x))``, then ``x + mlp(norm_mlp(x))``.

    Attributes:
        feed_forward: Its MLP.
    """

    feed_forward: MLP

    @abstractmethod
    def norm_attention(self, x: Tensor) -> Tensor:
        """The norm in front of the attention.

        Args:
            x: (N, T, width) tokens.
        """

    @abstractmethod
    def attend(
        self,
        query: Tensor,
        context: Tensor,
        *,
        prefix: Prefix | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        prompts: int = 0,
    ) -> Tensor:
        """The attention, without the residual.

        Args:
            query: (N, Q, width): ``context`` itself, or the one token of each stream that is read.
            context: (N, T, width), keys and values.
            prefix: Keys and values in front of those of the context, used without the block's projections.
            mask: (N, T) bool, False at tokens that nothing attends to.
            causal: Whether a token attends only to itself, to those before it and to the prefix.
            prompts: How many tokens in front of the context are a method's and have no position; what turns queries and
                keys by their positions leaves them alone.

        Returns:
            (N, Q, width).
        """

    @abstractmethod
    def norm_mlp(self, x: Tensor) -> Tensor:
        """The norm in front of the feed-forward part.

        Args:
            x: (N, T, width) tokens.
        """

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights of norms, attention and MLP; a block that is an ``nn.Module`` has this already."""

    def mlp(self, streams: Streams) -> MLP:
        """The MLP for these streams; most do not look at them, a pre-trained mixture does.

        Args:
            streams: What goes through the block.
        """
        return self.feed_forward


@dataclass(frozen=True)
class Origin:
    """Where frozen weights come from.

    Attributes:
        source: In words: a file, or ``random (seed 0)``.
        random: Whether they were never trained, so that results mean nothing as those of a trained backbone.
        seen: sha256 of the raw files that they were trained on, as far as that is known.
    """

    source: str
    random: bool = False
    seen: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The source."""
        return self.source


def chosen_blocks(wanted: str | Sequence[int], blocks: int, option: str = "expert_blocks") -> list[int]:
    """The block numbers behind an option.

    Args:
        wanted: ``first6``, ``last2`` … or a list of block numbers from 0.
        blocks: How many blocks the tower has.
        option: Its name, for the message.

    Returns:
        Sorted block numbers.

    Raises:
        MamolError: A number is outside the tower, or no block is chosen.
    """
    if isinstance(wanted, str):
        word, count = ("first", wanted[5:]) if wanted.startswith("first") else ("last", wanted[4:])
        n = int(count)
        chosen = list(range(n)) if word == "first" else list(range(blocks - n, blocks))
    else:
        wanted = chosen = sorted(wanted)
    if not chosen or chosen[0] < 0 or chosen[-1] >= blocks:
        raise MamolError(f"{option}={wanted!r}: the tower has the blocks 0 to {blocks - 1}; choose among them")
    return chosen


class Backbone(nn.Module, ABC):
    """A transformer, frozen but for what ``train_backbone`` says.

    Attributes:
        name: The tower that it is in a network, ``visual`` or ``text``.
        causal: Whether a token attends only to itself and to those before it.
        front: How many tokens ``begin`` puts in front of the embedded ones: class token, registers.
        class_token: Whether one token stands for a stream: the first, or the end of a text. If none does, the mean of
            the features of the embedded tokens takes its place.
        patch: Side of the image patch that ``embed`` turns into one token, in pixels; 0 where it takes no images.
        modality_type: (width,), where the type embeddings of modalities begin; None for weights without (CLIP).
        width: Token width d.
        output_dim: Width of the feature that leaves it.
        blocks: The blocks, in order.
        origin: Where the weights come from.
        fingerprint: sha256 of the frozen weights; where some are trained, of those that it began with.
    """

    name: str
    causal: bool = False
    front: int = 1
    class_token: bool = True
    patch: int = 0
    modality_type: Tensor | None = None
    width: int
    output_dim: int
    blocks: Sequence[Block]

    def __init__(self, frozen: nn.Module, origin: Origin) -> None:
        """Freezes a module.

        Args:
            frozen: It holds all weights.
            origin: Where they come from.
        """
        super().__init__()
        frozen.requires_grad_(False).eval()
        self.origin = origin
        self.fingerprint = fingerprint(frozen.state_dict())

    @property
    @abstractmethod
    def last_norm(self) -> nn.LayerNorm:
        """The norm of what leaves the blocks."""

    @property
    @abstractmethod
    def projection(self) -> Tensor:
        """(width, output_dim), what makes the feature of it."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Its own embedding.

        Args:
            x: (N, 3, S, S) images or (N, T) token numbers.

        Returns:
            (N, T, width) tokens.
        """

    @abstractmethod
    def begin(self, tokens: Tensor) -> Tensor:
        """From embedded tokens to what enters the first block.

        Args:
            tokens: (N, T, width).

        Returns:
            (N, front + T, width).
        """

    def embedding_of(self, modality: Modality) -> Mapping[str, Tensor]:
        """Where the embedding of a modality begins, if the tower was trained with it; otherwise it is drawn.

        Args:
            modality: Name and size.

        Returns:
            Weights by the names of the embedding; most towers have none.
        """
        return {}

    def of_embed(self) -> Iterator[nn.Parameter]:
        """Weights that ``embed`` alone uses; they always stay frozen."""
        return iter(())

    def trained(self, wanted: bool | str) -> list[nn.Parameter]:
        """The weights that ``train_backbone`` means.

        Args:
            wanted: True: all but those of ``embed``; ``last<n>``: those of the last n blocks and the last norm.

        Raises:
            MamolError: There are fewer blocks, or none is meant.
        """
        if isinstance(wanted, str):
            numbers = chosen_blocks(wanted, len(self.blocks), "train_backbone")
            return [*(weight for n in numbers for weight in self.blocks[n].parameters()), *self.last_norm.parameters()]
        frozen = {id(weight) for weight in self.of_embed()}
        return [weight for weight in self.parameters() if wanted and id(weight) not in frozen]

    def finish(self, x: Tensor) -> Tensor:
        """Last norm and projection of the tokens that are read.

        Args:
            x: (…, width).

        Returns:
            (…, output_dim).
        """
        feature: Tensor = self.last_norm(x) @ self.projection
        return feature

    def train(self, mode: bool = True) -> "Backbone":
        """Stays in evaluation mode, as it was frozen; where weights are trained, nothing is dropped, either."""
        return super().train(False)


@dataclass(frozen=True)
class BackboneRequest:
    """Which backbone is wanted.

    Attributes:
        name: ``backbone=``.
        weights: ``clip_weights=``: ``openai``, a path, or ``random``.
        activation: One of ``ACTIVATIONS``.
        seed: Of random weights.
    """

    name: str
    weights: str
    activation: str = "auto"
    seed: int = 0


class BackboneFamily(ABC):
    """A kind of backbones that ``backbone=`` can name.

    Attributes:
        summary: One line for lists.
    """

    summary: str

    @abstractmethod
    def claims(self, name: str, weights: str) -> bool:
        """Whether ``backbone=name clip_weights=weights`` means one of this family.

        Args:
            name: ``backbone=``.
            weights: ``clip_weights=``; empty where the name alone is asked about.
        """

    @abstractmethod
    def visual(self, request: BackboneRequest, grid: int) -> Backbone:
        """The visual tower.

        Args:
            request: Which.
            grid: Tokens per side; windows of this side enter it, one token per pixel.

        Raises:
            MamolError: Weights that are not there, not readable or of another architecture.
        """

    def text(self, request: BackboneRequest) -> Backbone:
        """The text tower.

        Args:
            request: Which.

        Raises:
            MamolError: The family has none, or its weights cannot be had.
        """
        raise MamolError(f"backbone={request.name} has no text tower; texts need a CLIP, such as ViT-B-16-quickgelu")

    def image_grid(self, name: str, image_size: int | None) -> int:
        """Tokens per side of an image.

        Args:
            name: ``backbone=``.
            image_size: Side in pixels that the user asks for; None is the one that the backbone was trained with.

        Raises:
            MamolError: The family takes no images, or the side does not fit its patches.
        """
        raise MamolError(f"backbone={name} takes no images; images need a CLIP, such as ViT-B-16-quickgelu")

    def known(self) -> Sequence[str]:
        """The names that it claims, for messages; none where they are without end."""
        return ()


BACKBONES: Instances[BackboneFamily] = Instances("backbone family")
"""Families by name; the first that claims a ``backbone=`` has it, the latest registered first."""


def family_of(name: str, weights: str = "") -> BackboneFamily:
    """The family that a ``backbone=`` belongs to.

    Args:
        name: ``backbone=``.
        weights: ``clip_weights=``.

    Raises:
        MamolError: No family claims it.
    """
    for key in reversed(list(BACKBONES)):
        if BACKBONES[key].claims(name, weights):
            return BACKBONES[key]
    known = [each for family in BACKBONES.values() for each in family.known()]
    raise MamolError(f"backbone={name}: unknown; allowed: {', '.join(known)}")
