"""Kind ``released_vision_language``: the released image-text network, CLIP with adapters in both towers."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mamol.backbones.architectures import TextSpec
from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import text_transformer, vision_transformer
from mamol.backbones.text import TextTower
from mamol.core.backbone import Origin
from mamol.core.modality import IMAGE, Modality
from mamol.core.modality import TEXT as TEXTS
from mamol.core.spec import NetworkSpec
from mamol.core.streams import TEXT, VISUAL
from mamol.network.network import Network
from mamol.parity.golden import Golden
from mamol.parity.remote import adapter_options, adopt, side_by_side, visual_spec
from mamol.training.released_weights import to_our_names

PREFIX = "visual."
ENDS = {
    VISUAL: {"ln_post.weight": "norm.weight", "ln_post.bias": "norm.bias", "proj": "projection"},
    TEXT: {"ln_final.weight": "norm.weight", "ln_final.bias": "norm.bias"},
}
"""What the release trains of its towers, and the names of our copies."""


def tower_and_method(weights: Mapping[str, Tensor], tower: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sorts the weights of one tower of the release.

    Args:
        weights: All weights of the file, by the release's names.
        tower: ``VISUAL`` or ``TEXT``.

    Returns:
        The frozen ones and those of the method, by our names.
    """
    own = {
        name.removeprefix(PREFIX).replace("transformer.missing_proj", "missing_proj"): value
        for name, value in weights.items()
        if name.startswith(PREFIX) == (tower == VISUAL) and not name.startswith("head.")
    }
    frozen, method = to_our_names(own)
    return frozen, method | {f"end.{ours}": frozen[theirs] for theirs, ours in ENDS[tower].items()}


def text_spec(golden: Golden, state: Mapping[str, Tensor]) -> TextSpec:
    """The sizes of the file's text tower, with exact GELU.

    Args:
        golden: The file.
        state: The tower's weights.
    """
    sizes = golden.sizes
    return TextSpec(
        width=state["positional_embedding"].shape[1],
        layers=int(sizes["layers"]),
        heads=int(sizes["heads"]),
        context_length=int(sizes["context_length"]),
        vocab_size=int(sizes["vocab_size"]),
        quick_gelu=False,
    )


def released_network(golden: Golden) -> Network:
    """The network of a golden file, with its weights; text comes first, as in the release's missing code.

    Args:
        golden: A file of kind ``released_vision_language``.
    """
    sizes, weights = golden.sizes, golden.part("weights.")
    (visual, of_images), (text, of_texts) = (tower_and_method(weights, tower) for tower in (VISUAL, TEXT))
    visual_sizes = visual_spec(golden, visual, "embed_dim")
    images = VisualTower(vision_transformer(visual_sizes), Origin("golden"))
    images.load_weights(visual, Origin("golden"))
    texts = text_transformer(text_spec(golden, text), visual_sizes.output_dim)
    texts.load_state_dict(text)
    spec = NetworkSpec(
        backbone="golden",
        method="released",
        modalities=(Modality("text", TEXTS, int(sizes["context_length"])), Modality("image", IMAGE, 3)),
        classes=tuple(str(i) for i in range(len(weights["head.bias"]))),
        grid=visual_sizes.grid,
        method_options={
            **adapter_options(golden),
            "adapter_scale": float(sizes["adapter_scale"]),
            "train_end": True,
        },
        activation="gelu",
    )
    network = Network(spec, {VISUAL: images, TEXT: TextTower(texts, Origin("golden"))})
    methods = {VISUAL: of_images, TEXT: of_texts}
    adopt(network.method, {f"towers.{name}.{key}": v for name, state in methods.items() for key, v in state.items()})
    adopt(network.head, {name: weights[f"head.{name}"] for name in ("weight", "bias")})
    return network


def released_vision_language(golden: Golden) -> dict[str, Tensor]:
    """The stages of the released image-text network: features of both streams, then fused features and logits.

    The features of a stream are computed for all samples, also where it is absent, while the network is told each
    sample's missing code: the release encodes absent streams, too, before it zeroes them.

    Args:
        golden: A file of this kind.
    """
    network = released_network(golden)
    code = golden.tensors["input.missing_type"]
    batch = {
        "image": golden.tensors["input.image"],
        "text": golden.tensors["input.tokens"],
        "available": torch.stack([code != 1, code != 2], 1),
    }
    everything = {**batch, "available": torch.ones_like(batch["available"])}
    told = {
        name: replace(streams, available=batch["available"].float())
        for name, streams in network.streams(everything).items()
    }
    features, _ = network.features(everything, streams=told)
    return {
        "image_features": features["image"],
        "text_features": features["text"],
        "fused_features": side_by_side(network, batch),
        "logits": network(batch)[0],
    }
