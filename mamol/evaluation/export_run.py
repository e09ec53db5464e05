"""``export`` of a run: an ONNX file that needs none of this program, checked against the network on real windows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.files import new_folder
from mamol.core.method import Batch
from mamol.core.names import pattern_name
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.data.facts import shown_name
from mamol.evaluation.derived import alternating, samples_of, source_of
from mamol.evaluation.exported import CARD, LICENCE, Export, card
from mamol.evaluation.fitting import min_valid_of, present_patterns
from mamol.evaluation.onnxfile import OnnxFile, check_packages, write_onnx
from mamol.evaluation.patterns import all_patterns
from mamol.evaluation.trained import Trained, open_trained
from mamol.network.dense import AVAILABLE, Graph
from mamol.training.checkpoints import CheckpointInfo, read_checkpoint
from mamol.training.machine import use_threads

FOLDER, MODEL = "export", "model.onnx"
WINDOWS, ROUNDS = 32, 15
TOLERANCE = 1e-4


def export_run(settings: Settings) -> tuple[Path, str]:
    """Exports a run.

    Args:
        settings: ``load_path``, ``format``, ``present``; ``data_root``, unless the run's own tables lie where they did.

    Returns:
        The folder of the result, in the run's own, and the report for people.

    Raises:
        MamolError: Something given does not fit, the run cannot be exported, or the file says something else than the
            run; nothing is written then.
    """
    check_packages()
    info, _ = read_checkpoint(settings.run.load_path)
    fixed = present_patterns(settings.predict.present, info)[0] if settings.predict.present else None
    trained = open_trained(settings, "export")
    network = exportable(trained.network)
    windows = list(_windows(trained, fixed))
    graph = Graph(network.cpu(), fixed).eval()
    metadata = metadata_of(trained, info, graph)

    def fill(folder: Path) -> str:
        path = folder / MODEL
        write_onnx(path, graph, [torch.cat([windows[0][1][name]] * 2) for name in graph.inputs], metadata)
        file = OnnxFile(path)
        differences = {name: _difference(network, file, batch, name) for name, batch in windows}
        done = Export(
            source=source_of(trained),
            inputs=file.inputs,
            metadata=metadata,
            bytes=path.stat().st_size,
            differences=differences,
            latency=_latency(network, file, windows),
            title=trained.title("export"),
        )
        (folder / CARD).write_text(card(done, info), "utf-8")
        return done.write(folder)

    return new_folder(trained.folder(FOLDER).parent, FOLDER, fill)


def exportable(network: AnyNetwork) -> AnyNetwork:
    """Refuses a network that is no graph of windows.

    Args:
        network: Any.

    Returns:
        It.

    Raises:
        MamolError: It takes something else, or what it computes depends on the patterns of the whole batch.
    """
    spec = network.spec
    if not spec.takes_windows:
        raise MamolError(f"this run takes {' and '.join(spec.names)}; export takes runs on windows")
    if not network.one_graph:
        raise MamolError(
            f"network={spec.network} sends complete and incomplete samples of a batch through different branches, "
            "which is no graph for all patterns; export takes network=clip, unet and perceiver"
        )
    return network


def _windows(trained: Trained, fixed: Sequence[str] | None) -> Iterator[tuple[str, Batch]]:
    """Test windows under each pattern, as they are and with holes.

    Raises:
        MamolError: No sample has the fixed pattern.
    """
    names = trained.network.spec.names
    content, natural = next(samples_of(trained, "test", WINDOWS))
    content = {name: value.cpu() for name, value in content.items() if name in names}
    patterns = all_patterns(len(names)) if fixed is None else np.array([[name in fixed for name in names]])
    for pattern in patterns:
        rows = torch.from_numpy(np.flatnonzero(natural[:, pattern].all(1)))
        if len(rows):
            shown = pattern_name(pattern, names)
            chosen = {name: value[rows] for name, value in content.items()}
            chosen[AVAILABLE] = torch.from_numpy(pattern).expand(len(rows), -1).clone()
            yield shown, chosen
            yield f"{shown} with holes", {**chosen, **{name: _holed(chosen[name], name, names) for name in names}}
    if fixed is not None and not natural[:, patterns[0]].all(1).any():
        raise MamolError(f"present={'+'.join(fixed)}: no sample of {trained.table.path} has it; choose another pattern")


def _holed(windows: Tensor, name: str, names: Sequence[str]) -> Tensor:
    """Windows with a hole of a quarter, each modality in another corner, not at the middle pixel."""
    holed, number, side = windows.clone(), names.index(name), windows.shape[-1]
    rows, columns = (slice(0, side // 2) if number >> bit & 1 else slice(side // 2 + 1, side) for bit in (0, 1))
    holed[:, :, rows, columns] = float("nan")
    return holed


def arrays_of(batch: Batch) -> dict[str, NDArray[Any]]:
    """A batch for onnxruntime.

    Args:
        batch: On the CPU.
    """
    return {name: value.numpy() for name, value in batch.items()}


@torch.inference_mode()
def _difference(network: AnyNetwork, file: OnnxFile, batch: Batch, pattern: str) -> float:
    """How far the file is from the network, over the largest logit where that is above 1.

    Raises:
        MamolError: Too far.
    """
    wanted = network(batch)[0].numpy()
    temperatures = network.calibration.temperatures(batch[AVAILABLE].numpy())
    wanted = wanted / temperatures.reshape(-1, *(1 for _ in wanted.shape[1:]))
    difference = float(np.abs(file.logits(arrays_of(batch)) - wanted).max() / max(1, np.abs(wanted).max()))
    if not difference <= TOLERANCE:
        raise MamolError(
            f"export: under {pattern} the file's logits differ by {difference:.1e} from those of the run, more than "
            f"{TOLERANCE:.0e}, so nothing was written"
        )
    return difference


@torch.inference_mode()
def _latency(network: AnyNetwork, file: OnnxFile, windows: Sequence[tuple[str, Batch]]) -> dict[str, dict[str, float]]:
    """Milliseconds of one sample on one thread, of the most complete pattern and of the least."""
    threads, found = torch.get_num_threads(), {}
    use_threads(1)
    try:
        for pattern, batch in dict([windows[0], windows[-2]]).items():
            one = {name: value[:1] for name, value in batch.items()}
            calls: dict[str, Callable[[], object]] = {
                "onnxruntime": partial(file.logits, arrays_of(one)),
                "PyTorch": partial(network, one),
            }
            found[pattern] = alternating(calls, ROUNDS)
    finally:
        use_threads(threads)
    return found


def metadata_of(trained: Trained, info: CheckpointInfo, graph: Graph) -> dict[str, str]:
    """What the file says of itself: texts, of which those that are lists or numbers are JSON.

    Args:
        trained: The run.
        info: Of its checkpoint.
        graph: What is written.
    """
    network, spec = trained.network, trained.network.spec
    told: Mapping[str, object] = {
        "classes": list(spec.classes),
        "bands": {name: spec.sizes[name] for name in graph.inputs if name != AVAILABLE},
        "modalities": list(spec.names),
        "window": spec.grid,
        "dense": network.dense,
        "min_valid": min_valid_of(info),
        "task": trained.table.info.task,
    }
    texts = {
        "title": trained.title("export"),
        "dataset": shown_name(info.dataset, info.dataset),
        "network": spec.label,
        "backbone": spec.backbone,
        "backbone_origin": network.origin,
        "backbone_fingerprint": network.fingerprint,
        "checkpoint": str(source_of(trained)["sha256"]),
        "calibration": network.calibration.fingerprint,
        "version": info.version,
        "licence": LICENCE,
        "remark": "random frozen weights: says nothing about the backbone" if network.random_weights else "",
    }
    return {f"mamol.{name}": json.dumps(value, ensure_ascii=False) for name, value in told.items()} | {
        f"mamol.{name}": text for name, text in texts.items()
    }
