"""``routing``: which experts the routers choose, per layer, missing pattern and modality."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mamol.data.missing import pattern_name
from mamol.data.tables import Table
from mamol.errors import MamolError
from mamol.evaluation.markdown import markdown
from mamol.evaluation.patterns import all_patterns
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import routing_plot
from mamol.evaluation.predict import BATCH
from mamol.evaluation.trained import open_trained
from mamol.files import replacing
from mamol.models.network import Network
from mamol.models.tower import VISUAL
from mamol.settings import Settings

ALL = "all"  # in the column ``modality``: the streams of all modalities together
_KEYS = ["layer", "pattern", "modality", "expert"]


def routing(settings: Settings) -> str:
    """Measures how a checkpoint routes the test table, every sample under every pattern (the paper's Figure 5).

    Args:
        settings: ``load_path``, ``data_root``, ``routing_class``.

    Returns:
        The mutual information of expert and pattern for people, and the folder with ``usage.csv``,
        ``information.csv`` and ``experts.png``.

    Raises:
        MamolError: Something the user gave does not fit, or the method has no routers; nothing is written then.
    """
    trained = open_trained(settings, "routing")
    number = class_number(settings.routing_class, trained.classes)
    chosen = np.arange(len(trained.table)) if number is None else np.flatnonzero(trained.table.label == number)
    if not len(chosen):
        raise MamolError(f"routing_class={settings.routing_class}: the test table has no sample of this class")
    with trained.precision():
        used = usage(
            trained.network, trained.table, trained.modalities, trained.device, settings.progress_bar, samples=chosen
        )
    bits = information(used)
    folder = trained.folder("routing")
    title = trained.title("routing")
    if number is not None:
        name = trained.classes[number]
        folder /= f"class_{number + 1}_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"
        title += f", class {number + 1}: {name}"
    for file, frame in (("usage", used), ("information", bits)):
        with replacing(folder / f"{file}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    save_figure(routing_plot(used[used["modality"] == ALL], title), folder / "experts.png")
    heading = f"Mutual information of the first choice of expert and the missing pattern, in bits: {title}"
    return f"{heading}\n\n{markdown(bits, 4)}\n\n{folder}"


def class_number(wanted: str | int, classes: Sequence[str]) -> int | None:
    """The class that ``routing_class`` means, from 0; None for all.

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
    network: Network,
    table: Table,
    modalities: Sequence[str],
    device: torch.device,
    progress: bool = False,
    *,
    samples: NDArray[np.int64] | None = None,
    batch: int = BATCH,
) -> pd.DataFrame:
    """How much each expert is used, every sample under every pattern; the windows are read once.

    In the last block only the class token is counted: the others do not go through it.

    Args:
        network: In evaluation mode, on ``device``.
        table: The samples.
        modalities: Names in the order of the features.
        device: Where to compute.
        progress: Whether to show a progress bar, on stderr.
        samples: Only these; all by default.
        batch: Samples at once.

    Returns:
        A row per ``layer`` (block number from 0), ``pattern``, ``modality`` (that of the stream, and ``all``) and
        ``expert`` (from 0), with ``tokens`` (how many were routed), ``gate_share`` (the expert's part of the sum of the
        gates) and ``top1_share`` (part of the tokens whose largest gate is the expert's), both 0-1.

    Raises:
        MamolError: The method has no routers.
    """
    samples = np.arange(len(table)) if samples is None else samples
    sums: dict[tuple[int, str, str], NDArray[np.float64]] = {}
    starts = range(0, len(samples), batch)
    for start in track(starts, "routing", console=Console(stderr=True), disable=not progress):
        index = samples[start : start + batch]
        windows = {name: torch.from_numpy(table.windows(name, index)).to(device) for name in modalities}
        for pattern in all_patterns(len(modalities)):
            for key, part in _pass(network, windows, pattern, modalities).items():
                sums[key] = sums.get(key, 0) + part
    rows = []
    for (layer, name, modality), (gates, first) in sorted(sums.items(), key=lambda entry: entry[0][0]):
        shares = zip(gates / gates.sum(), first / first.sum(), strict=True)
        rows += [
            (layer, name, modality, expert, int(first.sum()), gate, top1) for expert, (gate, top1) in enumerate(shares)
        ]
    return pd.DataFrame(rows, columns=[*_KEYS, "tokens", "gate_share", "top1_share"])


@torch.inference_mode()
def _pass(
    network: Network, windows: dict[str, Tensor], pattern: NDArray[np.bool_], modalities: Sequence[str]
) -> dict[tuple[int, str, str], NDArray[np.float64]]:
    """Sums of gates and of first choices, (2, K), per layer, pattern and modality."""
    samples = len(next(iter(windows.values())))
    device = next(iter(windows.values())).device
    batch = {**windows, "available": torch.from_numpy(pattern).to(device).expand(samples, -1)}
    context = network.contexts(batch)[VISUAL]
    context.routing = {}
    network.features(batch, {VISUAL: context})
    if not context.routing:
        raise MamolError(
            f"method={network.spec.method} has no routers (or dynamic_experts=False): routing shows mamol, released "
            "and the moe methods"
        )
    sums = {}
    for layer, gates in context.routing.items():
        first = torch.nn.functional.one_hot(gates.argmax(-1), gates.shape[-1])
        both = torch.stack([gates.double().sum(1), first.double().sum(1)])  # (2, N, K)
        streams = {ALL: slice(None)} | {
            name: context.modality == i
            for i, name in enumerate(modalities)
            if context.modality is not None and pattern[i]
        }
        for name, chosen in streams.items():
            sums[layer, pattern_name(pattern, modalities), name] = both[:, chosen].sum(1).cpu().numpy()
    return sums


def information(used: pd.DataFrame) -> pd.DataFrame:
    """Mutual information of the first choice of expert and the missing pattern, all patterns equally frequent.

    A pattern also decides of which modalities the tokens are; ``within_modality`` leaves that out: it is the mean over
    the modalities of the mutual information among the tokens of one.

    Args:
        used: Of ``usage``.

    Returns:
        A row per ``layer`` with ``bits`` and ``within_modality``: 0 where the pattern does not matter, at most log2 of
        the number of experts. NaN where streams are not told apart (``fusion=single_stream``).
    """
    rows = []
    for layer, of_layer in used.groupby("layer"):
        bits = {
            modality: mutual_information(part.pivot(index="pattern", columns="expert", values="top1_share").to_numpy())
            for modality, part in of_layer.groupby("modality")
        }
        together = bits.pop(ALL)
        rows.append((layer, together, np.mean(list(bits.values())) if bits else np.nan))
    return pd.DataFrame(rows, columns=["layer", "bits", "within_modality"])


def mutual_information(shares: NDArray[np.float64]) -> float:
    """Mutual information of column and row in bits, rows equally frequent.

    Args:
        shares: (P, K), rows sum to 1.
    """
    mean = shares.mean(0)
    ratio = np.divide(shares, mean, out=np.ones_like(shares), where=shares > 0)
    return float((shares * np.log2(ratio)).sum(1).mean())
