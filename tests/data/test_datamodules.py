"""Missing patterns of a split, the batches of its samples, and what of them is read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.data.batches import Batches, Masks
from mamol.data.datamodules import MultimodalData
from mamol.data.missing import Mask
from mamol.data.serving import WindowDataset, dataset_of

NAMES = ("hsi", "lidar", "sar")
BANDS = {"hsi": 5, "lidar": 1, "sar": 2}
SAMPLES = 200
ITEMS = np.array([0, 0, 1, 2, 2, 2, 3, 3])


class Samples:
    """A table of which only the samples are known."""

    def __init__(self, samples: int = SAMPLES, group: np.ndarray | None = None, fingerprint: str = "pinned") -> None:
        self.samples, self.group, self.fingerprint = samples, group, fingerprint

    def __len__(self) -> int:
        return self.samples

    def natural_of(self, modalities: object) -> None:
        return None


def masks(
    split: str = "train", *, seed: int = 0, samples: int = SAMPLES, group: np.ndarray | None = None, **missing: object
) -> Masks:
    settings = MissingSettings(**missing)  # type: ignore[arg-type]
    return Masks(Samples(samples, group), NAMES, split, settings, seed)  # type: ignore[arg-type]


def ratio(value: float) -> dict[str, float]:
    return dict.fromkeys(("train", "val", "test"), value)


def kind(value: str) -> dict[str, str]:
    return dict.fromkeys(("train", "val", "test"), value)


def incomplete(mask: Mask) -> int:
    return int((~mask.all(1)).sum())


def rows(mask: Mask) -> list[str]:
    return ["".join(str(int(there)) for there in row) for row in mask]


@pytest.mark.parametrize("availability", [{}, {"hsi": 0.5, "sar": 0.75}], ids=["rate", "availability"])
@pytest.mark.parametrize(("split", "anew"), [("train", False), ("val", False), ("val", True), ("test", True)])
def test_patterns_are_fixed(split: str, anew: bool, availability: dict[str, float]) -> None:
    fixed = masks(split, availability=availability, resample_missing=anew)
    assert all((fixed.of_epoch(epoch) == fixed.first).all() for epoch in range(4))
    assert (fixed.first == masks(split, availability=availability).first).all()


@pytest.mark.parametrize("availability", [{}, {"hsi": 0.5, "sar": 0.75}], ids=["rate", "availability"])
def test_training_patterns_may_be_drawn_anew_for_each_epoch(availability: dict[str, float]) -> None:
    anew = masks(availability=availability, resample_missing=True)
    epochs = [anew.of_epoch(epoch) for epoch in range(4)]
    assert (epochs[0] == masks(availability=availability).first).all()
    assert len({mask.tobytes() for mask in epochs}) == 4
    assert (anew.of_epoch(2) == epochs[2]).all(), "again the same"
    for mask in epochs:
        assert mask.any(1).all()
        if availability:
            assert mask.mean(0).tolist() == [0.5, 1.0, 0.75]
        else:
            assert incomplete(mask) == 140


@pytest.mark.parametrize("availability", [{}, {"hsi": 0.5, "sar": 0.75}], ids=["rate", "availability"])
def test_an_epoch_is_no_epoch_of_another_seed(availability: dict[str, float]) -> None:
    """Runs of neighbouring seeds are compared with each other, so they must not share their draws."""
    drawn = [
        masks(seed=seed, availability=availability, resample_missing=True).of_epoch(epoch).tobytes()
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(drawn)) == 16


@pytest.mark.parametrize("missing", [{}, {"availability": {"hsi": 0.5}}], ids=["rate", "availability"])
@pytest.mark.parametrize("anew", [False, True])
def test_all_samples_of_an_item_miss_the_same_and_the_rate_is_that_of_items(
    anew: bool, missing: dict[str, object]
) -> None:
    group = np.repeat(np.arange(40), np.arange(40) % 3 + 1)
    drawn = masks(samples=len(group), group=group, missing_ratio=ratio(0.5), resample_missing=anew, **missing)
    for epoch in (0, 1):
        mask = drawn.of_epoch(epoch)
        assert mask.shape == (len(group), 3)
        assert incomplete(mask[np.unique(group, return_index=True)[1]]) == 20
        assert all((mask[group == item] == mask[group == item][0]).all() for item in range(40))


def test_the_test_rate_stands_in_place_of_everything_else_in_test_only() -> None:
    given_rates = {"availability": {"hsi": 0.5}}
    assert incomplete(masks("test", **given_rates).first) == 100
    assert masks("test", test_ratio=0.0, **given_rates).first.all()
    assert incomplete(masks("test", test_ratio=0.1).first) == 20
    for split in ("train", "val"):
        assert (masks(split, test_ratio=0.0, **given_rates).first == masks(split, **given_rates).first).all()
        assert (masks(split, test_ratio=0.0, test_type="sar").first == masks(split).first).all()
    only = masks("test", test_type="lidar", **given_rates).first
    assert only.mean(0).tolist() == pytest.approx([1.0, 0.3, 1.0])


def test_a_split_has_its_own_rate_and_type() -> None:
    rates, kinds = {"train": 0.5, "val": 0.0, "test": 1.0}, {"train": "both", "val": "both", "test": "hsi+sar"}
    drawn = {split: masks(split, missing_ratio=rates, missing_type=kinds).first for split in rates}
    assert {split: incomplete(mask) for split, mask in drawn.items()} == {"train": 100, "val": 0, "test": 200}
    assert (drawn["test"] == [False, True, False]).all()


@pytest.mark.parametrize("epoch", [0, 3])
def test_all_is_another_word_for_both(epoch: int) -> None:
    both, every = (masks(missing_type=kind(name), resample_missing=True) for name in ("both", "all"))
    assert (both.of_epoch(epoch) == every.of_epoch(epoch)).all()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ({"missing_ratio": ratio(0.5)}, "110 111 101 111 011 111 111 100"),
        ({"missing_ratio": ratio(0.7), "seed": 3}, "111 011 111 010 001 110 101 100"),
        ({"missing_ratio": ratio(0.5), "group": ITEMS}, "010 010 111 100 100 100 111 111"),
        ({"availability": {"hsi": 0.75, "sar": 0.5}}, "111 111 010 110 110 111 110 011"),
        (
            {"availability": {"hsi": 0.75, "sar": 0.5}, "availability_reading": "overall"},
            "011 111 110 110 110 110 111 011",
        ),
        ({"availability": dict.fromkeys(NAMES, 0.5), "seed": 1}, "010 010 101 001 110 100 101 011"),
    ],
)
def test_the_first_epoch_is_pinned(missing: dict[str, object], expected: str) -> None:
    """Computed with commit f4cc35b: the numbers of a published run must come again."""
    assert rows(masks(samples=8, **missing).first) == expected.split()  # type: ignore[arg-type]


def test_later_epochs_at_a_rate_are_pinned() -> None:
    later = masks(samples=8, missing_ratio=ratio(0.5), resample_missing=True).of_epoch(2)
    assert rows(later) == ["011", "010", "111", "111", "001", "101", "111", "111"]


def test_settings_that_cannot_be_drawn_are_refused_at_once() -> None:
    with pytest.raises(MamolError, match="missing type ms: the table has no modality ms"):
        masks(missing_type=kind("ms"))
    with pytest.raises(MamolError, match="availability: the table has no modality ms"):
        masks(availability={"ms": 0.5})


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2))
def test_ranks_share_the_samples(samples: int, size: int, ranks: int, seed: int, epoch: int) -> None:
    drawn = masks(samples=samples, resample_missing=True)
    for shuffle in (True, False):
        counts, seen = [], []
        for rank in range(ranks):
            batches = Batches(drawn, samples, size, seed=seed, shuffle=shuffle, rank=rank, ranks=ranks)
            batches.set_epoch(epoch)
            mine = list(batches)
            assert len(mine) == len(batches)
            assert all(len(index) <= size for index, *_ in mine)
            assert all((mask == drawn.of_epoch(epoch)[index]).all() for index, mask, *_ in mine)
            counts.append(len(mine))
            seen += [int(number) for index, *_ in mine for number in index]
        if shuffle:
            assert len(set(counts)) == 1, "every rank does as many steps"
            assert set(seen) == set(range(samples))
            assert len(seen) < samples + ranks
        else:
            assert sorted(seen) == list(range(samples)), "each is tested once"


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_a_limit_draws_the_evaluated_samples_over_the_whole_table(
    samples: int, size: int, ranks: int, limit: int, seed: int
) -> None:
    def seen(shuffle: bool, limit: int | None) -> list[list[list[int]]]:
        return [
            [index.tolist() for index, *_ in Batches(masks(samples=samples), samples, size, seed=seed, shuffle=shuffle,
             rank=rank, ranks=ranks, limit=limit)]
            for rank in range(ranks)
        ]  # fmt: skip

    limited = seen(False, limit)
    drawn = sorted(number for batches in limited for batch in batches for number in batch)
    assert all(len(batches) <= limit for batches in limited)
    assert len(set(drawn)) == len(drawn) == min(samples, limit * size * ranks)
    assert limited == seen(False, limit), "the same in every epoch"
    if limit * size * ranks >= samples:
        assert limited == seen(False, None), "a limit that leaves everything changes nothing"
    assert seen(True, limit) == [batches[:limit] for batches in seen(True, None)], "an epoch's order is a draw itself"


def test_a_limited_evaluation_is_not_the_beginning_of_the_table() -> None:
    """Tables are ordered by class and place: of 10 classes, 40 samples at the front of 200 have but 2."""
    label = np.repeat(np.arange(10), 20)
    for seed in range(5):
        index = np.concatenate([i for i, *_ in Batches(masks(), 200, 20, seed=seed, shuffle=False, limit=2)])
        assert len(index) == 40
        assert len(set(label[index].tolist())) >= 8
        assert index.tolist() == sorted(index), "in the table's order, so that files are read forwards"


class Windows(Samples):
    """A table of 2 × 2 windows that all hold their sample's number, and nothing but what may be read."""

    def __init__(self, readable: dict[str, set[int]]) -> None:
        super().__init__(10)
        self.label = np.arange(10) % 3
        self.row, self.col = np.arange(10, dtype=np.int32), np.arange(10, 20, dtype=np.int32)
        self.readable = readable

    def windows(self, modality: str, indices: np.ndarray, shift: np.ndarray | None = None) -> np.ndarray:
        if unexpected := set(indices.tolist()) - self.readable[modality]:
            raise AssertionError(f"{modality} of {unexpected} is absent and must not be read")
        shape = (len(indices), BANDS[modality], 2, 2)
        return np.broadcast_to(indices[:, None, None, None], shape).astype(np.float32)


INDEX = np.array([7, 2, 5])
AVAILABLE = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]], bool)
THERE = {"hsi": {7, 5}, "lidar": set[int](), "sar": {7, 2}}


def test_absent_windows_are_zero_and_never_read() -> None:
    batch = WindowDataset(Windows(THERE), NAMES)[INDEX, AVAILABLE]  # type: ignore[arg-type]
    for i, name in enumerate(NAMES):
        assert batch[name].shape == (3, BANDS[name], 2, 2)
        assert batch[name].dtype == torch.float32
        expected = torch.from_numpy(np.where(AVAILABLE[:, i], INDEX, 0)).float()
        assert (batch[name] == expected[:, None, None, None]).all()


def test_a_method_that_makes_a_complete_pass_reads_what_is_absent_too() -> None:
    everything = Windows({name: set(INDEX.tolist()) for name in NAMES})
    batch = WindowDataset(everything, NAMES, complete=True)[INDEX, AVAILABLE]  # type: ignore[arg-type]
    for name in NAMES:
        assert (batch[name] == torch.from_numpy(INDEX).float()[:, None, None, None]).all()
    assert batch["available"].tolist() == AVAILABLE.tolist()


@pytest.mark.parametrize("complete", [False, True])
def test_a_batch_has_its_samples_and_their_places(complete: bool) -> None:
    table = Windows({name: set(range(10)) for name in NAMES})
    dataset = WindowDataset(table, ("sar", "hsi"), complete=complete)  # type: ignore[arg-type]
    batch = dataset[INDEX, AVAILABLE[:, ::2]]
    assert batch.keys() == {"sar", "hsi", "available", "label", "row", "col", "index"}
    assert batch["index"].tolist() == INDEX.tolist()
    assert batch["label"].tolist() == (INDEX % 3).tolist()
    assert (batch["row"].tolist(), batch["col"].tolist()) == (INDEX.tolist(), (INDEX + 10).tolist())
    assert {batch[name].dtype for name in ("label", "row", "col", "index")} == {torch.int64}
    assert batch["available"].tolist() == AVAILABLE[:, ::2].tolist()
    assert len(dataset) == 10


def test_no_dataset_for_tables_that_nobody_registered() -> None:
    with pytest.raises(TypeError, match=r"no dataset for Samples; register one with dataset_of\.register"):
        dataset_of(Samples(), NAMES)  # type: ignore[arg-type]


def test_what_is_absent_is_read_in_training_only(table_folder: Path) -> None:
    data = MultimodalData(table_folder, complete=True, batch_size=16)
    for split, loader in (("train", data.loader("train")), ("test", data.loader("test"))):
        batch = next(iter(loader))
        absent = ~batch["available"]
        assert absent.any()
        filled = [bool(batch[name][absent[:, i]].abs().sum() > 0) for i, name in enumerate(data.modalities)]
        assert filled == [split == "train"] * len(data.modalities)


def test_a_folder_is_taken_whole_or_in_part_and_mistakes_are_told(table_folder: Path) -> None:
    assert MultimodalData(table_folder).modalities == ("hsi", "lidar", "sar")
    data = MultimodalData(table_folder, ("sar", "hsi"), MissingSettings(missing_ratio=ratio(0.5)), dataset="synthetic")
    assert data.modalities == ("sar", "hsi")
    assert data.realised_missing()["train"]["incomplete_percent"] == 50
    for given_options, message in (
        ({"modalities": ("ms",)}, "has only hsi, lidar, sar; make the table with --modalities ms"),
        ({"dataset": "trento"}, "holds synthetic, not dataset=trento"),
        ({"data_root": ""}, "data_root is not set: data_root=<folder that make_arrow.py wrote>"),
    ):
        with pytest.raises(MamolError, match=message):
            MultimodalData(**{"data_root": table_folder, **given_options})  # type: ignore[arg-type]
