"""What timm's two kinds of vision transformers share: MLPs in parts, the attention of a block, the frozen tower."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from timm.data import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from timm.layers import GluMlp, Mlp, SwiGLU
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.attention import Prefix, attend
from mamol.core.backbone import MLP, Backbone, Block, Origin
from mamol.core.streams import VISUAL

if TYPE_CHECKING:
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

Model: TypeAlias = "VisionTransformer | Eva"
Images = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of the images that a model was trained with, per colour."""


class PlainMLP(MLP):
    """``γ · fc2(norm(act(fc1(z))))``; holds timm's modules themselves. Nothing is dropped.

    Attributes:
        scale: (width,) γ of timm's LayerScale; None without.
    """

    def __init__(self, parts: Any, scale: nn.Parameter | None) -> None:  # noqa: ANN401 - any of timm's MLPs
        """Takes the parts of a block's ``mlp``.

        Args:
            parts: timm's.
            scale: As the attribute.
        """
        super().__init__()
        first: list[nn.Linear] = [getattr(parts, name) for name in ("fc1", "fc1_g", "fc1_x") if hasattr(parts, name)]
        self.first = nn.ModuleList(first)
        self.act: nn.Module = parts.act
        self.norm: nn.Module = parts.norm
        self.fc2: nn.Linear = parts.fc2
        self.scale = scale
        self.width, self.inner = self.fc2.out_features, self.fc2.in_features
        self.expanded = sum(each.out_features for each in first)

    def expand(self, z: Tensor) -> Tensor:
        """``fc1``; side by side where it is two maps."""
        maps: list[Tensor] = [each(z) for each in self.first]
        return maps[0] if len(maps) == 1 else torch.cat(maps, -1)

    def activate(self, hidden: Tensor) -> Tensor:
        """The activation, and a norm where there is one."""
        activated: Tensor = self.norm(self.act(hidden))
        return activated

    def contract(self, hidden: Tensor) -> Tensor:
        """``fc2`` and γ."""
        out: Tensor = self.fc2(hidden)
        return out if self.scale is None else self.scale * out


class GatedMLP(PlainMLP):
    """``γ · fc2(norm(act(a) · b))`` with a and b the halves of ``fc1(z)``: SwiGLU."""

    def activate(self, hidden: Tensor) -> Tensor:
        """The activation of the first half times the second, and a norm where there is one."""
        gate, value = hidden.chunk(2, -1)
        activated: Tensor = self.norm(self.act(gate) * value)
        return activated


MLPS: dict[type[nn.Module], type[PlainMLP]] = {Mlp: PlainMLP, GluMlp: GatedMLP, SwiGLU: GatedMLP}
"""timm's MLP to its parts."""


class TimmBlock(Block):
    """A view of a block of timm's; its weights stay where they are.

    Attributes:
        block: timm's.
        scale: (width,) γ of the LayerScale behind the attention; None without.
    """

    def __init__(
        self,
        block: Any,  # noqa: ANN401 - timm's classes have the parts alone in common
        scales: tuple[nn.Parameter | None, nn.Parameter | None],
    ) -> None:
        """Takes a block.

        Args:
            block: timm's.
            scales: γ behind the attention, and behind the MLP.
        """
        self.block = block
        self.scale = scales[0]
        self.feed_forward = MLPS[type(self.block.mlp)](self.block.mlp, scales[1])

    def norm_attention(self, x: Tensor) -> Tensor:
        """The first norm."""
        normed: Tensor = self.block.norm1(x)
        return normed

    def norm_mlp(self, x: Tensor) -> Tensor:
        """The second norm."""
        normed: Tensor = self.block.norm2(x)
        return normed

    @abstractmethod
    def stacked(self) -> tuple[Tensor, Tensor | None]:
        """The map to queries, keys and values, one below the other: (3·width, width), and its bias."""

    @abstractmethod
    def placed(self, x: Tensor, prompts: int) -> Tensor:
        """What positions make of queries or keys.

        Args:
            x: (N, T, heads, width of a head).
            prompts: How many of the T tokens are a method's, in front; they have no position.
        """

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
        """The attention; a query of its own is the class token, which has no position to turn it by."""
        own, (weight, bias) = self.block.attn, self.stacked()
        if query is context:
            q, k, v = functional.linear(context, weight, bias).chunk(3, -1)
        else:
            wide = len(weight) // 3
            q = functional.linear(query, weight[:wide], bias if bias is None else bias[:wide])
            k, v = functional.linear(context, weight[wide:], bias if bias is None else bias[wide:]).chunk(2, -1)
        heads = own.num_heads
        q, k = own.q_norm(q.unflatten(-1, (heads, -1))), own.k_norm(k.unflatten(-1, (heads, -1)))
        q, k = self.placed(q, prompts) if query is context else q, self.placed(k, prompts)
        q, k = (x.flatten(2).to(v.dtype) for x in (q, k))
        mixed: Tensor = own.proj(own.norm(attend(q, k, v, heads, prefix, mask, causal=causal)))
        return mixed if self.scale is None else self.scale * mixed

    def parameters(self) -> Iterator[nn.Parameter]:
        """All of timm's block."""
        return cast(Iterator[nn.Parameter], self.block.parameters())


class TimmTower(Backbone):
    """The frozen tower, for windows and for images.

    Attributes:
        model: timm's, with positions of the grid at hand and without what stands behind its last norm.
        grid: Tokens per side of a window or image.
    """

    name = VISUAL
    contrast: Tensor
    brightness: Tensor
    identity: Tensor

    def __init__(self, model: Model, blocks: Sequence[Block], origin: Origin, images: Images) -> None:
        """Freezes a model.

        Args:
            model: timm's, weights loaded, ``set_input_size`` called.
            blocks: Views of its blocks.
            origin: Where the weights come from.
            images: Mean and standard deviation that it was trained with.
        """
        super().__init__(model, origin)
        self.model = model
        self.blocks = tuple(blocks)
        self.width = self.output_dim = model.embed_dim
        self.front, self.class_token = model.num_prefix_tokens, model.cls_token is not None
        self.patch, self.grid = model.patch_embed.patch_size[0], model.patch_embed.grid_size[0]
        mean, std, its_mean, its_std = (
            torch.tensor(each)[:, None, None] for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, *images)
        )
        self.register_buffer("contrast", std / its_std, persistent=False)
        self.register_buffer("brightness", (mean - its_mean) / its_std, persistent=False)
        self.register_buffer("identity", torch.eye(self.width), persistent=False)

    @property
    def last_norm(self) -> nn.LayerNorm:
        """``norm``."""
        return cast(nn.LayerNorm, self.model.norm)

    @property
    def projection(self) -> Tensor:
        """None was trained: a feature is what leaves the norm."""
        return self.identity

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, 3, S, S), CLIP's normalisation, to tokens (N, grid², width); the model sees them as its own."""
        patches = self.model.patch_embed
        tokens: Tensor = patches.proj(x * self.contrast + self.brightness).flatten(2).transpose(1, 2)
        normed: Tensor = patches.norm(tokens)
        return normed

    def of_embed(self) -> Iterator[nn.Parameter]:
        """Those of the patches."""
        yield from self.model.patch_embed.parameters()

    def begin(self, tokens: Tensor) -> Tensor:
        """Class token and registers in front, positions added where the model adds some, and a norm where it has one.

        Every one of the S grids of a sequence gets the same positions: one pixel, one position.
        """
        model, count = self.model, self.grid**2
        own: list[Tensor] = [each for each in (model.cls_token, model.reg_token) if each is not None]
        front = torch.cat(own, 1) if own else tokens.new_zeros(1, 0, self.width)
        if model.pos_embed is not None:
            positions = model.pos_embed
            tokens = (tokens.unflatten(1, (-1, count)) + positions[:, None, -count:]).flatten(1, 2)
            if positions.shape[1] > count:
                front = front + positions[:, :-count]
        entering: Tensor = model.norm_pre(torch.cat([front.expand(len(tokens), -1, -1), tokens], 1))
        return entering
