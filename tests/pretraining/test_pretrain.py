"""``python run.py pretrain``: no label is read, a stopped one goes on, results are marked, mistakes are one line."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.io import loadmat, savemat
from torch import Tensor

import mamol
from mamol.api.pretrain import Pretraining, pretraining
from mamol.backbones.mixture.folder import DESCRIPTION, WEIGHTS, read_pretrained
from mamol.backbones.mixture.tower import NAMED
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.arrowfiles import map_file
from mamol.evaluation import reconstructions
from mamol.evaluation.plots import training_curves
from mamol.training.pretraining import Pretrainer
from mamol.training.quiet import quiet
from tests.lines import run, tables, trained

QUICK: dict[str, Any] = {
    "backbone": "tiny",
    "num_gpus": 0,
    "threads": 1,
    "progress_bar": False,
    "batch_size": 16,
    "per_gpu_batchsize": 16,
    "max_epoch": 2,
    "precision": 32,
}


@pytest.fixture(autouse=True)
def everything_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of ``_shrink``."""
    _shrink(monkeypatch)


def _shrink(patch: pytest.MonkeyPatch) -> None:
    """``tiny`` of width 16 with six blocks; pictures and scores of a few windows."""
    patch.setitem(NAMED, "tiny", (16, 6, 2))
    patch.setattr(reconstructions, "SHOWN", 1)
    patch.setattr(reconstructions, "WINDOWS", 16)


@pytest.fixture(scope="module")
def made(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished pre-training on the synthetic scene."""
    with pytest.MonkeyPatch.context() as patch:
        _shrink(patch)
        yield pretrained(tmp_path_factory.mktemp("runs"), scene=str(scene_folder), dataset="synthetic", window=4)


def pretrained(log_dir: Path, **options: Any) -> Path:
    """The run's folder."""
    with quiet():
        return pretraining(Settings.of({**QUICK, "log_dir": str(log_dir), **options})).folder.parent


def weights(folder: Path) -> bytes:
    return (folder / "backbone" / WEIGHTS).read_bytes()


def test_it_leaves_a_backbone_a_card_curves_and_a_picture(made: Path) -> None:
    found = read_pretrained(made / "backbone")
    assert {each.name: each.size for each in found.sizes.sensors} == {"hsi": 48, "lidar": 1, "sar": 2}
    assert (found.sizes.grid, found.sizes.experts, found.sizes.mixtures) == (4, 4, (3, 4, 5))
    assert found.sources
    assert not any("label" in name.lower() or "gt" in name.lower() for name in found.sources)
    assert found.card["synthetic"] is True
    assert found.card["steps"] == 2 * (1 + 32 * 36 // 16 // 16)
    scores = found.card["r2"]
    assert {each["given"] for each in scores} >= {"hsi+lidar+sar", "hsi", "lidar+sar"}
    assert all(each["r2"] < 1 and each["pixels"] for each in scores)
    assert json.loads((made / "metrics.json").read_text())["pretrain"] == found.card
    assert len(pd.read_csv(made / "history.csv")) == 2
    assert training_curves(pd.read_csv(made / "history.csv"))
    assert {each.name for each in made.glob("*.png")} == {"curves.png", "reconstructions.png"}


def test_no_label_of_a_scene_is_read(made: Path, scene_folder: Path, tmp_path: Path) -> None:
    changed = tmp_path / "scene"
    changed.mkdir()
    labels = 0
    for path in scene_folder.iterdir():
        if path.suffix == ".mat" and "label" in path.stem.lower():
            content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
            savemat(changed / path.name, {name: value[::-1, ::-1] for name, value in content.items()})
            labels += 1
        else:
            (changed / path.name).write_bytes(path.read_bytes())
    assert labels
    other = pretrained(tmp_path, scene=str(changed), dataset="synthetic", window=4)
    assert weights(other) == weights(made)


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_no_label_of_a_table_is_read(layout: str, scene_folder: Path, tmp_path: Path) -> None:
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    table = tmp_path / "table"
    where = ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(table), "--layout", layout]
    assert not tables(*where, *sizes).returncode
    one = pretrained(tmp_path, data_root=str(table), exp_name="one")
    for split in ("train", "val", "test"):
        _change_labels(table / f"{split}.arrow")
    other = pretrained(tmp_path, data_root=str(table), exp_name="other")
    assert weights(other) == weights(one)


def _change_labels(path: Path) -> None:
    """Another class for every sample; without the checksum, which is told in a warning."""
    _, table = map_file(path)
    table = table.replace_schema_metadata(
        {key: value for key, value in (table.schema.metadata or {}).items() if b"mamol-sha256" not in value}
    )
    column = table["label"].combine_chunks()
    label = pa.array((column.to_numpy() + 1) % 6, column.type)
    assert not np.array_equal(label.to_numpy(), column.to_numpy())
    table = table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), label)
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, table.schema) as writer:
        writer.write_table(table)
    path.write_bytes(content.getvalue())


def test_a_stopped_one_goes_on_to_the_same_bits(
    made: Path, scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"scene": str(scene_folder), "dataset": "synthetic", "window": 4}
    step = Pretrainer.training_step

    def stops(self: Pretrainer, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if self.current_epoch == 1 and batch_idx == 2:
            raise RuntimeError("power is gone")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "training_step", stops)
        with pytest.raises(RuntimeError, match="power is gone"):
            pretrained(tmp_path, **given)
    last = tmp_path / "mamol_seed0" / "checkpoints" / "last.ckpt"
    for changes, match in (
        ({"mask_ratio": 0.5}, "mask_ratio 0.75 there, 0.5 here"),
        ({"learning_rate": 1e-3}, "learning_rate 0.002 there"),
        ({"modalities": "hsi,lidar"}, "modalities"),
    ):
        with pytest.raises(MamolError, match=match):
            Pretraining(Settings.of({**QUICK, **given, "resume_from": str(last), **changes}))
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged" / "checkpoints" / "last.ckpt"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(content)
    with pytest.raises(MamolError, match="damaged"):
        Pretraining(Settings.of({**QUICK, **given, "resume_from": str(damaged)}))
    again = pretrained(tmp_path, **given, resume_from=str(last))
    assert again == last.parent.parent
    assert weights(again) == weights(made)
    first, second = (pd.read_csv(folder / "history.csv") for folder in (made, again))
    pd.testing.assert_frame_equal(first, second, rtol=1e-6)
    with pytest.raises(MamolError, match="that run is finished"):
        Pretraining(Settings.of({**QUICK, **given, "resume_from": str(last)}))


def test_results_on_it_are_marked_transductive_on_the_scenes_that_it_saw(
    made: Path, table_folder: Path, tmp_path: Path
) -> None:
    options = (f"data_root={table_folder}", f"backbone={made / 'backbone'}", "max_epoch=1", "limit_batches=2")
    done = trained(tmp_path, *options, "method=linear_probe")
    told = json.loads((done / "metrics.json").read_text("utf-8"))["backbone"]
    assert told["transductive"] is True
    said = run(
        "with", "remote", *options, "num_gpus=0", f"load_path={done}", "test_only=True", f"log_dir={tmp_path}",
        "method=linear_probe", "progress_bar=False",
    )  # fmt: skip
    assert "transductive: the backbone was pre-trained on this scene" in said.stdout


def test_another_scene_is_not_marked(made: Path, table_folder: Path, tmp_path: Path) -> None:
    content = json.loads((made / "backbone" / DESCRIPTION).read_text("utf-8"))
    content.pop("seal")
    other = tmp_path / "other"
    other.mkdir()
    (other / WEIGHTS).write_bytes(weights(made))
    (other / DESCRIPTION).write_text(json.dumps({**content, "sources": {"a/b.mat": "0" * 64}}))
    options = (f"data_root={table_folder}", f"backbone={other}", "max_epoch=1", "limit_batches=1")
    done = trained(tmp_path, *options)
    assert json.loads((done / "metrics.json").read_text("utf-8"))["backbone"]["transductive"] is False


def _area(folder: Path) -> Path:
    """Two scenes of other bands, without a label; the first has a hole in its optical image."""
    rng = np.random.default_rng(0)
    for name, bands in {"north": {"optical": 4, "sar": 2}, "south": {"optical": 3, "sar": 2}}.items():
        (folder / name).mkdir(parents=True)
        for modality, size in bands.items():
            raster = rng.normal(size=(14, 13, size)).astype(np.float32)
            if size == 4:
                raster[:6] = np.nan
            np.save(folder / name / f"{modality}.npy", raster)
        described = {"modalities": {modality: {"file": f"{modality}.npy"} for modality in bands}}
        (folder / name / "scene.json").write_text(json.dumps(described))
    return folder


@pytest.mark.usefixtures("figures")
def test_from_python_it_is_a_path(scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the backbone, with the scores to print; beside it are its pictures."""
    _shrink(monkeypatch)
    given = {**QUICK, "scene": scene_folder, "dataset": "synthetic", "window": 4, "log_dir": tmp_path}
    found = mamol.pretrain(**given)
    assert read_pretrained(Path(found)).card["r2"]
    assert "| synthetic | hsi+lidar+sar |" in str(found)
    for name in ("curves.png", "reconstructions.png"):
        assert (Path(found).parent / name).stat().st_size > 10_000
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(MamolError, match="2 processes cannot be started from a notebook"):
        mamol.pretrain(**given, cpu_processes=2)


def test_many_scenes_of_other_bands_make_one_backbone(tmp_path: Path) -> None:
    options = (*(f"{k}={v}" for k, v in QUICK.items()), f"scene={_area(tmp_path / 'area')}", f"log_dir={tmp_path}")
    said = run(
        "pretrain", "with", *options, "window=4", "mixture_blocks=[1,5]", "mixture_input=both", "missing_type=all"
    )
    assert said.returncode == 0, said.stderr
    found = read_pretrained(Path(said.stdout.splitlines()[-1]))
    sensors = [(each.name, each.size) for each in found.sizes.sensors]
    assert sensors == [("optical", 4), ("sar", 2), ("optical", 3)]
    assert found.sizes.mixtures == (1, 5)
    assert not found.state["knowledge.modality"].any()
    assert sorted(found.sources) == [f"{s}/{m}.npy" for s in ("north", "south") for m in ("optical", "sar")]
    assert {each["ground"] for each in found.card["r2"]} == {"north", "south"}
    assert "| north | optical+sar |" in said.stdout


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "pretrain needs data_root=<folder of tables> or scene=<raw folder>"),
        ({"backbone": "ViT-B-16-quickgelu"}, "pretrain makes tiny, small, base; choose one"),
        ({"availability": {"hsi": 0.5}}, "availability: pretrain hides modalities by missing_ratio"),
        ({"scene": "{scene}", "missing_type": "ms"}, "ms"),
        ({"scene": "{scene}", "mixture_top_k": 5}, "top_k is 5, expected at most the 4 experts"),
        ({"scene": "{scene}", "mixture_blocks": "last9"}, "mixture_blocks=.last9.: the tower has the blocks 0 to 5"),
        ({"scene": "{scene}", "mask_ratio": 1}, "mask_ratio=1 must be a number above 0 and below 1"),
        ({"scene": "nowhere"}, "nowhere: no such folder"),
        ({"data_root": "{table}", "window": 6}, "has cut windows of 4 pixels; leave it out"),
        ({"data_root": "{table}", "modalities": "ms"}, "modalities=ms: .* has hsi, lidar, sar"),
        ({"scene": "{scene}", "resume_from": "{run}/checkpoints/last.ckpt"}, "that run is finished"),
        ({"scene": "{scene}", "batch_size": 17}, "batch_size=17 must be a multiple of"),
    ],
)
def test_mistakes_are_told_in_one_line(
    options: dict[str, Any], match: str, made: Path, scene_folder: Path, table_folder: Path
) -> None:
    places = {"scene": scene_folder, "table": table_folder, "run": made}
    given = {k: v.format(**places) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(MamolError, match=match) as told:
        Pretraining(Settings.of({**QUICK, "dataset": "synthetic", **given}))
    assert "\n" not in str(told.value)
