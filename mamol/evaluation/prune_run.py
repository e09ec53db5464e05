"""``prune`` of a run: its experts of other sensors go, and routed ones that matter under no pattern of those kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mamol.backbones.mixture.folder import is_pretrained
from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.names import pattern_name
from mamol.core.pruning import Cut
from mamol.core.settings import Settings
from mamol.evaluation.derived import copy_config, samples_of, scores_of_both, source_of
from mamol.evaluation.pruned import FOLDER, SAMPLES, Pruning, check_wanted, cut_of, multiply_adds, same_parts
from mamol.evaluation.saliency import Pattern, measure, patterns_of, shares
from mamol.evaluation.trained import Trained, open_trained
from mamol.network.network import Network
from mamol.network.parameters import count
from mamol.network.pruning import prunable, pruned
from mamol.training.checkpoints import read_checkpoint, save_checkpoint
from mamol.training.machine import arithmetic

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
    trained = open_trained(settings.changed(calibrated=False), "prune")
    network = prunable(trained.network, len(kept))
    names = network.spec.names
    patterns = patterns_of(names, asked.patterns, kept)
    with arithmetic(settings.training.precision, trained.device):
        used = measure(network, samples_of(trained, "train", SAMPLES), patterns, shortcut=True)
    if network.method.routers() and not len(used):
        shown = ", ".join(pattern_name(pattern, names) for pattern in patterns)
        raise MamolError(f"prune: no training sample of {trained.settings.data.data_root} can be under {shown}")
    found = shares(used)
    cut = cut_of([names.index(name) for name in kept], found, asked.tau)
    left = pruned(network, cut)
    here = [pattern_name(pattern, names) for pattern in patterns]
    done = Pruning(
        source=source_of(trained),
        keep=kept,
        gone=[name for name in names if name not in kept],
        patterns=here,
        tau=asked.tau,
        used=used,
        shares=found,
        cut=cut,
        parameters=same_parts(count(network), count(left)),
        multiply_adds=_multiply_adds(trained, network, left, patterns, cut),
        scores=scores_of_both(trained, left, here),
        title=trained.title("pruning"),
        remarks=_remarks(network),
    )
    home = trained.folder("pruned").parent

    def fill(folder: Path) -> str:
        save_checkpoint(folder / CHECKPOINT, left, replace(info, network=left.spec, score=None))
        each = left.spec.method_options.get("experts_per_block")
        copy_config(trained.checkpoint, folder, {"modalities": list(left.spec.names), "experts_per_block": each})
        return done.write(folder)

    return new_folder(home, FOLDER, fill)


def _multiply_adds(
    trained: Trained, network: Network, left: Network, patterns: Sequence[Pattern], cut: Cut
) -> tuple[dict[str, int], dict[str, int]]:
    """Of one sample under each pattern."""
    content, _ = next(samples_of(trained, "train", 1))
    one = {name: value[:1] for name, value in content.items()}
    before, after = {}, {}
    for pattern in patterns:
        name = pattern_name(pattern, network.spec.names)
        available = one["available"].new_tensor(pattern)[None]
        before[name] = multiply_adds(network, {**one, "available": available})
        after[name] = multiply_adds(left, {**one, "available": available[:, list(cut.inputs)]})
    return before, after


def _remarks(network: Network) -> list[str]:
    found = []
    if is_pretrained(network.spec.backbone):
        found.append(f"The frozen backbone {network.spec.backbone} stays as it is.")
    return found
