"""``merge`` of a run: for one missing pattern its low-rank updates become hidden units of a plain tower's MLPs."""

import errno
import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.method import Batch
from mamol.core.names import pattern_name
from mamol.core.seal import KEY as SEAL
from mamol.core.seal import UNSEALED, seal
from mamol.core.settings import Settings
from mamol.evaluation.derived import alternating, copy_config, samples_of, scores_of_both, source_of
from mamol.evaluation.fitting import present_patterns
from mamol.evaluation.merged import Merging
from mamol.evaluation.pruned import multiply_adds, same_parts
from mamol.evaluation.saliency import patterns_of
from mamol.evaluation.trained import Trained, open_trained
from mamol.network.merging import PLAIN, mergeable, merged
from mamol.network.network import Network
from mamol.network.parameters import count
from mamol.training.checkpoints import KEY, read_checkpoint, save_checkpoint

FOLDER = "merged"
CHECKPOINT = Path("checkpoints", "best-merged.safetensors")
TOWER = "tower.safetensors"
WINDOWS, ROUNDS = 64, 15
TOLERANCE = 1e-5


def merge_run(settings: Settings) -> tuple[Path, str]:
    """Merges a run.

    Args:
        settings: ``load_path``, ``present``; ``data_root``, unless the run's own tables lie where they did.

    Returns:
        The folder of the result, in the run's own, and the report for people.

    Raises:
        MamolError: Something given does not fit, the run cannot be merged, or the result is not the same; nothing is
            written then.
    """
    path = settings.run.load_path
    info, _ = read_checkpoint(path)
    (pattern,) = present_patterns(settings.predict.present, info)
    trained = open_trained(settings.changed(calibrated=False), "merge")
    names = trained.network.spec.names
    present = [names.index(name) for name in pattern]
    network = mergeable(trained.network, present)
    left = merged(network, present)
    there, here = _windows(trained, present)
    difference = _difference(network, left, there, here)
    one, alone = ({name: value[:1] for name, value in batch.items()} for batch in (there, here))
    with torch.inference_mode():
        latency = alternating({"before": lambda: network(one), "after": lambda: left(alone)}, ROUNDS)
    patterns = [pattern_name(each, pattern) for each in patterns_of(pattern, (), pattern)]
    done = Merging(
        source=source_of(trained),
        present="+".join(pattern),
        ranks=left.spec.options["merged_ranks"],
        hidden=network.tower.blocks[0].feed_forward.inner,
        difference=difference,
        windows=len(here["available"]),
        parameters=same_parts(count(network), count(left)),
        multiply_adds=(multiply_adds(network, one), multiply_adds(left, alone)),
        latency=(latency["before"], latency["after"]),
        threads=torch.get_num_threads(),
        scores=scores_of_both(trained, left, patterns),
        title=trained.title("merging"),
    )

    def fill(folder: Path) -> str:
        save_checkpoint(folder / CHECKPOINT, left, replace(info, network=left.spec, score=None))
        write_tower(folder / TOWER, left)
        options = {"modalities": list(left.spec.names), "method": PLAIN, "merged_ranks": list(done.ranks)}
        copy_config(trained.checkpoint, folder, {**options, "experts_per_block": None})
        return done.write(folder)

    return new_folder(trained.folder(FOLDER).parent, FOLDER, fill)


def _windows(trained: Trained, present: list[int]) -> tuple[Batch, Batch]:
    """Test samples that have the pattern, for the network and for the merged one.

    Raises:
        MamolError: There is none.
    """
    for content, natural in samples_of(trained, "test", len(trained.table)):
        rows = torch.from_numpy(natural[:, present].all(1)).to(trained.device)
        if rows.any():
            chosen = {name: value[rows][:WINDOWS] for name, value in content.items()}
            available = torch.zeros_like(chosen["available"])
            available[:, present] = True
            return {**chosen, "available": available}, {**chosen, "available": available[:, present]}
    names = "+".join(trained.modalities[i] for i in present)
    raise MamolError(f"present={names}: no sample of {trained.table.path} has it; choose another pattern")


@torch.inference_mode()
def _difference(network: Network, left: Network, there: Batch, here: Batch) -> float:
    """How far the logits are from each other.

    Raises:
        MamolError: Too far.
    """
    before, after = network(there)[0], left(here)[0]
    difference = float((after - before).abs().max() / before.abs().max().clamp(min=1))
    if not difference <= TOLERANCE:
        raise MamolError(
            f"merge: the logits would differ by {difference:.1e} from those of the run, more than {TOLERANCE:.0e}, so "
            "nothing was written; keep the run as it is"
        )
    return difference


def write_tower(path: Path, network: Network) -> None:
    """Writes the whole tower in open_clip's names, all MLPs as wide as the widest, which added zeros see to.

    Args:
        path: A new ``.safetensors`` file. Its header says, under ``mamol``, ``mlp_width`` and the backbone.
        network: Of ``merged``.

    Raises:
        OSError: It cannot be written.
    """
    tower = deepcopy(network.tower).cpu()
    mlps = [block.feed_forward for block in tower.blocks]
    widest = max(mlp.inner for mlp in mlps)
    for mlp in mlps:
        rank = (widest - mlp.inner) // 2
        mlp.absorb(torch.zeros(rank, mlp.width), torch.zeros(mlp.width, rank))
    described = {
        "mlp_width": widest,
        "backbone": network.spec.backbone,
        "origin": network.origin,
        "random_weights": network.random_weights,
        SEAL: UNSEALED,
    }
    state = {name: value.contiguous() for name, value in tower.state_dict().items()}
    try:
        save_file(state, path, metadata={KEY: json.dumps(described)})
    except SafetensorError as error:  # its own name for all that a disk can do
        raise OSError(errno.EIO, str(error), str(path)) from error
    seal(path)
