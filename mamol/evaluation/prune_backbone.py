"""``prune`` of a pre-trained backbone: sensors that are not kept go, and experts that matter to none of the others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.backbones.mixture.folder import EMBEDDING, Pretrained, fill_pretrained, read_pretrained, tower_of
from mamol.backbones.mixture.pruning import pruned
from mamol.core.backbone import Origin
from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.fingerprint import fingerprint
from mamol.core.method import Batch
from mamol.core.names import pattern_name
from mamol.core.settings import Settings
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL
from mamol.data.ground import Ground, grounds_of
from mamol.evaluation.marking import marked
from mamol.evaluation.pruned import FOLDER, SAMPLES, Pruning, check_wanted, cut_of, multiply_adds
from mamol.evaluation.reconstructions import scores_of
from mamol.evaluation.saliency import Watched, measure, patterns_of, shares
from mamol.network.masked import MaskedAutoencoder
from mamol.network.network import Network
from mamol.training.checkpoints import read_pickle
from mamol.training.machine import arithmetic, batch_on, device_of

LAST = Path("checkpoints", "last.ckpt")
"""In the folder of a pre-training; it has the decoder."""
NETWORK, DECODER = "network.", "decoder."
"""How names begin in it, and in the network."""
DEFAULT_RATIO = 0.75
State = Mapping[str, Tensor]


def prune_backbone(settings: Settings, folder: Path) -> tuple[Path, str]:
    """Prunes the folder of a pre-trained backbone.

    Args:
        settings: The group ``prune``; ``data_root`` or ``scene`` with the kept sensors, and ``window``.
        folder: Of the backbone.

    Returns:
        The folder of the result, beside it, and the report for people.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    asked = settings.prune
    made = read_pretrained(folder)
    sensors = made.sizes.sensors
    kept = check_wanted(asked.keep, tuple(dict.fromkeys(each.name for each in sensors)), folder)
    grounds = _grounds(settings, made, folder, kept)
    patterns = asked.patterns or [pattern_name(each, kept) for each in patterns_of(kept, (), kept)]
    with arithmetic(settings.training.precision, device_of(settings.machine)):
        used = _measured(settings, made, grounds, patterns)
    found = shares(used)
    cut = cut_of([i for i, each in enumerate(sensors) if each.name in kept], found, asked.tau)
    left = pruned(made, cut)
    scores, remark = _scores(settings, made, left, folder, grounds, patterns)
    synthetic = any(each.synthetic for each in grounds)
    where = ", ".join(dict.fromkeys(each.name for each in grounds))
    title = marked(f"pruning of {folder.name} on {where}", "synthetic" if synthetic else "", random_weights=False)
    done = Pruning(
        source={"path": str(folder), "fingerprint": fingerprint(made.tensors())},
        keep=kept,
        gone=[f"{each.name} ({each.size})" for each in sensors if each.name not in kept],
        patterns=patterns,
        tau=asked.tau,
        used=used,
        shares=found,
        cut=cut,
        parameters=(_parameters(made), _parameters(left)),
        multiply_adds=(_multiply_adds(made, grounds[0], patterns), _multiply_adds(left, grounds[0], patterns)),
        scores=scores,
        title=title,
        remarks=[remark] if remark else [],
    )
    card = {key: value for key, value in made.card.items() if key not in ("r2", "mutual_information")}
    described = replace(left, card={**card, "pruned": done.provenance()})

    def fill(temporary: Path) -> str:
        fill_pretrained(temporary, described)
        return done.write(temporary)

    return new_folder(folder.parent, FOLDER, fill)


def _grounds(settings: Settings, made: Pretrained, folder: Path, kept: Sequence[str]) -> list[Ground]:
    """The windows to measure on.

    Raises:
        MamolError: None are given, or of a sensor that the backbone does not know.
    """
    data, scene = settings.data, settings.predict.scene
    if not data.data_root and not scene:
        raise MamolError(
            f"prune: the backbone {folder} has no table of its own; give data_root=<tables> or scene=<raw folder>"
        )
    side = settings.pretrain.window or (None if data.data_root else made.sizes.grid)
    grounds = grounds_of(data.data_root, scene, dataset=data.dataset, modalities=kept, side=side)
    known = [(each.name, each.size) for each in made.sizes.sensors]
    for ground in grounds:
        if strange := [each for each in ground.sensors if (each.name, each.size) not in known]:
            told = ", ".join(f"{name} with {bands} bands" for name, bands in known)
            raise MamolError(
                f"prune: {ground.name} has {strange[0].name} with {strange[0].size} bands, and the backbone "
                f"has {told}; give the scenes that it was trained on"
            )
    return grounds


def _measured(settings: Settings, made: Pretrained, grounds: Sequence[Ground], patterns: Sequence[str]) -> pd.DataFrame:
    """Use and saliency of the experts, scene by scene; a row has the ``scene``."""
    device = device_of(settings.machine)
    size = batch_on(device, settings.training.per_gpu_batchsize)
    frames = []
    for number, ground in enumerate(grounds):
        network = _watched(made, ground).to(device)
        rng = np.random.default_rng([settings.run.seed, number])
        drawn = np.sort(rng.permutation(len(ground.natural))[:SAMPLES])
        parts = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        chosen = patterns_of(ground.names, patterns, ground.names)
        used = measure(network, _batches(ground, parts, device), chosen, shortcut=False)
        frames.append(used.assign(scene=f"{number}: {ground.name}"))
    used = pd.concat(frames, ignore_index=True)
    if made.sizes.mixtures and not len(used):
        raise MamolError(f"prune: no window of {', '.join(each.name for each in grounds)} has {', '.join(patterns)}")
    return used


def _batches(
    ground: Ground, parts: Sequence[NDArray[np.int64]], device: torch.device
) -> Iterator[tuple[Batch, NDArray[np.bool_]]]:
    for part in parts:
        content = {name: torch.from_numpy(ground.read(name, part)).to(device) for name in ground.names}
        content["available"] = torch.ones(len(part), len(ground.names), dtype=torch.bool, device=device)
        yield content, ground.natural[part]


def _watched(made: Pretrained, ground: Ground) -> Network:
    """The backbone with its own embeddings of a scene's sensors, and nothing added; it records its mixtures."""
    tower = tower_of(made, ground.side, Origin("being pruned"))
    network = Network(NetworkSpec("", "baseline", ground.sensors, ("",), ground.side), {VISUAL: tower})
    network.method = Watched()
    return network.eval()


def _multiply_adds(made: Pretrained, ground: Ground, patterns: Sequence[str]) -> dict[str, int]:
    """Of one window under each pattern, all tokens through all blocks."""
    network = _watched(made, ground)
    one, _ = next(_batches(ground, [np.array([0])], torch.device("cpu")))
    found = {}
    for name, pattern in zip(patterns, patterns_of(ground.names, patterns, ground.names), strict=True):
        batch = {**one, "available": torch.from_numpy(pattern)[None]}
        found[name] = multiply_adds(lambda given: network.features(given, shortcut=False), batch)
    return found


def _parameters(made: Pretrained) -> dict[str, int]:
    """By what they are for."""
    found = dict.fromkeys(("experts", "routers", "embeddings", "other", "total"), 0)
    for name, value in made.tensors().items():
        if ".feed_forward.experts." in name:
            part = "experts"
        elif ".feed_forward.router." in name or ".knowledge." in name:
            part = "routers"
        else:
            part = "embeddings" if name.startswith(EMBEDDING) else "other"
        found[part] += value.numel()
        found["total"] += value.numel()
    return found


def _scores(
    settings: Settings,
    made: Pretrained,
    left: Pretrained,
    folder: Path,
    grounds: Sequence[Ground],
    patterns: Sequence[str],
) -> tuple[pd.DataFrame, str]:
    """R² of each sensor under each pattern, before and after, or a sentence that says why there is none."""
    decoder = _decoder(folder, made)
    if decoder is None:
        return pd.DataFrame(), (
            "No R²: it needs the decoder, which a backbone is stored without; it is in checkpoints/last.ckpt beside "
            "the folder that pretrain wrote."
        )
    if grounds[0].side != made.sizes.grid:
        return pd.DataFrame(), f"No R²: the decoder is for windows of {made.sizes.grid} pixels."
    device, seed = device_of(settings.machine), settings.run.seed
    ratio = float(made.card.get("options", {}).get("mask_ratio", DEFAULT_RATIO))
    sensors = made.sizes.sensors
    inputs = [sensors.index(each) for each in left.sizes.sensors]
    both = [
        scores_of(_reassembled(each, own, grounds, ratio).to(device), grounds, seed)[0]
        for each, own in ((made, decoder), (left, _decoder_of(decoder, inputs)))
    ]
    rows = []
    for before, after in zip(*both, strict=True):
        if before.given in patterns:
            where = f" in {before.ground}" if len(grounds) > 1 else ""
            name = f"R² of {before.modality}{where}"
            rows.append({"present": before.given, "score": name, "before": before.r2, "after": after.r2})
    return pd.DataFrame(rows).astype({"before": float, "after": float}), ""


def _decoder(folder: Path, made: Pretrained) -> State | None:
    """The decoder that was trained with a backbone, if it is still there."""
    path = folder.parent / LAST
    if not path.is_file():
        return None
    try:
        state = read_pickle(path).get("state_dict", {})
    except MamolError:
        return None
    own = {name.removeprefix(NETWORK): value for name, value in state.items()}
    tower = {name: own.get(f"tower.weights.{name}") for name in made.state}
    if any(found is None or not torch.equal(found, made.state[name]) for name, found in tower.items()):
        return None  # of another backbone, such as one that was pruned
    return {name.removeprefix(DECODER): value for name, value in own.items() if name.startswith(DECODER)}


def _decoder_of(state: State, inputs: Sequence[int]) -> State:
    """The decoder of some of the sensors."""
    left = {name: value for name, value in state.items() if not name.startswith("leave.")}
    for now, then in enumerate(inputs):
        left |= {f"leave.{now}.{name}": state[f"leave.{then}.{name}"] for name in ("weight", "bias")}
    return {**left, "kind": state["kind"][list(inputs)]}


def _reassembled(made: Pretrained, decoder: State, grounds: Sequence[Ground], ratio: float) -> MaskedAutoencoder:
    """The network of the pre-training."""
    network = MaskedAutoencoder(made.sizes, [each.sensors for each in grounds], ratio)
    network.tower.weights.load_state_dict(made.state)
    for part, own in zip(network.embedding, made.embeddings, strict=True):
        part.load_state_dict(own, strict=False)  # the windows are normalised
    network.decoder.load_state_dict(decoder)
    return network.eval()
