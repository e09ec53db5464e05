"""The release's two-modality network written out plainly, under its own names, with random weights of any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network; those up to ``blocks`` stand in a golden file's metadata."""

    width: int = 16
    layers: int = 3
    heads: int = 2
    output_dim: int = 8
    rank: int = 2
    num_dyn: int = 2
    num_stat: int = 3
    topk: int = 1
    router_dim: int = 8
    blocks: tuple[int, ...] = (1, 2)
    hidden: int = 6
    grid: int = 4
    patch: int = 2
    bands: tuple[int, int] = (3, 1)
    classes: int = 4

    def metadata(self) -> dict[str, str]:
        names = ("width", "layers", "heads", "output_dim", "rank", "num_dyn", "num_stat", "topk", "router_dim")
        return {name: str(getattr(self, name)) for name in names} | {"adapter_blocks": ",".join(map(str, self.blocks))}


def released_weights(sizes: Sizes, seed: int = 0) -> Weights:
    """Random weights: ``visual.*``, ``embedding_layer.*``, ``remote_classifier.*``."""
    generator = torch.Generator().manual_seed(seed)
    s, d = sizes, sizes.width

    def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}

    shapes: dict[str, tuple[int, ...]] = {
        "visual.conv1.weight": (d, 3, s.patch, s.patch),
        "visual.class_embedding": (d,),
        "visual.positional_embedding": (1 + s.grid**2, d),
        "visual.proj": (d, s.output_dim),
        **linear("visual.missing_proj", s.router_dim, 3),
        **linear("remote_classifier", s.classes, 2 * s.output_dim),
    }
    for stream, bands in zip(("HS", "LIDAR"), s.bands, strict=True):
        shapes[f"embedding_layer.conv_{stream}.weight"] = (s.hidden, bands, 3, 3)
        shapes[f"embedding_layer.conv_{stream}_2.weight"] = (d, s.hidden, 1, 1)
    norms = ["visual.ln_pre", "visual.ln_post"]
    for layer in range(s.layers):
        block = f"visual.transformer.resblocks.{layer}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        shapes |= {f"{block}.attn.in_proj_weight": (3 * d, d), f"{block}.attn.in_proj_bias": (3 * d,)}
        shapes |= linear(f"{block}.attn.out_proj", d, d)
        shapes |= linear(f"{block}.mlp.c_fc", 4 * d, d) | linear(f"{block}.mlp.c_proj", d, 4 * d)
        if layer in s.blocks:
            adapter = f"{block}.mamol"
            for kind, count in (("dyn", s.num_dyn), ("stat", s.num_stat)):
                shapes |= {f"{adapter}.A_{kind}.{k}": (d, s.rank) for k in range(count)}
                shapes |= {f"{adapter}.B_{kind}.{k}": (s.rank, d) for k in range(count)}
            shapes |= linear(f"{adapter}.router.0", d // 2, d + s.router_dim)
            shapes |= linear(f"{adapter}.router.2", s.num_dyn, d // 2)
            shapes |= linear(f"{adapter}.out_proj", d, d)
    weights = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    for norm in norms:
        weights[f"{norm}.weight"] = 1 + torch.randn(d, generator=generator) * 0.1
        weights[f"{norm}.bias"] = torch.randn(d, generator=generator) * 0.1
    return weights


def released_input(sizes: Sizes, seed: int = 1) -> Weights:
    """Windows of six samples, ones where missing, and ``missing_type``."""
    generator = torch.Generator().manual_seed(seed)
    code = torch.tensor([0, 1, 2, 0, 2, 1])
    windows = {
        key: torch.rand(6, bands, sizes.grid, sizes.grid, generator=generator)
        for key, bands in zip(("HS", "lidar"), sizes.bands, strict=True)
    }
    windows["HS"][code == 1] = 1
    windows["lidar"][code == 2] = 1
    return {**windows, "missing_type": code}


def under(weights: Mapping[str, Tensor], prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def adapter(w: Mapping[str, Tensor], z: Tensor, e: Tensor, topk: int, first: int = 1) -> Tensor:
    """The release's adapter, token by token and expert by expert; component ``first`` of e switches A_stat.1."""
    specific = [int(name.rpartition(".")[2]) for name in w if name.startswith("A_stat.")]
    rows = []
    for n in range(z.shape[0]):
        for token in z[n]:
            hidden = functional.gelu(w["router.0.weight"] @ torch.cat([token, e[n]]) + w["router.0.bias"])
            probabilities = (w["router.2.weight"] @ hidden + w["router.2.bias"]).softmax(0)
            total = token @ w["A_stat.0"] @ w["B_stat.0"]
            for k in probabilities.argsort(descending=True)[:topk].tolist():
                total = total + probabilities[k] * (token @ w[f"A_dyn.{k}"] @ w[f"B_dyn.{k}"])
            for j in sorted(specific)[1:]:
                if e[n, first + j - 1] > 0.5:
                    total = total + token @ w[f"A_stat.{j}"] @ w[f"B_stat.{j}"]
            rows.append(w["out_proj.weight"] @ functional.gelu(total) + w["out_proj.bias"])
    return torch.stack(rows).reshape(z.shape)


def released_stages(sizes: Sizes, weights: Weights, inputs: Weights) -> Weights:
    """What a golden file expects, by name without ``expected.``."""
    visual, code = under(weights, "visual."), inputs["missing_type"]
    one_hot = functional.one_hot(code, 3).float()
    e = one_hot @ visual["missing_proj.weight"].T + visual["missing_proj.bias"]
    stages: Weights = {}
    features = []
    for name, key, conv, gone in (("hsi", "HS", "HS", 1), ("lidar", "lidar", "LIDAR", 2)):
        x = functional.conv2d(inputs[key], weights[f"embedding_layer.conv_{conv}.weight"], padding=1)
        x = functional.conv2d(x, weights[f"embedding_layer.conv_{conv}_2.weight"]).flatten(2).transpose(1, 2)
        x = torch.cat([visual["class_embedding"].expand(len(x), 1, -1), x], 1) + visual["positional_embedding"]
        x = norm(visual, "ln_pre", x)
        for layer in range(sizes.layers):
            w = under(visual, f"transformer.resblocks.{layer}.")
            x = x + attention(w, norm(w, "ln_1", x), sizes.heads)
            z = norm(w, "ln_2", x)
            hidden = functional.gelu(z @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"])
            x = x + hidden @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]
            if layer in sizes.blocks:
                added = adapter(under(w, "mamol."), z, e, sizes.topk)
                x = x + added
                block = f"{name}.block{layer}"
                stages |= {f"{block}.adapter_in": z, f"{block}.missing_embed": e, f"{block}.adapter_out": added}
        feature = norm(visual, "ln_post", x[:, 0]) @ visual["proj"]
        stages[f"{name}_features"] = feature
        features.append(torch.where((code == gone)[:, None], 0.0, feature))
    fused = torch.cat(features, 1)
    logits = fused @ weights["remote_classifier.weight"].T + weights["remote_classifier.bias"]
    return stages | {"fused_features": fused, "logits": logits}


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def attention(w: Weights, h: Tensor, heads: int) -> Tensor:
    q, k, v = (h @ w["attn.in_proj_weight"].T + w["attn.in_proj_bias"]).chunk(3, -1)
    size = q.shape[-1] // heads
    mixed = []
    for i in range(heads):
        part = slice(i * size, (i + 1) * size)
        mixed.append((q[..., part] @ k[..., part].transpose(1, 2) / size**0.5).softmax(-1) @ v[..., part])
    return torch.cat(mixed, -1) @ w["attn.out_proj.weight"].T + w["attn.out_proj.bias"]


def golden_tensors(sizes: Sizes, seed: int = 0) -> Weights:
    """All tensors of a golden file of these sizes."""
    weights, inputs = released_weights(sizes, seed), released_input(sizes)
    parts = {"weights": weights, "input": inputs, "expected": released_stages(sizes, weights, inputs)}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def write_golden(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> Path:
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, metadata=metadata)
    return path


def checkpoint_state(weights: Mapping[str, Tensor]) -> Weights:
    """The weights as the release's Lightning module names them."""
    return {
        f"model.image_encoder.{name.removeprefix('visual.')}" if name.startswith("visual.") else name: value
        for name, value in weights.items()
    }
