"""Metadata whose values are of other types, sealed as a faulty program would: refused in one line that names the file.

Or read as what was meant. Where a value is another one of the same type, at least nothing ends in a traceback.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mamol.api.adapter import _scores
from mamol.backbones.mixture.folder import DESCRIPTION, read_pretrained, tower_of, write_pretrained
from mamol.core.backbone import Origin
from mamol.core.errors import MamolError
from mamol.core.seal import KEY, UNSEALED, read_sealed_json, seal
from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.imagetext.prepare import prepare
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.scenetable import SceneTable
from mamol.evaluation.predictions import read_predictions, write_predictions
from mamol.evaluation.results import read_metrics
from mamol.evaluation.statistics import compare
from mamol.experiments.reproduce.differences import _of_the_samples
from mamol.experiments.reproduce.plan import fingerprint_of
from mamol.training.checkpoints import read_checkpoint
from mamol.training.restoring import restore
from mamol.training.resume import stored_settings
from tests.arrows import content_of, write_again
from tests.data.imagetext.trees import mmimdb_tree
from tests.faults.tampering import VALUES, tampered
from tests.faults.test_seals import told
from tests.lines import tables
from tests.mixtures import small_mixture


def used_scene(path: Path) -> object:
    """All that is read from a scene's table."""
    table = SceneTable.open(path)
    info, first = table.info, np.arange(len(table))
    for name in info.modalities:
        torch.as_tensor(info.normalisation[0][name]), torch.as_tensor(info.normalisation[1][name])
    fingerprint_of({"train": table})
    _of_the_samples(info, info.dataset)
    windows = {name: table.windows(name, first) for name in info.modalities}
    return info.to_json(), info.identity(), info.about(), windows, table.label, table.natural, table.fingerprint


def used_items(path: Path) -> object:
    """All that is read from a table of images with texts."""
    table = ImageTextTable.open(path)
    info = table.info
    fingerprint_of({"train": table})
    _of_the_samples(info, info.dataset)
    return info.to_json(), info.identity(), info.about(), table.label, table.keys, table.fingerprint


def used_checkpoint(path: Path) -> object:
    """The network of a checkpoint."""
    info, state = read_checkpoint(path)
    network = restore(info, state, "random", path)
    return info.to_json(), network.spec.to_json(), network.trainable_state()


OPTIONAL = re.compile(
    r"network\.method_options\.(top_k|balance_weight) is null|score is null"
    r"|test\.(per_.*\.)?(OA|AA|kappa) is null|test\.per_class\..* is null|data\.overlap\..* is null"
)
"""What checkpoints may leave open, and numbers in results that need not be defined."""


def used_backbone(path: Path) -> object:
    """The tower, where each sensor begins, and the scenes that it saw."""
    made = read_pretrained(path.parent)
    tower = tower_of(made, made.sizes.grid, Origin(str(path), seen=frozenset(made.sources.values())))
    return made.sizes.to_json(), tower.weights.state_dict(), tower.starts, sorted(tower.origin.seen), made.card


def used_last(path: Path) -> object:
    """What a training goes on from."""
    return read_checkpoint(path), stored_settings(path)


def check(
    content: Any,
    write: Callable[[Any], object],
    use: Callable[[Path], object],
    path: Path,
    optional: re.Pattern[str] = OPTIONAL,
) -> int:
    """Tries all other values; how many there were."""
    write(content)
    wanted, tried, faults = told(use(path)), 0, []
    for what, changed, other_type in tampered(content):
        tried += 1
        write(changed)
        try:
            found = told(use(path))
        except MamolError as error:
            if "\n" in str(error) or not any(name in str(error) for name in (path.stem, f"{path.parent}:")):
                faults.append(f"{what}: says {error}")
        except Exception as error:
            faults.append(f"{what}: {error!r}"[:200])
        else:
            if other_type and found != wanted and not optional.fullmatch(what):
                faults.append(f"{what}: silent")
    assert not faults, f"{len(faults)} of {tried}:\n" + "\n".join(faults)
    return tried


def copied(source: Path, target: Path) -> Path:
    for path in source.glob("*.arrow"):
        (target / path.name).write_bytes(path.read_bytes())
    return target / "train.arrow"


def write_json(path: Path, content: Any) -> None:
    """Sealed, where there can be a seal; NaN is written, too."""
    path.write_text(json.dumps(content))
    if isinstance(content, dict):
        path.write_text(json.dumps({**content, KEY: UNSEALED}))
        seal(path)


def metadata_of(path: Path) -> Any:
    return json.loads(content_of(path).schema.metadata[b"mamol"])


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_tables_of_scenes(layout: str, scene_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sizes = ("--patch-size", 4, "--train-per-class", 4, "--val-per-class", 2, "--test-per-class", 3)
    build = ("--dataset", "synthetic", "--root", scene_folder, "--out", out, "--layout", layout)
    assert tables(*build, *sizes).returncode == 0
    path = out / "train.arrow"
    table = content_of(path)
    assert check(metadata_of(path), lambda info: write_again(path, table, info), used_scene, path) > 500


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"std": {"hsi": [0.0]}}, r"std\.hsi\[0\] is 0\.0, expected a number above 0"),
        ({"mean": {}}, r"mean has numbers for \{\}, expected one per band of \{'hsi'"),
        ({"counts": {}}, "counts.train lacks water"),
    ],
)
def test_what_a_scene_says_is_told(changed: Any, message: str, table_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    write_again(path, content_of(table_folder / path.name), changed)
    with pytest.raises(MamolError, match=rf"train\.arrow: its metadata is damaged \({message}.*; build it again with"):
        SceneTable.open(path)


def test_tables_of_images_with_texts(tmp_path: Path) -> None:
    mmimdb_tree(tmp_path / "raw", 20, 0, 16)
    prepare(ImageTextOptions("mmimdb", tmp_path / "raw", tmp_path / "out"))
    path = tmp_path / "out" / "train.arrow"
    table = content_of(path)
    assert check(metadata_of(path), lambda info: write_again(path, table, info), used_items, path) > 250


def test_checkpoints(finished_run: Path, tmp_path: Path) -> None:
    (best,) = (finished_run / "checkpoints").glob("best*")
    path, state = tmp_path / "best.safetensors", load_file(best)
    with safe_open(best, "pt") as file:
        content = json.loads(file.metadata()["mamol"])

    def write(changed: Any) -> None:
        from safetensors.torch import save_file

        save_file(state, path, metadata={"mamol": json.dumps(changed), KEY: UNSEALED})
        seal(path)

    assert check(content, write, used_checkpoint, path) > 200


def test_last_checkpoints(finished_run: Path, tmp_path: Path) -> None:
    """The dictionary of Lightning: its description and options are JSON, and weights are tensors."""
    content = torch.load(finished_run / "checkpoints" / "last.ckpt", weights_only=True)
    path = tmp_path / "last.ckpt"
    for key in ("mamol", "state_dict", "mamol_settings"):
        for name, value in VALUES.items():
            torch.save({**content, key: value}, path)
            with pytest.raises(MamolError, match=rf"\A.*{path.name}.*\Z"):
                pytest.fail(f"{key} is {name}: {used_last(path)}")


def test_backbones(tmp_path: Path) -> None:
    """Of a pre-training; what its card says is for people alone."""
    made = replace(small_mixture({"hsi": 3, "sar": 2}, layers=2), sources={"a/hsi.npy": "0" * 64})
    write_pretrained(tmp_path / "backbone", made)
    path = tmp_path / "backbone" / DESCRIPTION
    content = read_sealed_json(path, "")

    assert check(content, partial(write_json, path), used_backbone, path) > 200


def test_results_of_a_test(finished_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    content = read_metrics(finished_run)

    def use(path: Path) -> object:
        kept = read_metrics(path.parent)
        return kept, _scores(kept)

    assert check(content, partial(write_json, path), use, path) > 500


def test_predictions(finished_run: Path, tmp_path: Path) -> None:
    kept, path = read_predictions(finished_run), tmp_path / "predictions.parquet"
    attributes = dict(kept.attrs)

    def write(changed: Any) -> None:
        kept.attrs = changed if isinstance(changed, dict) else attributes
        write_predictions(path, kept)

    def use(path: Path) -> object:
        compare(path, path)
        return read_predictions(path).attrs

    assert check(attributes, write, use, path) > 50
