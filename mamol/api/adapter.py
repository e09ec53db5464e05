"""An adapter to hand on: the trained part without its run, a description, and a page for people."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.files import replacing_folder, write_json
from mamol.core.seal import write_sealed_json
from mamol.core.spec import NetworkSpec
from mamol.evaluation.markdown import markdown
from mamol.evaluation.marking import TRANSDUCTIVE, marked
from mamol.evaluation.results import METRICS
from mamol.training.calibrations import calibration_path
from mamol.training.checkpoints import ADAPTER, CheckpointInfo, write_state

DESCRIPTION = "description.json"
CARD = "README.md"


def save_adapter(
    folder: Path,
    info: CheckpointInfo,
    state: Mapping[str, Tensor],
    metrics: Mapping[str, Any] | None,
    calibration: Path | None = None,
) -> None:
    """Writes the folder of an adapter, whole or not at all; ``mamol.load`` and ``load_path`` read it.

    Args:
        folder: It must not be there yet, or be empty.
        info: What the weights belong to.
        state: The trained part.
        metrics: Of the run, for the page; None if it was never tested.
        calibration: The file beside the checkpoint, if there is one; it goes along.

    Raises:
        MamolError: There is something in the folder, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MamolError(f"save: {folder} is there and not empty; give another folder")
    try:
        with replacing_folder(folder) as temporary:
            write_state(temporary / ADAPTER, state, info)
            write_json(temporary / DESCRIPTION, json.loads(info.to_json()))
            if calibration is not None and calibration.is_file():
                shutil.copyfile(calibration, calibration_path(temporary / ADAPTER))
            if metrics is not None:
                write_sealed_json(temporary / METRICS, metrics)
            (temporary / CARD).write_text(model_card(folder.name, info, metrics), "utf-8")
    except OSError as error:
        raise MamolError(f"save: {folder} cannot be written ({error}); free space or give another folder") from error


def model_card(name: str, info: CheckpointInfo, metrics: Mapping[str, Any] | None) -> str:
    """A page about an adapter, as model hubs show it.

    Args:
        name: Of the adapter.
        info: What the weights belong to.
        metrics: Of the run; None if it was never tested.

    Returns:
        Markdown with a header of plain values.
    """
    network, data = info.network, info.data
    dataset = str(data.get("dataset", "unknown data"))
    transductive = (metrics or {}).get("backbone", {}).get(TRANSDUCTIVE, False)
    modalities = ", ".join(f"{each.name} ({each.size})" for each in network.modalities)
    lines = [
        "---",
        "library_name: mamol",
        f"tags: [remote-sensing, missing-modality{', lora' if network.method else ''}]",
        "---",
        "",
        f"# {marked(name, dataset, info.random_weights, transductive)}",
        "",
        f"{_what(network)}. It classifies with any of its modalities present; those that are absent are left out of "
        "the call.",
        "",
        f"- Modalities and their bands, in order: {modalities}",
        *([f"- Windows of {network.grid} × {network.grid} pixels in sensor units"] if network.takes_windows else []),
        f"- Classes: {', '.join(network.classes)}",
        f"- Frozen weights: {info.backbone_origin}"
        + (f", sha256 `{info.backbone_fingerprint}`" if network.backbone else ""),
        f"- Trained on: {dataset}, " + ", ".join(f"{k} {data[k]}" for k in ("protocol", "seed") if k in data),
        f"- Epochs: {info.epoch}; made with mamol {info.version}",
        "",
        *(_scores(metrics) if metrics else ["It was not tested.", ""]),
        "## Use",
        "",
        "```python",
        "import mamol",
        "",
        f'run = mamol.load("{name}")'
        + ("  # clip_weights=… for weights of your own" if network.backbone and not info.random_weights else ""),
        *(
            [
                f'run.predict({{"{network.names[0]}": windows}})  # (N, {network.modalities[0].size}, {network.grid}, '
                f"{network.grid}) -> (N, {len(network.classes)})"
            ]
            if network.takes_windows
            else ['run.evaluate("tables")']
        ),
        "```",
        "",
    ]
    return "\n".join(lines)


def _what(network: NetworkSpec) -> str:
    """What was trained, in words."""
    if not network.backbone:
        return f"All weights of a network `{network.network}`"
    trained = network.options.get("train_backbone", False)
    if trained:
        part = "all" if trained is True else f"the {trained} blocks"
        return f"An adapter of method `{network.method}` and {part} of `{network.backbone}`, trained with it"
    return f"An adapter of method `{network.method}` for a frozen `{network.backbone}`"


def _scores(metrics: Mapping[str, Any]) -> list[str]:
    """A table of the test, as a whole and by what was present."""
    test = metrics["test"]
    parts = {"all": test, **test.get("per_pattern", {})}
    scores = [key for key, value in test.items() if key != "n" and isinstance(value, float)]
    rows = [
        {"present": name, "n": part.get("n"), **{score: part.get(score) for score in scores}}
        for name, part in parts.items()
    ]
    return ["## Test", "", markdown(pd.DataFrame(rows)), ""]
