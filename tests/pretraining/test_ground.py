"""What pre-training learns from: every pixel that a sensor saw, in scenes of any sensors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.data.extents import Extent, Extents
from mamol.data.ground import Ground, _of_pixels, grounds_of, sensors_of
from mamol.data.patches import ChunkedRows
from mamol.data.unlabelled import GroundBatches, GroundDataset, UnlabelledData
from tests.lines import tables

SIDE = 4


def ground(name: str = "scene", bands: dict[str, int] | None = None, height: int = 9, width: int = 11) -> Ground:
    """Random rasters in two chunks; the first modality has a hole in the upper rows."""
    rng = np.random.default_rng(3)
    pixels = {}
    for number, (modality, size) in enumerate((bands or {"hsi": 3, "sar": 2}).items()):
        raster = rng.normal(5 * number, 1 + number, (height * width, size)).astype(np.float32)
        if number == 0:
            raster[: 5 * width] = np.nan
        pixels[modality] = ChunkedRows([raster[:40], raster[40:]])
    return _of_pixels(name, Extents((Extent(name, height, width),)), pixels, SIDE, 0.5, {f"{name}/a.mat": name}, False)


def test_every_pixel_that_a_sensor_saw_is_in_the_middle_of_a_window() -> None:
    own = ground()
    assert own.natural.shape == (99, 2)
    assert own.natural[:, 1].all()
    assert not own.natural[: 5 * 11, 0].any()
    assert own.natural[7 * 11 :, 0].all()
    assert own.windows == -(-99 // SIDE**2)
    alone = ground(bands={"hsi": 3})
    assert len(alone.natural) < 99 == len(own.natural)
    assert alone.natural.all()


def test_bands_are_normalised_by_the_valid_pixels() -> None:
    own = ground()
    index = np.arange(99)
    middle = own.read("hsi", index)[:, :, SIDE // 2, SIDE // 2]
    valid = ~np.isnan(middle[:, 0])
    assert valid.sum() == 4 * 11
    np.testing.assert_allclose(middle[valid].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(middle[valid].std(0), 1, atol=1e-5)
    assert np.isnan(middle[~valid]).all()


def test_sensors_of_the_same_name_and_bands_are_one() -> None:
    grounds = [ground(), ground("other", {"hsi": 3, "lidar": 1}), ground("third", {"hsi": 4})]
    assert [(each.name, each.size) for each in sensors_of(grounds)] == [
        ("hsi", 3),
        ("sar", 2),
        ("lidar", 1),
        ("hsi", 4),
    ]


def batches(grounds: list[Ground], **changes: int) -> GroundBatches:
    return GroundBatches(grounds, MissingSettings(), 3, **{"seed": 0, **changes})


def test_batches_are_of_one_ground_each_and_mixed_and_drawn_anew_each_epoch() -> None:
    grounds = [ground(), ground("other", {"hsi": 3, "lidar": 1})]
    order = batches(grounds)
    first = list(order)
    assert len(first) == len(order) == 6
    assert {each.ground for each in first} == {0, 1}
    for one, same in zip(first, batches(grounds), strict=True):
        assert np.array_equal(one.windows, same.windows)
        assert one.seed == same.seed
        assert (one.available <= grounds[one.ground].natural[one.windows]).all()
        assert one.available.any(1).all()
    order.set_epoch(1)
    assert not all(np.array_equal(a.windows, b.windows) for a, b in zip(first, order, strict=True))


def test_ranks_share_an_epoch_and_have_as_many_batches() -> None:
    grounds = [ground(height=12)]
    whole, (one, other) = list(batches(grounds)), (list(batches(grounds, rank=rank, ranks=2)) for rank in (0, 1))
    assert len(one) == len(other) == len(batches(grounds, rank=1, ranks=2))
    assert {each.seed for each in (*one, *other)} == {each.seed for each in whole}
    assert len(batches(grounds, limit=1)) == len(list(batches(grounds, limit=1))) == 1


def test_a_batch_has_windows_what_is_there_and_noise() -> None:
    grounds = [ground("none", {"ms": 3}), ground()]
    drawn = next(each for each in batches(grounds) if each.ground == 1)
    batch = GroundDataset(grounds)[drawn]
    assert batch["sar"].shape == (len(drawn.windows), 2, SIDE, SIDE)
    assert torch.equal(batch["natural"], torch.from_numpy(grounds[1].natural[drawn.windows]))
    assert batch["noise"].shape == (len(drawn.windows), 2, SIDE**2)
    assert int(batch["ground"]) == 1


def test_a_kind_of_missing_that_a_scene_does_not_have_is_refused_at_once() -> None:
    with pytest.raises(MamolError, match="lidar"):
        UnlabelledData([ground()], MissingSettings(missing_type={"train": "lidar"}), seed=0, batch_size=2)


def test_a_table_with_whole_rasters_gives_the_pixels_of_the_scene(scene_folder: Path, tmp_path: Path) -> None:
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    where = ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(tmp_path), "--layout", "scene"]
    assert not tables(*where, *sizes).returncode
    (of_scene,) = grounds_of("", str(scene_folder), dataset="synthetic", side=4)
    (of_table,) = grounds_of(str(tmp_path), "", modalities=("lidar", "hsi"))
    assert of_table.names == ("lidar", "hsi")
    assert len(of_table.natural) == len(of_scene.natural) == 32 * 36
    assert set(of_scene.sources.values()) < set(of_table.sources.values())
    index = np.array([0, 500, 1151])
    for name in of_table.names:
        np.testing.assert_array_equal(of_table.read(name, index), of_scene.read(name, index))
    with pytest.raises(MamolError, match="one backbone has one side"):
        grounds_of(f"{tmp_path},{_other(scene_folder, tmp_path / 'six')}", "")
    both = grounds_of(f"{tmp_path},{tmp_path / 'six'}", str(scene_folder), dataset="synthetic", side=6)
    assert {each.side for each in both} == {6}


def _other(scene_folder: Path, out: Path) -> Path:
    """The same with windows of six pixels."""
    sizes = ["--patch-size", "6", "--train-per-class", "4", "--val-per-class", "2", "--test-per-class", "2"]
    where = ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(out), "--layout", "scene"]
    assert not tables(*where, *sizes).returncode
    return out
