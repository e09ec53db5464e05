"""Pixels that a sensor did not see, from rasters to tables and missing patterns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.data import holes
from mamol.data.arrays import scene_of
from mamol.data.batches import Masks
from mamol.data.datamodules import MultimodalData
from mamol.data.missing import draw, realised, upon
from mamol.data.patches import WindowCutter
from mamol.data.prepare import Options, prepare
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable
from tests.arrows import content_of, write_again

SIZES = {"train_per_class": 30, "val_per_class": 10, "test_per_class": 30}
P = 4


def scene(seed: int = 0) -> Scene:
    """Two sensors and two classes; a cloud on the one, a swath edge on the other, and a corner that nobody saw."""
    rng = np.random.default_rng(seed)
    labels = np.ones((30, 40), int)
    labels[:, 20:] = 2
    whole = scene_of({"hsi": rng.normal(size=(30, 40, 3)), "sar": rng.normal(size=(30, 40, 1))}, labels)
    torn = {name: raster.astype(np.float32) for name, raster in whole.rasters.items()}
    torn["hsi"][8:18, 5:25] = np.nan
    torn["sar"][:, 33:] = np.nan
    torn["hsi"][24:, 34:] = np.nan
    return replace(whole, rasters=torn)


def built(out: Path, torn: Scene, **options: Any) -> str:
    return prepare(Options("scene", Path("arrays"), out, patch_size=P, **{**SIZES, **options}), torn)


@given(
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0.01, 1.0),
    st.integers(0, 2**31),
    st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_seen_is_what_counting_in_windows_says(
    size: int, height: int, width: int, least: float, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((height, width)) < share
    rows, cols = (each.ravel() for each in np.indices(valid.shape))
    windows = WindowCutter(valid[..., None], size).cut(rows, cols)[:, 0]
    expected = (windows[:, size // 2, size // 2] > 0) & (windows.sum((1, 2)) >= least * size**2)
    np.testing.assert_array_equal(holes.seen(valid, size, least).ravel(), expected)
    of_windows = holes.seen(windows[:, None].astype(bool), size, least)[:, 0]
    np.testing.assert_array_equal(of_windows, expected)


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_draws_act_on_top_of_nature(modalities: int, samples: int, seed: int, ratio: float, share: float) -> None:
    names = ["hsi", "lidar", "sar", "ms"][:modalities]
    natural = np.random.default_rng(seed).random((samples, modalities)) < share
    natural[~natural.any(1), 0] = True
    drawn = draw(samples, names, ratio=ratio, kind="both", seed=seed, fingerprint="f")
    mask = upon(natural, drawn)
    assert mask.any(1).all()
    assert not (mask & ~natural).any()
    left = natural & drawn
    np.testing.assert_array_equal(mask[left.any(1)], left[left.any(1)])
    np.testing.assert_array_equal(mask[~left.any(1)], natural[~left.any(1)])
    np.testing.assert_array_equal(upon(natural, np.ones_like(natural)), natural)


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_tables_say_what_was_seen(layout: str, tmp_path: Path) -> None:
    torn = scene()
    report = built(tmp_path, torn, layout=layout)
    there = holes.natural(torn.rasters, P, 0.5)
    assert there is not None
    for split in ("train", "val", "test"):
        table = SceneTable.open(tmp_path / f"{split}.arrow")
        assert table.info.format_version == 2
        expected = np.stack([each[table.row, table.col] for each in there], 1)
        np.testing.assert_array_equal(table.natural, expected)
        assert expected.any(1).all()
        for name, raster in torn.rasters.items():
            windows = table.windows(name, np.arange(len(table)))
            np.testing.assert_array_equal(windows, WindowCutter(raster, P).cut(table.row, table.col))
        patterns = realised(expected, ["hsi", "sar"])["patterns"]
        assert table.info.natural[split] == patterns
    assert "seen by (a sensor counts where it saw the pixel and 50 % of its window)" in report
    gone = int((~np.logical_or(*there)).sum())
    assert f"left out: {gone} labelled pixels that no sensor saw" in report
    assert table.info.left_out == gone
    header = next(line for line in report.splitlines() if "hsi+sar" in line)
    assert header.split() == ["class", *patterns]


def test_statistics_are_of_valid_training_pixels(tmp_path: Path) -> None:
    torn = scene()
    built(tmp_path, torn)
    table = SceneTable.open(tmp_path / "train.arrow")
    for name, raster in torn.rasters.items():
        values = raster[table.row, table.col].astype(np.float64)
        np.testing.assert_allclose(table.info.mean[name], np.nanmean(values, 0))
        np.testing.assert_allclose(table.info.std[name], np.nanstd(values, 0))


def test_a_scene_without_holes_has_the_tables_of_before(tmp_path: Path) -> None:
    whole = replace(scene(), rasters={k: np.nan_to_num(v, nan=1.0) for k, v in scene().rasters.items()})
    assert "seen by" not in built(tmp_path, whole)
    table = SceneTable.open(tmp_path / "test.arrow")
    assert table.natural is None
    assert table.info.natural == {}
    assert table.info.identity() == {"dataset": "scene", "protocol": "disjoint", "seed": 0}
    assert "natural" not in table.info.about()


def test_only_nature_speaks_at_a_rate_of_zero(tmp_path: Path) -> None:
    built(tmp_path, scene())
    data = MultimodalData(tmp_path, (), MissingSettings(missing_ratio=dict.fromkeys(("train", "val", "test"), 0.0)))
    for split, table in data.tables.items():
        np.testing.assert_array_equal(data.masks[split].first, table.natural)
    batch = next(iter(data.loader("test")))
    absent = ~batch["available"]
    assert not batch["hsi"][absent[:, 0]].any()
    assert batch["hsi"][batch["available"][:, 0]].isnan().any()


def test_the_realised_table_shows_both_causes(tmp_path: Path) -> None:
    built(tmp_path, scene())
    table = SceneTable.open(tmp_path / "test.arrow")
    masks = Masks(table, ("hsi", "sar"), "test", MissingSettings(test_ratio=1.0, test_type="hsi"), 0)
    real = realised(masks.first, masks.modalities, masks.natural, masks.spared)
    assert masks.spared == int((table.natural[:, 0] & ~table.natural[:, 1]).sum()) > 0
    assert real["spared"] == masks.spared
    assert real["natural"]["patterns"] == table.info.natural["test"]
    assert real["patterns"] == {"hsi": masks.spared, "sar": int(table.natural[:, 1].sum())}


def test_epochs_are_drawn_on_top_of_nature(tmp_path: Path) -> None:
    built(tmp_path, scene())
    table = SceneTable.open(tmp_path / "train.arrow")
    masks = Masks(table, ("hsi", "sar"), "train", MissingSettings(resample_missing=True), 0)
    first, second = masks.of_epoch(0), masks.of_epoch(1)
    assert (first != second).any()
    assert not ((first | second) & ~table.natural).any()
    assert second.any(1).all()


def test_a_modality_that_some_samples_lack_is_not_enough(tmp_path: Path) -> None:
    built(tmp_path, scene())
    with pytest.raises(MamolError, match=r"modalities=hsi: \d+ of 60 samples in .*train.arrow have none"):
        MultimodalData(tmp_path, ("hsi",))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "x"])
def test_a_share_that_is_none_is_told(value: Any, tmp_path: Path) -> None:
    with pytest.raises(MamolError, match=r"min-valid .*: expected a share above 0 and at most 1"):
        built(tmp_path / "out", scene(), min_valid=value)
    assert not (tmp_path / "out").exists()


def test_min_valid_decides_what_a_sample_has(tmp_path: Path) -> None:
    numbers = []
    for least in (0.3, 0.7, 1.0):
        built(tmp_path / str(least), scene(), min_valid=least, train_per_class=300, test_per_class=1, val_per_class=0)
        info = SceneTable.open(tmp_path / str(least) / "train.arrow").info
        assert info.min_valid == least
        numbers.append(info.natural["train"]["hsi+sar"])
    assert numbers[0] > numbers[1] > numbers[2]


def blind(rasters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.full_like(raster, np.nan) for name, raster in rasters.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (blind, "labels: no sensor saw any labelled pixel"),
        (
            lambda r: {**r, "sar": np.full_like(r["sar"], np.nan)},
            "modality sar: it saw no training pixel",
        ),
    ],
)
def test_scenes_that_nobody_saw_are_told(
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], message: str, tmp_path: Path
) -> None:
    torn = scene()
    with pytest.raises(MamolError, match=message):
        built(tmp_path / "out", replace(torn, rasters=change(torn.rasters)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["scene", "polygon", "index", "label", "row", "col", "available", "dense"])
def test_names_that_tables_use_are_no_modalities(name: str, tmp_path: Path) -> None:
    torn = scene()
    other = replace(torn, rasters={"hsi": torn.rasters["hsi"], name: torn.rasters["sar"]})
    with pytest.raises(MamolError, match=f"modality {name}: tables use this name for something else"):
        built(tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_optional_parts_of_version_2_are_read(tmp_path: Path) -> None:
    import pyarrow as pa

    built(tmp_path, scene())
    path = tmp_path / "test.arrow"
    table = content_of(path)
    table = table.append_column("polygon", pa.array(range(len(table)), pa.uint32()))
    other = tmp_path / "other.arrow"
    write_again(other, table, {"content": {"hsi": "0"}, "scenes": [], "dense": None})
    assert len(SceneTable.open(other)) == len(SceneTable.open(path))
