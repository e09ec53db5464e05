"""Kind ``released_remote``: the released two-modality network with its own adapter."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamol.backbones.architectures import TowerSpec
from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import vision_transformer
from mamol.core.backbone import MLP, Origin
from mamol.core.errors import MamolError
from mamol.core.method import Method
from mamol.core.modality import WINDOW, Modality
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL, Streams, Trace
from mamol.methods.router import Routed
from mamol.network.encoder import encode
from mamol.network.network import Network
from mamol.parity.golden import Golden
from mamol.training.released_weights import head_and_embedding, to_our_names

INPUTS = {"hsi": "HS", "lidar": "lidar"}  # our name of a modality to the one in the file


class Silent(MLP):
    """An MLP that adds nothing."""

    def expand(self, z: Tensor) -> Tensor:
        """Gives its input back."""
        return z

    def activate(self, hidden: Tensor) -> Tensor:
        """Gives its input back."""
        return hidden

    def contract(self, hidden: Tensor) -> Tensor:
        """Gives zeros of the shape of its input."""
        return torch.zeros_like(hidden)


class Recorder(Method[Routed]):
    """Wraps a method, and writes down what that method is given and what it adds in chosen blocks."""

    def __init__(self, method: Method[Routed], blocks: Sequence[int]) -> None:
        """Begins with no stages.

        Args:
            method: The method to wrap.
            blocks: Numbers of the blocks to record, from 0.
        """
        super().__init__()
        self.method = method
        self.recorded = frozenset(blocks)
        self.stages: dict[str, Tensor] = {}

    def begin(self, streams: Streams, trace: Trace | None = None) -> Routed:
        """Prepares the wrapped method's pass and forgets the last one's stages."""
        self.stages = {}
        return self.method.begin(streams, trace)

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: Routed) -> Tensor:
        """The MLP's output and what the wrapped method adds; the latter is computed by itself, with a silent MLP."""
        added = self.method.feed_forward(layer, z, Silent(), state)
        if layer in self.recorded and state.pattern is not None:
            self.stages |= {
                f"block{layer}.adapter_in": z,
                f"block{layer}.missing_embed": state.pattern,
                f"block{layer}.adapter_out": added,
            }
        return mlp(z) + added


def visual_spec(golden: Golden, state: Mapping[str, Tensor], output: str = "output_dim") -> TowerSpec:
    """The sizes of the file's visual transformer, with exact GELU; the shapes tell what the metadata leaves out.

    Args:
        golden: The file.
        state: The transformer's weights.
        output: Metadata key of the width of its features.
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
    """Puts weights of any size into a module: sizes that the release fixes in its code differ in small files.

    Args:
        module: Gets the weights.
        state: Weights by the module's names.

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
    """The options of the released method that make the file's adapters.

    Args:
        golden: The file.
    """
    sizes = golden.sizes
    return {
        "experts_dynamic": int(sizes["num_dyn"]),
        "experts_static": int(sizes["num_stat"]),
        "top_k": int(sizes["topk"]),
        "rank": int(sizes["rank"]),
        "expert_blocks": [int(block) for block in sizes["adapter_blocks"].split(",")],
    }


def released_network(golden: Golden) -> Network:
    """The network of a golden file, with its weights.

    Args:
        golden: A file of kind ``released_remote``.
    """
    weights = golden.part("weights.")
    tower_state, method_state = to_our_names(golden.part("weights.visual."))
    spec = visual_spec(golden, tower_state)
    tower = VisualTower(vision_transformer(spec), Origin("golden"))
    tower.load_weights(tower_state, Origin("golden"))
    network = Network(
        NetworkSpec(
            backbone="golden",
            method="released",
            modalities=tuple(
                Modality(name, WINDOW, golden.tensors[f"input.{key}"].shape[1]) for name, key in INPUTS.items()
            ),
            classes=tuple(str(i) for i in range(len(weights["remote_classifier.bias"]))),
            grid=spec.grid,
            method_options=adapter_options(golden),
            activation="gelu",
        ),
        {VISUAL: tower},
    )
    rest = {name: value for name, value in weights.items() if not name.startswith("visual.")}
    adopt(network.method, method_state)
    adopt(nn.ModuleDict({"embedding": network.embedding, "head": network.head}), head_and_embedding(rest))
    return network


def remote_batch(golden: Golden) -> dict[str, Tensor]:
    """The file's input as a batch of the network.

    Args:
        golden: A file of kind ``released_remote``.

    Returns:
        Modality to windows (B, C, P, P), and ``available`` (B, 2) bool.
    """
    code = golden.tensors["input.missing_type"]
    windows = {name: golden.tensors[f"input.{key}"] for name, key in INPUTS.items()}
    return {**windows, "available": torch.stack([code != 1, code != 2], 1)}


def released_remote(golden: Golden) -> dict[str, Tensor]:
    """The stages of the released two-modality network.

    The stages of a stream are those of all samples, also where it is absent; fused features and logits are what the
    network gives in use, without absent streams.

    Args:
        golden: A file of this kind.
    """
    network, batch = released_network(golden), remote_batch(golden)
    available = batch["available"]
    recorder = Recorder(network.method, network.spec.method_options["expert_blocks"])
    stages: dict[str, Tensor] = {}
    samples = torch.arange(len(available))
    for i, name in enumerate(network.spec.names):
        streams = Streams(available.float(), samples, torch.full_like(samples, i))
        tokens = network.embedding[i](batch[name], network.tower)
        features = encode(network.tower, tokens, recorder, streams, shortcut=False).features
        stages |= {f"{name}.{stage}": value for stage, value in recorder.stages.items()}
        stages[f"{name}_features"] = features
    return stages | {"fused_features": side_by_side(network, batch), "logits": network(batch)[0]}


def side_by_side(network: Network, batch: Mapping[str, Tensor]) -> Tensor:
    """The features of a batch as the release has them: (B, M·output_dim).

    Args:
        network: The network.
        batch: As the network takes it.
    """
    return torch.cat(list(network.features(batch)[0].values()), 1)
