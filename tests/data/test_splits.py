import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.data.labels import LabelMaps
from mamol.data.overlap import measure
from mamol.data.splits import SPLITS, Pixels, Split, draw

labels_of = st.builds(
    lambda seed, height, width, classes: np.random.default_rng(seed).integers(0, classes + 1, (height, width)),
    seed=st.integers(0, 999),
    height=st.integers(8, 25),
    width=st.integers(8, 25),
    classes=st.integers(1, 4),
).filter(lambda labels: (np.bincount(labels.ravel())[1:] > 0).all() and labels.max() > 0)
numbers = st.integers(1, 30)


def places(pixels: Pixels) -> set[tuple[int, int]]:
    return set(zip(pixels.rows.tolist(), pixels.cols.tolist(), strict=True))


def stripes(height: int = 60, width: int = 80, classes: int = 2) -> np.ndarray:
    return (np.arange(height)[:, None] // 5 % classes + 1).repeat(width, axis=1)


def check_labels(split: Split, labels: np.ndarray) -> None:
    for pixels in split.pixels.values():
        np.testing.assert_array_equal(labels[pixels.rows, pixels.cols], pixels.labels + 1)


@settings(max_examples=60, deadline=None)
@given(labels=labels_of, train=numbers, test=numbers, val=st.integers(0, 30), seed=st.integers(0, 99))
def test_disjoint_serves_train_then_test_then_val(
    labels: np.ndarray, train: int, test: int, val: int, seed: int
) -> None:
    wanted = {"train": train, "test": test, "val": val}
    if (np.bincount(labels.ravel())[1:] <= train).all():
        with pytest.raises(MamolError, match="protocol disjoint: no pixel is left for testing"):
            draw("disjoint", LabelMaps(labels), wanted, seed=seed)
        return
    split = draw("disjoint", LabelMaps(labels), wanted, seed=seed)
    assert sum(len(places(pixels)) for pixels in split.pixels.values()) == sum(map(len, split.pixels.values()))
    assert len(set.union(*map(places, split.pixels.values()))) == sum(map(len, split.pixels.values()))
    check_labels(split, labels)
    for index, available in enumerate(np.bincount(labels.ravel())[1:]):
        left = int(available)
        for name in ("train", "test", "val"):
            got = int((split.pixels[name].labels == index).sum())
            assert got == min(left, wanted[name])
            assert split.shortfall.get(name, {}).get(index, 0) == wanted[name] - got
            left -= got


@given(labels=labels_of, seed=st.integers(0, 99), protocol=st.sampled_from(["disjoint", "paper"]))
def test_the_same_seed_gives_the_same_split(labels: np.ndarray, seed: int, protocol: str) -> None:
    wanted = {"train": 5, "test": 5, "val": 2}
    first, second = (draw(protocol, LabelMaps(labels), wanted, seed=seed) for _ in range(2))
    for name in SPLITS:
        assert first.pixels[name].rows.tobytes() == second.pixels[name].rows.tobytes()
        assert first.pixels[name].cols.tobytes() == second.pixels[name].cols.tobytes()


def test_another_seed_gives_another_split() -> None:
    first, second = (draw("disjoint", LabelMaps(stripes()), {}, seed=seed) for seed in (0, 1))
    assert places(first.pixels["train"]) != places(second.pixels["train"])


def test_defaults_per_class() -> None:
    split = draw("disjoint", LabelMaps(stripes()), {})
    assert {name: len(pixels) for name, pixels in split.pixels.items()} == {"train": 200, "val": 100, "test": 600}


def test_paper_draws_test_from_the_whole_pool() -> None:
    labels = np.ones((20, 20), int)
    split = draw("paper", LabelMaps(labels), {"train": 100, "test": 300, "val": 50}, seed=3)
    train, val, test = (places(split.pixels[name]) for name in SPLITS)
    assert (len(train), len(test)) == (100, 300)
    # 75 of 300 are expected, and at least 0 + 300 - (400 - 100) = 0 is possible: chance, but nothing near none.
    assert 50 < len(train & test) < 100
    assert not val & (train | test)
    assert split.shortfall.keys() <= {"val"}


def official_maps() -> LabelMaps:
    labels = stripes(40, 40)
    left = np.arange(40) < 20
    return LabelMaps(labels, np.where(left, labels, 0), np.where(left, 0, labels))


def test_official_takes_all_pixels_of_both_maps() -> None:
    maps = official_maps()
    split = draw("official", maps, {})
    train, val, test = (places(split.pixels[name]) for name in SPLITS)
    assert train | val == set(map(tuple, np.argwhere(maps.train).tolist()))
    assert not train & val
    assert test == set(map(tuple, np.argwhere(maps.test).tolist()))
    # A tenth of 400 pixels per class is 40: fewer than the 50 that val takes at most.
    assert len(val) == 80
    assert split.shortfall == {}
    check_labels(split, maps.every)


def test_official_can_leave_all_to_training() -> None:
    maps = official_maps()
    assert len(draw("official", maps, {"val": 0}).pixels["train"]) == np.count_nonzero(maps.train)


def test_official_with_numbers_takes_val_from_what_training_left() -> None:
    split = draw("official", official_maps(), {"train": 60, "test": 500})
    assert {name: len(pixels) for name, pixels in split.pixels.items()} == {"train": 120, "val": 100, "test": 800}
    assert split.shortfall == {"test": {0: 100, 1: 100}}


@pytest.mark.parametrize("size", [3, 8])
def test_blocks_keep_windows_of_different_splits_apart(size: int) -> None:
    split = draw("blocks", LabelMaps(stripes(90, 120, 3)), {"train": 40, "test": 60, "val": 10}, patch_size=size)
    assert split.shortfall == {}
    check_labels(split, stripes(90, 120, 3))
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        assert measure(split.pixels[one], split.pixels[other], size).shared_window_percent == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), size=st.integers(1, 9))
def test_blocks_keep_a_margin_whatever_the_seed(seed: int, size: int) -> None:
    labels = np.ones((70, 90), int)
    split = draw("blocks", LabelMaps(labels), {"train": 200, "test": 200, "val": 50}, seed=seed, patch_size=size)
    train, test = (np.column_stack([split.pixels[n].rows, split.pixels[n].cols]) for n in ("train", "test"))
    gap = np.abs(train[:, None].astype(int) - test[None]).max(axis=2)
    assert gap.size
    assert gap.min() >= size


def test_requests_that_are_refused() -> None:
    maps = LabelMaps(stripes())
    with pytest.raises(MamolError, match="protocol 'random' is unknown; known: disjoint, paper, official, blocks"):
        draw("random", maps, {})
    with pytest.raises(MamolError, match="seed -1: expected 0 or more"):
        draw("disjoint", maps, {}, seed=-1)
    with pytest.raises(MamolError, match="train-per-class 0: expected 1 or more"):
        draw("disjoint", maps, {"train": 0})
    with pytest.raises(MamolError, match="protocol official: there are no training and test label maps"):
        draw("official", maps, {})


def test_a_class_without_a_training_pixel_is_refused() -> None:
    labels = stripes()
    maps = LabelMaps(labels, np.where(labels == 1, labels, 0), labels)
    with pytest.raises(MamolError, match=r"class 2 .* gets no training pixel"):
        draw("official", maps, {})


@settings(max_examples=40, deadline=None)
@given(labels=labels_of, size=st.integers(1, 9), seed=st.integers(0, 9))
def test_overlap_equals_counting_the_pixels_of_all_windows(labels: np.ndarray, size: int, seed: int) -> None:
    split = draw("paper", LabelMaps(labels), {"train": 3, "test": 6}, seed=seed)
    train, test = split.pixels["train"], split.pixels["test"]

    def window(row: int, col: int) -> set[tuple[int, int]]:
        return {(row + i, col + j) for i in range(size) for j in range(size)}

    def shares(seen: set[tuple[int, int]]) -> int:
        return sum(bool(window(*place) & seen) for place in places(test))

    seen = set().union(*(window(*place) for place in places(train)))
    found = measure(train, test, size)
    assert found.identical_pixels == len(places(train) & places(test))
    assert found.shared_window_percent == round(100 * shares(seen) / len(test), 2)
    own = 0
    for label in np.unique(test.labels):
        mine = train.labels == label
        seen = set().union(*(window(r, c) for r, c in zip(train.rows[mine], train.cols[mine], strict=True)))
        here = test.labels == label
        own += sum(bool(window(r, c) & seen) for r, c in zip(test.rows[here], test.cols[here], strict=True))
    assert found.same_class_window_percent == round(100 * own / len(test), 2)
