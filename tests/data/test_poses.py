"""Flips and turns of training windows: the same for every band and for the labels, drawn from seed and epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamol.core.groups import MissingSettings
from mamol.data.datamodules import MultimodalData
from mamol.data.dense import Poses, posed
from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable
from tests.areas import write_scene

SQUARE = np.array([[1, 2], [3, 4]])


def one(turn: int, flip: int, array: np.ndarray = SQUARE) -> np.ndarray:
    return posed(array[None], np.array([[turn, flip]]))[0]


def test_flips_and_turns_are_what_they_are_called() -> None:
    np.testing.assert_array_equal(one(0, 1), [[2, 1], [4, 3]])
    np.testing.assert_array_equal(one(2, 1), [[3, 4], [1, 2]])
    np.testing.assert_array_equal(one(1, 0), [[2, 4], [1, 3]])
    np.testing.assert_array_equal(one(0, 0), SQUARE)


@pytest.mark.parametrize(("augment", "known"), [(("flips",), 4), (("turns",), 4), (("flips", "turns"), 8)])
def test_every_pose_is_drawn_as_often_and_is_another_one(augment: tuple[str, ...], known: int) -> None:
    poses = Poses.of(augment)
    seen = {one(*pose).tobytes() for pose in poses.known}
    assert len(seen) == len(poses.known) == known
    drawn = poses.draw(8000, 0, 0)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == known
    assert counts.min() > 0.85 * 8000 / known
    assert (drawn != poses.draw(8000, 0, 1)).any()
    assert (drawn != poses.draw(8000, 1, 0)).any()


@given(size=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_windows_and_labels_go_together_and_four_turns_are_none(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 100, (5, size, size))
    windows = np.stack([labels, -labels], axis=1).astype(np.float32)
    poses = Poses.of(("flips", "turns")).draw(5, seed, 0)
    np.testing.assert_array_equal(posed(windows, poses)[:, 0], posed(labels, poses))
    turned = windows
    for _ in range(4):
        turned = posed(turned, np.tile([1, 0], (5, 1)))
    np.testing.assert_array_equal(turned, windows)
    np.testing.assert_array_equal(posed(posed(windows, np.tile([2, 1], (5, 1))), np.tile([2, 1], (5, 1))), windows)


@pytest.fixture(scope="module", params=["classes", "segmentation"])
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows with labels for all their pixels, of either task."""
    folder = tmp_path_factory.mktemp("poses")
    root = write_scene(folder / "field", 0, (24, 30))
    given = {"task": "segmentation", "tile": 6} if request.param == "segmentation" else {"patch_size": 6}
    prepare(Options("scene", root, folder / "out", layout="scene", **given))  # type: ignore[arg-type]
    return folder / "out"


def batches(
    tables: Path, workers: int = 0, epoch: int = 0, augment: tuple[str, ...] = ()
) -> list[dict[str, torch.Tensor]]:
    data = MultimodalData(tables, missing=MissingSettings(), batch_size=7, workers=workers, seed=3)
    data.serve_pixels(None, augment)
    loader = data.loader("train")
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader)


def test_a_batch_is_the_same_pose_of_all_its_arrays(tables: Path) -> None:
    plain, augmented = batches(tables), batches(tables, augment=("flips", "turns"))
    changed = 0
    samples = len(SceneTable.open(tables / "train.arrow"))
    poses = Poses.of(("flips", "turns")).draw(samples, 3, 0)
    for one_batch, other in zip(plain, augmented, strict=True):
        own = poses[one_batch["index"].numpy()]
        for name in ("hsi", "sar", "label"):
            np.testing.assert_array_equal(posed(one_batch[name].numpy(), own), other[name].numpy())
            changed += not torch.equal(one_batch[name], other[name])
        for name in ("index", "available", "row", "col"):
            torch.testing.assert_close(one_batch[name], other[name])
    assert changed > 3


def test_workers_change_nothing_and_tests_are_never_posed(tables: Path) -> None:
    """And an epoch that is loaded again, as a resumed run does, is the same."""
    given = {"augment": ("flips", "turns"), "epoch": 2}
    alone, helped = batches(tables, **given), batches(tables, workers=2, **given)  # type: ignore[arg-type]
    for one_batch, other in zip(alone, helped, strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one_batch.items())
    data = MultimodalData(tables, missing=MissingSettings(), seed=3)
    data.serve_pixels(None, ("turns",))
    tested = next(iter(data.loader("test")))
    table = SceneTable.open(tables / "test.arrow")
    sar = table.windows("sar", tested["index"].numpy())
    present = tested["available"][:, 1].numpy()
    np.testing.assert_array_equal(tested["sar"].numpy()[present], sar[present])
