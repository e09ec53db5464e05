"""Weights of the authors' released two-modality code (github Jiahuiqu/mamol, commit 6d7dd48) in this program's names.

Its Lightning ``.ckpt`` holds everything, the frozen tower too, under ``embedding_layer.``, ``model.image_encoder.`` and
``remote_classifier.``. It does not say how many experts a token uses, which classes or bands it knows by name, or what
it was trained on: those come from the settings (``with released``) and the table.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mamol.backbones.clip import VisualTower
from mamol.core.backbone import Origin
from mamol.core.errors import MamolError
from mamol.core.network import AnyNetwork
from mamol.network.network import Network

TOWER = "model.image_encoder."
STREAMS = ("HS", "LIDAR")  # its names of the first and the second modality; for Augsburg, LIDAR holds the SAR
_RENAMED = {
    f"embedding_layer.conv_{stream}{conv}.weight": f"embedding.{i}.project.{j}.weight"
    for i, stream in enumerate(STREAMS)
    for j, conv in enumerate(("", "_2"))
} | {f"remote_classifier.{name}": f"head.{name}" for name in ("weight", "bias")}
_LINEARS = {"router.0": "router.hidden", "router.2": "router.out", "out_proj": "out"}
_EXPERT = re.compile(r"transformer\.resblocks\.(\d+)\.mamol\.([AB])_(dyn|stat)\.(\d+)")
_LINEAR = re.compile(rf"transformer\.resblocks\.(\d+)\.mamol\.({'|'.join(map(re.escape, _LINEARS))})\.(weight|bias)")


def is_released(content: Mapping[str, Any]) -> bool:
    """Whether an unpickled ``.ckpt`` is one of the released two-modality code.

    Args:
        content: Its dictionary.
    """
    state = content.get("state_dict")
    return isinstance(state, Mapping) and f"{TOWER}missing_proj.weight" in state


def to_our_names(visual: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sorts the released visual transformer into frozen tower and adapter.

    Args:
        visual: Parameters of the transformer, without any prefix: OpenAI's names, ``missing_proj`` and
            ``transformer.resblocks.N.mamol.*``.

    Returns:
        State dicts of ``VisualTower.visual`` and of ``mamol.methods.released.Released``.
    """
    tower, method = {}, {}
    stacks: dict[str, dict[tuple[str, int], Tensor]] = {}
    for name, value in visual.items():
        if expert := _EXPERT.fullmatch(name):
            block, side, kind, number = expert.groups()
            stack = f"layers.{block}.experts.{'down' if side == 'A' else 'up'}"
            stacks.setdefault(stack, {})[kind, int(number)] = value.T
        elif linear := _LINEAR.fullmatch(name):
            block, part, leaf = linear.groups()
            method[f"layers.{block}.{_LINEARS[part]}.{leaf}"] = value
        elif name.startswith("missing_proj."):
            method[name.replace("missing_proj", "pattern_embedding", 1)] = value
        else:
            tower[name] = value
    for name, experts in stacks.items():
        # (z A) B with A (width, rank): ours are the transposes, the dynamic experts first.
        ordered = [experts[key] for key in sorted(experts)]
        method[name] = torch.cat(ordered, dim=0 if name.endswith("down") else 1).contiguous()
    return tower, method


def head_and_embedding(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``embedding_layer.*`` and ``remote_classifier.*`` by our full names.

    The release does not normalise, so the embeddings' statistics become 0 and 1.

    Args:
        weights: By the release's full names; other names stay as they are.
    """
    state = {_RENAMED.get(name, name): value for name, value in weights.items()}
    for i in range(len(STREAMS)):
        first = state.get(f"embedding.{i}.project.0.weight")
        if first is not None:
            state[f"embedding.{i}.mean"] = first.new_zeros(first.shape[1], 1, 1)
            state[f"embedding.{i}.std"] = first.new_ones(first.shape[1], 1, 1)
    return state


def load_released(network: AnyNetwork, weights: Mapping[str, Tensor], source: str) -> None:
    """Loads a released checkpoint, and uses its frozen weights as the tower, whatever ``clip_weights`` gave.

    Args:
        network: Built ``with released`` for two modalities, HSI first.
        weights: The ``state_dict`` of the file.
        source: The file, for messages and as the tower's origin.

    Raises:
        MamolError: It is another network, of another method or activation, or has other modalities, blocks or sizes.
    """
    spec = network.spec
    names = list(spec.names)
    if not isinstance(network, Network):
        raise MamolError(
            f"{source} is a checkpoint of the released code, but network={spec.network}: leave that out and add the "
            "named config released"
        )
    if (spec.method, spec.activation) != ("released", "gelu"):
        raise MamolError(
            f"{source} is a checkpoint of the released code, but method={spec.method} and "
            f"activation={spec.activation}: add the named config released"
        )
    if len(names) != 2 or names[0] != "hsi":
        raise MamolError(
            f"{source} is a checkpoint of the released code for hsi and one other modality, but modalities={names}; "
            "choose them, as in modalities=hsi,lidar"
        )
    visual = {name.removeprefix(TOWER): value for name, value in weights.items() if name.startswith(TOWER)}
    rest = {name: value for name, value in weights.items() if not name.startswith(TOWER)}
    tower, method = to_our_names(visual)
    own = {f"method.{name}": value for name, value in method.items()} | head_and_embedding(rest)
    network.load_trainable_state({**network.trained_weights(), **own})  # those of the tower come next
    visual_tower = network.tower
    if not isinstance(visual_tower, VisualTower):
        raise MamolError(f"{source} holds a CLIP tower, and backbone={spec.backbone} is none; use ViT-B-16-quickgelu")
    visual_tower.load_weights(tower, Origin(source))
