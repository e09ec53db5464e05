"""``prune`` of a run: its experts of other sensors go, and routed ones that matter under no pattern of those kept."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.backbones.mixture.folder import is_pretrained
from mamol.core.errors import MamolError
from mamol.core.files import write_json
from mamol.core.method import Batch
from mamol.core.names import pattern_name
from mamol.core.pruning import Cut
from mamol.core.seal import verify
from mamol.core.settings import Settings
from mamol.data.datamodules import MultimodalData
from mamol.evaluation.grid import all_predictions, score_patterns
from mamol.evaluation.patterns import complete_batches, natural_or_all
from mamol.evaluation.pruned import SAMPLES, Pruning, check_wanted, cut_of, multiply_adds, publish
from mamol.evaluation.saliency import Pattern, measure, patterns_of, shares
from mamol.evaluation.trained import CONFIG, Trained, config_of, open_trained, with_tables
from mamol.network.network import Network
from mamol.network.parameters import count
from mamol.network.pruning import prunable, pruned
from mamol.training.checkpoints import DAMAGED, read_checkpoint, save_checkpoint
from mamol.training.machine import arithmetic, batch_on

CHECKPOINT = Path("checkpoints", "best-pruned.safetensors")


def prune_run(settings: Settings) -> tuple[Path, str]:
    """Prunes a run.

    Args:
        settings: ``load_path``, the group ``prune``; ``data_root``, unless the run's own tables lie where they did.

    Returns:
        The folder of the result, in the run's own, and the report for people.

    Raises:
        MamolError: Something given does not fit, or the run cannot be pruned; nothing is written then.
    """
    asked, path = settings.prune, settings.run.load_path
    info, _ = read_checkpoint(path)
    kept = check_wanted(asked.keep, info.network.names, path)
    trained = open_trained(with_tables(settings, "prune").changed(calibrated=False), "prune")
    network = prunable(trained.network, len(kept))
    names = network.spec.names
    patterns = patterns_of(names, asked.patterns, kept)
    with arithmetic(settings.training.precision, trained.device):
        used = measure(network, _batches(trained, network), patterns, shortcut=True)
    if network.method.routers() and not len(used):
        shown = ", ".join(pattern_name(pattern, names) for pattern in patterns)
        raise MamolError(f"prune: no training sample of {trained.settings.data.data_root} can be under {shown}")
    found = shares(used)
    cut = cut_of([names.index(name) for name in kept], found, asked.tau)
    left = pruned(network, cut)
    here = [pattern_name(pattern, names) for pattern in patterns]
    done = Pruning(
        source={
            "path": str(trained.checkpoint),
            "sha256": verify(trained.checkpoint, DAMAGED),
            "backbone": network.fingerprint,
            "table": trained.data.tables["train"].fingerprint,
        },
        keep=kept,
        gone=[name for name in names if name not in kept],
        patterns=here,
        tau=asked.tau,
        used=used,
        shares=found,
        cut=cut,
        parameters=_both(count(network), count(left)),
        multiply_adds=_multiply_adds(trained, network, left, patterns, cut),
        scores=_scores(trained, left, kept, here),
        title=trained.title("pruning"),
        remarks=_remarks(network),
    )
    home = trained.folder("pruned").parent

    def fill(folder: Path) -> str:
        save_checkpoint(folder / CHECKPOINT, left, replace(info, network=left.spec, score=None))
        _copy_config(trained.checkpoint, folder, left)
        return done.write(folder)

    return publish(home, fill)


def _copy_config(checkpoint: Path, folder: Path, left: Network) -> None:
    """The run's options with what the pruned network has otherwise."""
    if config := config_of(checkpoint):
        each = left.spec.method_options.get("experts_per_block")
        changed = {"modalities": list(left.spec.names), "experts_per_block": each}
        write_json(folder / CONFIG, {**config, **changed})


def _batches(trained: Trained, network: Network) -> Iterator[tuple[Batch, NDArray[np.bool_]]]:
    """Samples of the training table, drawn with the seed, with what each has by nature."""
    table, settings = trained.data.tables["train"], trained.settings
    natural = natural_or_all(table, trained.modalities)
    drawn = np.random.default_rng(settings.run.seed).permutation(len(table))[:SAMPLES]
    batches = complete_batches(
        network,
        table,
        trained.device,
        "measuring",
        settings.machine.progress_bar,
        samples=np.sort(drawn),
        batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
        workers=settings.machine.num_workers,
    )
    for content in batches:
        yield content, natural[content["index"].cpu().numpy()]


def _both(before: dict[str, int], after: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Counts with the same parts."""
    return before, {name: after.get(name, 0) for name in before}


def _multiply_adds(
    trained: Trained, network: Network, left: Network, patterns: Sequence[Pattern], cut: Cut
) -> tuple[dict[str, int], dict[str, int]]:
    """Of one sample under each pattern."""
    content, _ = next(_batches(trained, network))
    one = {name: value[:1] for name, value in content.items()}
    before, after = {}, {}
    for pattern in patterns:
        name = pattern_name(pattern, network.spec.names)
        available = one["available"].new_tensor(pattern)[None]
        before[name] = multiply_adds(network, {**one, "available": available})
        after[name] = multiply_adds(left, {**one, "available": available[:, list(cut.inputs)]})
    return before, after


def _scores(trained: Trained, left: Network, kept: Sequence[str], patterns: Sequence[str]) -> pd.DataFrame:
    """Of the test table under each pattern, before and after."""
    settings = trained.settings
    data = MultimodalData(
        settings.data.data_root, kept, settings.missing, seed=settings.run.seed, dataset=settings.data.dataset
    )
    rows = []
    tables = [
        score_patterns(all_predictions(each, kept), each, kept).set_index("present")
        for each in (trained, replace(trained, network=left, data=data))
    ]
    for score in trained.task.scores:
        for pattern in patterns:
            before, after = (float(table[score].get(pattern, np.nan)) for table in tables)
            rows.append({"present": pattern, "score": score, "before": before, "after": after})
    return pd.DataFrame(rows)


def _remarks(network: Network) -> list[str]:
    found = []
    if is_pretrained(network.spec.backbone):
        found.append(f"The frozen backbone {network.spec.backbone} stays as it is.")
    return found
