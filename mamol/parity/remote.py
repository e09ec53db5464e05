"""Kind ``released_remote``: the released two-modality network with its own adapter."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamol.errors import MamolError
from mamol.methods.base import Context, FeedForward, Method
from mamol.models.architectures import TowerSpec
from mamol.models.clip import VisualTower, vision_transformer
from mamol.models.encoder import encode
from mamol.models.network import Network, NetworkSpec
from mamol.parity.golden import Golden
from mamol.training.released_checkpoint import head_and_embedding, to_our_names

INPUTS = {"hsi": "HS", "lidar": "lidar"}  # our name of a modality to the one in the file


class Recorder(Method):
    """Another method that writes down what it is given and what it adds in the blocks it changes."""

    def __init__(self, method: Method, blocks: Sequence[int]) -> None:
        """Wraps ``method``; records ``blocks``."""
        super().__init__()
        self.method = method
        self.recorded = frozenset(blocks)
        self.stages: dict[str, Tensor] = {}

    def begin(self, context: Context) -> None:
        """Prepares the wrapped method's pass and forgets the last one's stages."""
        self.stages = {}
        self.method.begin(context)

    def feed_forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """The wrapped method's result; what it adds to the MLP is taken with a silent MLP, so without rounding."""
        added = self.method.feed_forward(layer, z, torch.zeros_like, context)
        if layer in self.recorded and context.pattern is not None:
            self.stages |= {
                f"block{layer}.adapter_in": z,
                f"block{layer}.missing_embed": context.pattern,
                f"block{layer}.adapter_out": added,
            }
        return mlp(z) + added


def visual_spec(golden: Golden, state: Mapping[str, Tensor], output: str = "output_dim") -> TowerSpec:
    """The sizes of the file's visual transformer, exact GELU; what the metadata leaves out is in the shapes.

    Args:
        golden: The file.
        state: The transformer's weights.
        output: What the metadata call the width of its features.
    """
    sizes = golden.sizes
    width = int(sizes["width"])
    return TowerSpec(
        width=width,
        layers=int(sizes["layers"]),
        heads=int(sizes["heads"]),
        patch_size=state["conv1.weight"].shape[-1],
        grid=round((len(state["positional_embedding"]) - 1) ** 0.5),
        output_dim=int(sizes[output]),
        mlp_ratio=len(state["transformer.resblocks.0.mlp.c_fc.weight"]) / width,
        quick_gelu=False,
    )


def adopt(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Takes weights of any size: those that the release fixes in its code differ in small files.

    Raises:
        MamolError: The names are not the module's.
    """
    if different := sorted(module.state_dict().keys() ^ state.keys()):
        raise MamolError(f"the file's weights do not make the released network: {different[0]} is not in both")
    for name, value in state.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        setattr(owner, leaf, nn.Parameter(value) if isinstance(getattr(owner, leaf), nn.Parameter) else value)


def adapter_options(golden: Golden) -> dict[str, Any]:
    """The options of the released method that make the file's adapters."""
    sizes = golden.sizes
    return {
        "experts_dynamic": int(sizes["num_dyn"]),
        "experts_static": int(sizes["num_stat"]),
        "top_k": int(sizes["topk"]),
        "rank": int(sizes["rank"]),
        "expert_blocks": [int(block) for block in sizes["adapter_blocks"].split(",")],
    }


def released_network(golden: Golden) -> Network:
    """The network of a file of kind ``released_remote``, with its weights."""
    weights = golden.part("weights.")
    tower_state, method_state = to_our_names(golden.part("weights.visual."))
    spec = visual_spec(golden, tower_state)
    tower = VisualTower(vision_transformer(spec), "golden")
    tower.load_weights(tower_state, "golden")
    network = Network(
        NetworkSpec(
            backbone="golden",
            method="released",
            modalities={name: golden.tensors[f"input.{key}"].shape[1] for name, key in INPUTS.items()},
            classes=[str(i) for i in range(len(weights["remote_classifier.bias"]))],
            patch_size=spec.grid,
            method_options=adapter_options(golden),
            activation="gelu",
        ),
        tower,
    )
    rest = {name: value for name, value in weights.items() if not name.startswith("visual.")}
    adopt(network.method, method_state)
    adopt(nn.ModuleDict({"embedding": network.embedding, "head": network.head}), head_and_embedding(rest))
    return network


def remote_batch(golden: Golden) -> dict[str, Tensor]:
    """The file's input as a batch of the network: windows and ``available`` (B, 2)."""
    code = golden.tensors["input.missing_type"]
    windows = {name: golden.tensors[f"input.{key}"] for name, key in INPUTS.items()}
    return {**windows, "available": torch.stack([code != 1, code != 2], 1)}


def released_remote(golden: Golden) -> dict[str, Tensor]:
    """The stages of the released two-modality network.

    Its stages are those of all streams, absent ones as well; fused features and logits are what the network gives as
    it is used, without absent streams.
    """
    network, batch = released_network(golden), remote_batch(golden)
    available = batch["available"]
    recorder = Recorder(network.method, network.spec.method_options["expert_blocks"])
    stages: dict[str, Tensor] = {}
    for i, name in enumerate(network.spec.modalities):
        context = Context(available.float(), torch.full((len(available),), i))
        tokens = network.embedding[i](batch[name])
        features = encode(network.tower, tokens, recorder, context, shortcut=False)
        stages |= {f"{name}.{stage}": value for stage, value in recorder.stages.items()}
        stages[f"{name}_features"] = features
    return stages | {"fused_features": network.features(batch), "logits": network(batch)[0]}
