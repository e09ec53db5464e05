"""What each routed expert does to the tokens of a modality under a pattern: use and saliency, and which experts matter.

The saliency of an expert is the mean of ``gate · ‖expert(z)‖`` over all tokens of the modality, a token that does not
use it being a zero: how much of what is added to the tokens comes from it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.backbones.mixture.experts import Told
from mamol.core.backbone import MLP
from mamol.core.method import Batch, Method, Pass
from mamol.core.names import pattern_name
from mamol.core.streams import VISUAL, Trace
from mamol.network.network import Network

ALL = "all"  # in the column ``modality``: tokens of several modalities in one sequence
KEYS = ["layer", "pattern", "modality", "expert"]
Pattern = NDArray[np.bool_]
_Key = tuple[int, str, str]


class Watched(Method[Pass]):
    """The frozen tower as it is; records what the mixtures of a pre-trained backbone do."""

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """The block's MLP."""
        out = mlp(z)
        if isinstance(mlp, Told):
            gates, mixture = mlp.routed[0], mlp.mixture
            state.record(layer, gates, lambda: mixture.norms(z, gates))
        return out


def patterns_of(names: Sequence[str], wanted: Sequence[str], kept: Sequence[str]) -> list[Pattern]:
    """The patterns of what stays.

    Args:
        names: All modalities, M of them.
        wanted: Patterns, ``hsi+lidar``; none are all non-empty ones.
        kept: Modalities that stay.

    Returns:
        (M,) bool each, the most complete first where all are taken.
    """
    numbers = range(1, 2 ** len(kept))
    every = [{name for bit, name in enumerate(kept) if number >> bit & 1} for number in numbers]
    chosen = [set(each.split("+")) for each in wanted] or sorted(every, key=len, reverse=True)
    return [np.array([name in present for name in names]) for present in chosen]


@torch.inference_mode()
def measure(
    network: Network,
    batches: Iterable[tuple[Batch, NDArray[np.bool_]]],
    patterns: Sequence[Pattern],
    *,
    shortcut: bool,
) -> pd.DataFrame:
    """Use and saliency of every routed expert; no gradient.

    Args:
        network: In evaluation mode.
        batches: Samples on its device with all modalities, and (B, M) which of them they have by nature.
        patterns: (M,) bool each; a sample is shown under those that it can be under.
        shortcut: As of ``mamol.network.encoder.encode``: whether only what the head reads goes through the last block.

    Returns:
        A row per ``layer`` (block from 0), ``pattern``, ``modality`` and ``expert``: ``tokens`` of the modality,
        ``use`` (mean gate), ``routed`` (share of the tokens that use it, 0-1) and ``saliency``.
    """
    sums: dict[_Key, NDArray[np.float64]] = {}
    for content, natural in batches:
        for pattern in patterns:
            able = torch.from_numpy((natural | ~pattern).all(1)).to(content["available"].device)
            if not able.any():
                continue
            batch = {name: value[able] for name, value in content.items()}
            batch["available"] = torch.from_numpy(pattern).to(able.device).expand(int(able.sum()), -1)
            for key, part in _pass(network, batch, pattern, shortcut).items():
                sums[key] = sums.get(key, 0) + part
    rows = [
        (*key, expert, int(tokens[expert]), *means)
        for key, (tokens, *own) in sums.items()
        for expert, means in enumerate((np.stack(own) / tokens).T)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, "tokens", "use", "routed", "saliency"])


def _pass(network: Network, batch: Batch, pattern: Pattern, shortcut: bool) -> dict[_Key, NDArray[np.float64]]:
    """Tokens, and sums of gates, of tokens that use the expert and of saliencies, (4, K), per layer and modality."""
    trace, streams = Trace(norms={}), network.streams(batch)
    network.features(batch, trace, streams=streams, shortcut=shortcut)
    own, names, norms = streams[VISUAL], network.spec.names, cast(dict[str, dict[int, Tensor]], trace.norms)
    sums = {}
    for layer, gates in trace.routing.get(VISUAL, {}).items():
        mask = own.mask(gates.shape[1])
        counted = torch.ones_like(gates[..., 0], dtype=torch.bool) if mask is None else mask
        tokens = counted.sum(1, keepdim=True).expand(-1, gates.shape[2]).double()
        added = gates.double() * norms[VISUAL][layer].double()
        each = torch.stack([tokens, gates.double().sum(1), (gates > 0).double().sum(1), added.sum(1)])
        present = np.flatnonzero(pattern) if own.modality is not None else [None]
        for i in present:
            chosen = slice(None) if i is None else own.modality == i
            key = (layer, pattern_name(pattern, names), ALL if i is None else names[i])
            sums[key] = each[:, chosen].sum(1).cpu().numpy()
    return sums


def shares(used: pd.DataFrame) -> dict[int, NDArray[np.float64]]:
    """How much each expert matters where it matters most: its part of the saliencies of all, 1 being an even one.

    Args:
        used: Of ``measure``; of several scenes with a column ``scene``.

    Returns:
        Layer to (K,), the maximum over patterns, modalities and scenes of ``K · saliency / Σ saliency``, 0 where no
        expert adds anything.
    """
    found: dict[int, NDArray[np.float64]] = {}
    where = [name for name in ("scene", "layer", "pattern", "modality") if name in used]
    for key, rows in used.groupby(where, sort=False):
        layer = int(dict(zip(where, cast(tuple[Any, ...], key), strict=True))["layer"])
        own = rows.sort_values("expert")["saliency"].to_numpy(np.float64)
        total = own.sum()
        share = len(own) * own / total if total > 0 else np.zeros_like(own)
        found[layer] = np.maximum(found.get(layer, 0.0), share)
    return dict(sorted(found.items()))


def surviving(share: NDArray[np.float64], tau: float) -> tuple[int, ...]:
    """The experts of a layer that stay.

    Args:
        share: Of ``shares``.
        tau: At least so much of an even share.

    Returns:
        Their numbers, ascending; the one that matters most where no other does.
    """
    kept = np.flatnonzero(share >= tau)
    return tuple(int(k) for k in kept) if len(kept) else (int(share.argmax()),)
