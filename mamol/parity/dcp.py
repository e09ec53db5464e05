"""Kind ``released_dcp_remote``: the released DCP network for two modalities."""

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import vision_transformer
from mamol.core.backbone import Origin
from mamol.core.method import Towers
from mamol.core.streams import VISUAL, Streams
from mamol.methods.dcp import DCP, DCPOptions
from mamol.network.encoder import encode
from mamol.parity.golden import Golden
from mamol.parity.remote import adopt, visual_spec

LEARNER = "prompt_learner."
BLOCK = "visual.transformer.resblocks.0."  # has the dynamic prompts in the release
PATTERNS = ("image1", "image2", "complete")  # in the order of ``pattern_table``, of the common prompts
QUERIES = ("image", "text", "complete")  # the same of the dynamic ones
RENAMED = {
    rf"{LEARNER}layernorm_image(\d)\.(\d+)": r"learner.correlate.\2.projections.\1.0",
    rf"{LEARNER}compound_prompt_projections_image(\d)\.(\d+)": r"learner.correlate.\2.projections.\1.1",
    rf"{LEARNER}common_prompt_projection_image(\d)": r"learner.to_modality.projections.\1",
    rf"{re.escape(BLOCK)}attn_prompt": "look.visual",
    r"visual\.ln_post": "end.visual.norm",
    r"visual\.proj": "end.visual.projection",
}
"""The release's names to ours; it counts the modalities from 1, we from 0."""


def our_name(name: str) -> str:
    """Our name of a weight; a name that is not in ``RENAMED`` stays as it is.

    Args:
        name: The release's name.
    """
    for theirs, ours in RENAMED.items():
        if re.match(theirs, name):
            renamed = re.sub(rf"^{theirs}", ours, name)
            return re.sub(r"projections\.(\d)", lambda m: f"projections.{int(m[1]) - 1}", renamed)
    return name


def method_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of DCP by our names.

    Args:
        weights: All weights of the file, by the release's names.
    """
    state = {our_name(name): value for name, value in weights.items() if our_name(name) != name}
    base = {
        f"learner.base.{i}": torch.stack(
            [weights[f"{LEARNER}visual{i + 1}_prompt_{has}"] for has in ("missing", "complete")]
        )
        for i in range(2)
    }
    return state | {
        **base,
        "learner.common": torch.stack([weights[f"{LEARNER}common_prompt_{name}"] for name in PATTERNS]),
        "queries.visual": torch.stack([weights[f"{BLOCK}prompts_dynamic_{name}"].squeeze(1) for name in QUERIES]),
    }


def frozen_state(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the tower, without what DCP keeps in its first block.

    Args:
        weights: All weights of the file, by the release's names.
    """
    own = {name: value for name, value in weights.items() if "prompt" not in name}
    return {name.removeprefix("visual."): value for name, value in own.items()}


def released_dcp_remote(golden: Golden) -> dict[str, Tensor]:
    """The stages of the released DCP network: prompts of every layer, then the features, of both streams.

    Absent streams are encoded, too, as the release does before it zeroes them.

    Args:
        golden: A file of this kind.
    """
    weights, sizes = golden.part("weights."), golden.sizes
    frozen = frozen_state(weights)
    tower = VisualTower(vision_transformer(replace(visual_spec(golden, frozen), quick_gelu=True)), Origin("golden"))
    tower.load_weights(frozen, Origin("golden"))
    options = DCPOptions(int(sizes["prompt_length"]), int(sizes["prompt_depth"]))
    method = DCP(Towers({VISUAL: tower}, {VISUAL: range(2)}, 2), options)
    adopt(method, method_state(weights))
    code = golden.tensors["input.pattern_code"]
    available = torch.stack([code != 2, code != 1], 1).float()
    stages: dict[str, Tensor] = {}
    for i in range(2):
        streams = Streams(available, torch.arange(len(code)), torch.full_like(code, i))
        stages[f"features_{i + 1}"] = encode(tower, golden.tensors[f"input.tokens_{i + 1}"], method, streams).features
        state = method.begin(streams)
        for layer in range(options.prompt_depth):
            stages[f"prompts_{i + 1}.layer{layer}"] = method.prompts(layer, state)
    return stages
