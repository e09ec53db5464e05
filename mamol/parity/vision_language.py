"""Kind ``released_vision_language``: the released image-text network, CLIP with adapters in both towers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mamol.models.architectures import TextSpec
from mamol.models.clip import VisualTower, vision_transformer
from mamol.models.network import Network, NetworkSpec
from mamol.models.text import TextTower, text_transformer
from mamol.models.tower import TEXT, VISUAL
from mamol.parity.golden import Golden
from mamol.parity.remote import adapter_options, adopt, visual_spec
from mamol.training.released_checkpoint import to_our_names

PREFIX = "visual."
ENDS = {
    VISUAL: {"ln_post.weight": "norm.weight", "ln_post.bias": "norm.bias", "proj": "projection"},
    TEXT: {"ln_final.weight": "norm.weight", "ln_final.bias": "norm.bias"},
}
"""What the release trains of its towers, and the names of our copies."""


def tower_and_method(weights: Mapping[str, Tensor], tower: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sorts the weights of one tower of the release into the frozen ones and those of the method, by our names."""
    own = {
        name.removeprefix(PREFIX).replace("transformer.missing_proj", "missing_proj"): value
        for name, value in weights.items()
        if name.startswith(PREFIX) == (tower == VISUAL) and not name.startswith("head.")
    }
    frozen, method = to_our_names(own)
    return frozen, method | {f"end.{ours}": frozen[theirs] for theirs, ours in ENDS[tower].items()}


def text_spec(golden: Golden, state: Mapping[str, Tensor]) -> TextSpec:
    """The sizes of the file's text tower, exact GELU."""
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
    """The network of such a file, with its weights; text comes first, as in the release's missing code."""
    sizes, weights = golden.sizes, golden.part("weights.")
    (visual, of_images), (text, of_texts) = (tower_and_method(weights, tower) for tower in (VISUAL, TEXT))
    visual_sizes = visual_spec(golden, visual, "embed_dim")
    images = VisualTower(vision_transformer(visual_sizes), "golden")
    images.load_weights(visual, "golden")
    texts = text_transformer(text_spec(golden, text), visual_sizes.output_dim)
    texts.load_state_dict(text)
    spec = NetworkSpec(
        backbone="golden",
        method="released",
        modalities={"text": int(sizes["context_length"]), "image": 3},
        classes=[str(i) for i in range(len(weights["head.bias"]))],
        patch_size=visual_sizes.grid,
        method_options={
            **adapter_options(golden),
            "adapter_scale": float(sizes["adapter_scale"]),
            "train_end": True,
        },
        activation="gelu",
        inputs={"image": "image", "text": "text"},
    )
    network = Network(spec, images, text=TextTower(texts, "golden"))
    methods = {VISUAL: of_images, TEXT: of_texts}
    adopt(network.method, {f"towers.{name}.{key}": v for name, state in methods.items() for key, v in state.items()})
    adopt(network.head, {name: weights[f"head.{name}"] for name in ("weight", "bias")})
    return network


def released_vision_language(golden: Golden) -> dict[str, Tensor]:
    """The stages of the released image-text network: features, absent streams too, then what the network gives.

    Each of the features is that of a network to which both modalities are there but which is told the sample's missing
    code, as in the release, which encodes absent streams before it zeroes them.
    """
    network = released_network(golden)
    code = golden.tensors["input.missing_type"]
    batch = {
        "image": golden.tensors["input.image"],
        "text": golden.tensors["input.tokens"],
        "available": torch.stack([code != 1, code != 2], 1),
    }
    everything = {**batch, "available": torch.ones_like(batch["available"])}
    contexts = network.contexts(everything)
    for context in contexts.values():
        context.available = batch["available"].float()
    images, texts = network.features(everything, contexts).chunk(2, 1)
    return {
        "image_features": images,
        "text_features": texts,
        "fused_features": network.features(batch),
        "logits": network(batch)[0],
    }
