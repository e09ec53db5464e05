"""MMP, missing-aware prompts (Lee et al. 2023, arXiv 2303.03369): prompts that the missing pattern picks.

Per pattern p and layer l < depth a tensor ``P_p[l]`` of L prompts. *Input level*: ``x <- [P_p[l]; x]`` before block
l, so prompts accumulate. *Attention level*: the first half of ``P_p[l]`` are extra keys, the second half extra values
of block l, without its projections; the number of tokens stays.

The source has one ViLT for image and text. Here every stream goes through its CLIP tower with the prompts of
its sample's pattern, of which there are 2^M - 1 (its three for M = 2), and the class token is read where it stands
behind the prompts. Left out: its pooler and two-layer head (every method has the same linear head), and its initial
values, zeros but for one row of ones. There is no position on a prompt, and no dropout here, so equal rows would get
equal gradients and stay equal: of 16 prompts two would be distinct. Here they are normal with standard deviation 0.02.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamol.core.attention import Prefix
from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass, Towers, method
from mamol.methods.patterns import pattern_index

INITIAL_STD = 0.02


@dataclass(frozen=True)
class MMPOptions:
    """The source's choices are the defaults.

    Attributes:
        prompt_length: L, prompts per pattern and layer; on attention level, half of them keys, half values.
        prompt_depth: How many layers, from the first on, have prompts.
        prompt_type: ``input`` or ``attention``.
    """

    prompt_length: int = 16
    prompt_depth: int = 6
    prompt_type: str = "input"

    def __post_init__(self) -> None:
        """Checks that keys and values are equally many.

        Raises:
            MamolError: They are not.
        """
        if self.prompt_type == "attention" and self.prompt_length % 2:
            raise MamolError(
                f"prompt_length={self.prompt_length} must be even for method=mmp with prompt_type=attention: "
                "one half are keys, the other values"
            )


@method(
    "mmp",
    summary="prompts picked by the missing pattern, as tokens or as keys and values",
    source="Lee et al. 2023, arXiv 2303.03369",
    settings=MMPOptions,
)
class MMP(Method[Pass]):
    """The prompts of all patterns.

    Attributes:
        prompts: (2^M - 1, depth, L, width).
    """

    def __init__(self, towers: Towers, options: MMPOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says width, number of blocks and M.
            options: Number, depth and kind of the prompts.

        Raises:
            MamolError: More layers with prompts than blocks.
        """
        super().__init__()
        tower = towers.only
        check_depth(options.prompt_depth, len(tower.blocks))
        self.options = options
        shape = (2**towers.modalities - 1, options.prompt_depth, options.prompt_length, tower.width)
        self.prompts = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.prompts, std=INITIAL_STD)

    def before_block(self, layer: int, x: Tensor, state: Pass) -> Tensor:
        """Input level: the prompts of ``layer`` in front of all tokens."""
        if self.options.prompt_type != "input" or layer >= self.options.prompt_depth:
            return x
        return torch.cat([self._prompts(layer, state).to(x.dtype), x], 1)

    def attention_prefix(self, layer: int, state: Pass) -> Prefix | None:
        """Attention level: the prompts of ``layer`` as keys and values, (N, L/2, width) each."""
        if self.options.prompt_type != "attention" or layer >= self.options.prompt_depth:
            return None
        keys, values = self._prompts(layer, state).chunk(2, 1)
        return keys, values

    def _prompts(self, layer: int, state: Pass) -> Tensor:
        return self.prompts[pattern_index(state.streams.available), layer]


def check_depth(depth: int, blocks: int) -> None:
    """Refuses prompts for layers that are not there.

    Args:
        depth: ``prompt_depth``.
        blocks: How many blocks the tower has.

    Raises:
        MamolError: ``depth`` is larger than ``blocks``.
    """
    if depth > blocks:
        raise MamolError(f"prompt_depth={depth}: the tower has {blocks} blocks; give at most as many")
