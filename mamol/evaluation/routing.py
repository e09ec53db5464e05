"""``routing``: which experts the routers choose, per layer, missing pattern and modality.

Of a network without a method: what each modality is worth to each class.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.files import alone, replacing
from mamol.core.names import pattern_name
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.core.streams import Trace
from mamol.data.tables import AnyTable
from mamol.evaluation.contributions import contributions, wide
from mamol.evaluation.markdown import markdown
from mamol.evaluation.patterns import all_patterns, complete_batches, natural_or_all
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import contributions_plot, routing_plot
from mamol.evaluation.trained import Trained, open_trained
from mamol.network.network import Network
from mamol.training.machine import CPU_BATCH, arithmetic, batch_on

ALL = "all"  # in the column ``modality``: the streams of all modalities together
_KEYS = ["tower", "layer", "pattern", "modality", "expert"]
_Key = tuple[str, int, str, str]


def routing(settings: Settings) -> str:
    """Measures how a checkpoint routes the test table, every sample under every pattern (the paper's Figure 5).

    Of a network without a method, what each modality is worth to each class is measured instead.

    Args:
        settings: ``load_path``, ``data_root``, ``routing_class``.

    Returns:
        The mutual information of expert and pattern, and of expert and modality, for people, and the folder with
        ``usage.csv``, ``information.csv`` and ``experts.png`` (of two towers ``experts_<tower>.png``); or what each
        class loses without each modality, and the folder with ``contributions.csv`` and ``contributions.png``.

    Raises:
        MamolError: Something the user gave does not fit, or the method has no routers; nothing is written then.
    """
    trained = open_trained(settings, "routing")
    wanted = settings.evaluate.routing_class
    number = class_number(wanted, trained.classes)
    chosen = (
        np.arange(len(trained.table))
        if number is None
        else np.flatnonzero(trained.task.with_class(trained.table.label, number))
    )
    if not len(chosen):
        raise MamolError(f"routing_class={wanted}: the test table has no sample of this class")
    folder, title = _place(trained, number)
    show = _experts if "method" in trained.network.reads else _modalities
    with alone(folder), arithmetic(settings.training.precision, trained.device):
        return show(trained, chosen, folder, title)


def _experts(trained: Trained, chosen: NDArray[np.int64], folder: Path, title: str) -> str:
    """Which experts the routers choose."""
    settings = trained.settings
    used = usage(
        trained.network,
        trained.table,
        trained.modalities,
        trained.device,
        settings.machine.progress_bar,
        samples=chosen,
        batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
        workers=settings.machine.num_workers,
    )
    bits = information(used)
    for file, frame in (("usage", used), ("information", bits)):
        _write(frame, folder / f"{file}.csv")
    for tower, rows in _by_tower(used[used["modality"] == ALL]).items():
        name = f"experts_{tower}" if tower else "experts"
        save_figure(routing_plot(rows, f"{title}, {tower} tower" if tower else title), folder / f"{name}.png")
    heading = (
        "Mutual information of the first choice of expert and the missing pattern, in bits; modality_nats: of it and "
        f"the modality, in nats: {title}"
    )
    return f"{heading}\n\n{markdown(bits, 4)}\n\n{folder}"


def _modalities(trained: Trained, chosen: NDArray[np.int64], folder: Path, title: str) -> str:
    """What each modality is worth to each class."""
    settings = trained.settings
    found = contributions(
        trained,
        chosen,
        progress=settings.machine.progress_bar,
        batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
        workers=settings.machine.num_workers,
    )
    _write(found, folder / "contributions.csv")
    save_figure(contributions_plot(found, title), folder / "contributions.png")
    heading = f"Points of a class's own probability that are lost without a modality: {title}"
    return f"{heading}\n\n{markdown(wide(found), 1)}\n\n{folder}"


def _place(trained: Trained, number: int | None) -> tuple[Path, str]:
    """The folder of the results, and their title."""
    folder, title = trained.folder("routing"), trained.title("routing")
    if number is None:
        return folder, title
    name = trained.classes[number]
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name)
    return folder / f"class_{number + 1}_{plain}", f"{title}, class {number + 1}: {name}"


def _write(frame: pd.DataFrame, path: Path) -> None:
    """A table as a file."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def class_number(wanted: str | int, classes: Sequence[str]) -> int | None:
    """The class that ``routing_class`` means, from 0; None for all.

    Args:
        wanted: Name of a class in any letter case, or its number from 1; empty: all.
        classes: Class names in label order.

    Raises:
        MamolError: There is no such class.
    """
    if wanted == "":
        return None
    names = [name.casefold() for name in classes]
    if str(wanted).casefold() in names:
        return names.index(str(wanted).casefold())
    if str(wanted).isdecimal() and 1 <= int(wanted) <= len(classes):
        return int(wanted) - 1
    raise MamolError(
        f"routing_class={wanted}: the table has no such class; give a number from 1 to {len(classes)}, or one of "
        f"{', '.join(classes)}"
    )


def usage(
    network: AnyNetwork,
    table: AnyTable,
    modalities: Sequence[str],
    device: torch.device,
    progress: bool = False,
    *,
    samples: NDArray[np.int64] | None = None,
    batch: int = CPU_BATCH,
    workers: int = 0,
) -> pd.DataFrame:
    """How much each expert is used, every sample under every pattern that it can be under; the samples are read once.

    Here all tokens go through the last block, too, where predictions send only the token that becomes the feature.

    Args:
        network: In evaluation mode, on ``device``.
        table: The samples.
        modalities: Names in the order of the features.
        device: Where to compute.
        progress: Whether to show a progress bar, on stderr.
        samples: Only these; all by default.
        batch: Samples at once.
        workers: Loading processes.

    Returns:
        A row per ``layer`` (block number from 0), ``pattern``, ``modality`` (that of the stream, and ``all``) and
        ``expert`` (from 0), with ``tokens`` (how many were routed), ``gate_share`` (the expert's part of the sum of the
        gates) and ``top1_share`` (part of the tokens whose largest gate is the expert's), both 0-1. Where a network has
        two towers, which have their own experts, the first column is ``tower``.

    Raises:
        MamolError: The network or its method has no routers.
    """
    if not isinstance(network, Network):
        raise MamolError(
            f"network={network.spec.network} has no routers: routing shows network=clip with mamol, released or a moe "
            "method"
        )
    sums: dict[_Key, NDArray[np.float64]] = {}
    batches = complete_batches(
        network, table, device, "routing", progress, samples=samples, batch=batch, workers=workers
    )
    natural = natural_or_all(table, modalities)
    for content in batches:
        seen = natural[content["index"].cpu().numpy()]
        for pattern in all_patterns(len(modalities)):
            able = torch.from_numpy((seen | ~pattern).all(1)).to(device)  # samples that can be under this pattern
            if not able.any():
                continue
            some = content if able.all() else {name: values[able] for name, values in content.items()}
            for key, part in _pass(network, some, pattern, modalities).items():
                sums[key] = sums.get(key, 0) + part
    towers = list(network.members)
    rows = []
    for key, (gates, first) in sorted(sums.items(), key=lambda entry: (towers.index(entry[0][0]), entry[0][1])):
        shares = zip(gates / gates.sum(), first / first.sum(), strict=True)
        rows += [(*key, expert, int(first.sum()), gate, top1) for expert, (gate, top1) in enumerate(shares)]
    used = pd.DataFrame(rows, columns=[*_KEYS, "tokens", "gate_share", "top1_share"])
    return used if len(towers) > 1 else used.drop(columns="tower")


@torch.inference_mode()
def _pass(
    network: Network, content: Mapping[str, Tensor], pattern: NDArray[np.bool_], modalities: Sequence[str]
) -> dict[_Key, NDArray[np.float64]]:
    """Sums of gates and of first choices, (2, K), per tower, layer, pattern and modality."""
    available = torch.from_numpy(pattern).to(content["available"].device).expand_as(content["available"])
    batch = {**content, "available": available}
    trace, streams = Trace(), network.streams(batch)
    network.features(batch, trace, streams=streams, shortcut=False)
    if not any(trace.routing.values()):
        raise MamolError(
            f"method={network.spec.method} has no routers (or dynamic_experts=False): routing shows mamol, released "
            "and the moe methods"
        )
    sums = {}
    for tower, own in streams.items():
        present = [i for i in network.members[tower] if pattern[i]]
        for layer, gates in trace.routing.get(tower, {}).items() if present else ():
            routed = (gates > 0).any(-1, keepdim=True)  # not so at padding
            first = torch.nn.functional.one_hot(gates.argmax(-1), gates.shape[-1]) * routed
            both = torch.stack([gates.double().sum(1), first.double().sum(1)])  # (2, N, K)
            groups = {ALL: slice(None)} | {
                modalities[i]: own.modality == i for i in present if own.modality is not None
            }
            for name, chosen in groups.items():
                key = (tower, layer, pattern_name(pattern, modalities), name)
                sums[key] = both[:, chosen].sum(1).cpu().numpy()
    return sums


def _by_tower(used: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each tower; under the empty name where the network has but one."""
    return {str(name): rows for name, rows in used.groupby("tower", sort=False)} if "tower" in used else {"": used}


def information(used: pd.DataFrame) -> pd.DataFrame:
    """Mutual information of the first choice of expert and the missing pattern, all patterns equally frequent.

    And of it and the modality, all modalities equally frequent: the mean over the patterns of two modalities or more.
    A pattern also decides of which modalities the tokens are; ``within_modality`` leaves that out: it is the mean over
    the modalities of the mutual information among the tokens of one.

    Args:
        used: Of ``usage``.

    Returns:
        A row per ``layer`` (and ``tower``, where there are two) with ``bits`` and ``within_modality``: 0 where the
        pattern does not matter, at most log2 of the number of experts; and ``modality_nats``: 0 where all modalities
        use the same experts, at most the natural logarithm of the number of modalities or experts. NaN where streams
        are not told apart (``fusion=single_stream``).
    """
    rows = []
    for tower, of_tower in _by_tower(used).items():
        for layer, of_layer in of_tower.groupby("layer"):
            bits = {
                modality: mutual_information(
                    part.pivot(index="pattern", columns="expert", values="top1_share").to_numpy()
                )
                for modality, part in of_layer.groupby("modality")
            }
            together = bits.pop(ALL)
            within = np.mean(list(bits.values())) if bits else np.nan
            rows.append((tower, layer, together, within, _of_modalities(of_layer)))
    found = pd.DataFrame(rows, columns=["tower", "layer", "bits", "within_modality", "modality_nats"])
    return found if "tower" in used else found.drop(columns="tower")


def _of_modalities(used: pd.DataFrame) -> float:
    """Mutual information of expert and modality in nats; NaN where no pattern has rows of two modalities."""
    several = used[used["modality"] != ALL].groupby("pattern").filter(lambda rows: rows["modality"].nunique() > 1)
    bits = [
        mutual_information(rows.pivot(index="modality", columns="expert", values="top1_share").to_numpy())
        for _, rows in several.groupby("pattern")
    ]
    return float(np.log(2) * np.mean(bits)) if bits else np.nan


def mutual_information(shares: NDArray[np.float64]) -> float:
    """Mutual information of column and row in bits, rows equally frequent.

    Args:
        shares: (P, K), rows sum to 1.
    """
    mean = shares.mean(0)
    ratio = np.divide(shares, mean, out=np.ones_like(shares), where=shares > 0)
    return float((shares * np.log2(ratio)).sum(1).mean())
