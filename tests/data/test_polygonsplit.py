"""Protocol polygons, all pixels per class, and what the overlap says of polygons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.data.labels import LabelMaps
from mamol.data.overlap import measure
from mamol.data.polygonsplit import polygon_pools
from mamol.data.splits import ALL, SPLITS, Split, draw


def fields(sizes: list[list[int]], assigned: list[list[int]] | None = None) -> LabelMaps:
    """A map of one row: for each class, polygons of so many pixels."""
    pairs = [(number, size) for number, polygons in enumerate(sizes, 1) for size in polygons]
    each = [size for _, size in pairs]
    labels = np.repeat([number for number, _ in pairs], each)
    polygons = np.repeat(np.arange(1, len(pairs) + 1), each).astype(np.uint32)
    # Neighbours of a class need not lie side by side, and there are pixels without a label.
    order = np.random.default_rng(0).permutation(len(labels) + 5)
    splits = None
    if assigned is not None:
        splits = np.repeat([split for per_class in assigned for split in per_class], each).astype(np.uint8)
        splits = np.append(splits, np.zeros(5, np.uint8))[order][None]
    every, numbers = (np.append(column, np.zeros(5, column.dtype))[order][None] for column in (labels, polygons))
    return LabelMaps(every, polygons=numbers, assigned=splits)


def polygons_of(split: Split, name: str) -> set[int]:
    found = split.pixels[name].polygons
    assert found is not None
    return set(found.tolist())


maps_of = st.lists(st.lists(st.integers(1, 12), min_size=2, max_size=8), min_size=1, max_size=4).map(fields)
limits = st.one_of(st.integers(1, 40), st.just(ALL))
requests = st.fixed_dictionaries({"train": limits, "test": limits, "val": st.one_of(st.integers(0, 40), st.just(ALL))})


@settings(max_examples=80, deadline=None)
@given(maps=maps_of, wanted=requests, seed=st.integers(0, 99))
def test_no_polygon_is_in_two_splits(maps: LabelMaps, wanted: dict[str, int | str], seed: int) -> None:
    split = draw("polygons", maps, wanted, seed=seed)
    train, val, test = (polygons_of(split, name) for name in SPLITS)
    assert not train & val
    assert not train & test
    assert not val & test
    assert maps.polygons is not None
    for name, pixels in split.pixels.items():
        np.testing.assert_array_equal(pixels.polygons, maps.polygons[pixels.rows, pixels.cols])
        np.testing.assert_array_equal(pixels.labels + 1, maps.every[pixels.rows, pixels.cols])
        for index in range(maps.every.max()):
            got = int((pixels.labels == index).sum())
            most = maps.every.size if wanted[name] == ALL else int(wanted[name])
            least = 1 if wanted[name] == ALL else most
            assert got <= most
            assert split.shortfall.get(name, {}).get(index, 0) == max(least - got, 0)
            assert got or name == "val"
    again = draw("polygons", maps, wanted, seed=seed)
    for name in SPLITS:
        assert again.pixels[name].cols.tobytes() == split.pixels[name].cols.tobytes()


def test_training_is_served_first_then_testing_then_validation() -> None:
    maps = fields([[5] * 10])
    split = draw("polygons", maps, {"train": 12, "test": 20, "val": 3})
    assert {name: len(pixels) for name, pixels in split.pixels.items()} == {"train": 12, "test": 20, "val": 3}
    # Three, four and one polygon hold what is wanted; of the two that are left, testing and training have the least.
    dealt = polygon_pools(maps, {"train": 12, "test": 20, "val": 3}, np.random.default_rng(0))
    assert {name: len(np.unique(maps.polygons.ravel()[pool > 0])) for name, pool in dealt.items()} == {
        "train": 4,
        "test": 5,
        "val": 1,
    }
    split = draw("polygons", maps, {"train": 30, "test": 30, "val": 3})
    assert split.shortfall == {"test": {0: 10}, "val": {0: 3}}
    # However many are wanted for training, one polygon tests.
    split = draw("polygons", maps, {"train": 100, "test": 20, "val": 3})
    assert split.shortfall == {"train": {0: 55}, "test": {0: 15}, "val": {0: 3}}


def test_pixels_come_from_many_fields() -> None:
    """Though one field holds all that are wanted."""
    split = draw("polygons", fields([[400] * 30]), {"train": 100, "test": 300, "val": 50})
    assert {name: len(polygons_of(split, name)) for name in SPLITS} == {"train": 7, "test": 19, "val": 4}


def test_all_is_what_is_left() -> None:
    split = draw("polygons", fields([[5] * 10]), {"train": 10, "test": ALL})
    assert {name: len(pixels) for name, pixels in split.pixels.items()} == {"train": 10, "test": 40, "val": 0}
    assert split.shortfall == {"val": {0: 50}}


def test_another_seed_gives_other_polygons() -> None:
    first, second = (draw("polygons", fields([[5] * 20]), {"train": 20}, seed=seed) for seed in (0, 1))
    assert polygons_of(first, "train") != polygons_of(second, "train")


def test_a_column_says_which_split_a_polygon_belongs_to() -> None:
    # 1 train, 2 val, 3 test, 0 none.
    maps = fields([[4, 4, 4, 4], [6, 6, 6]], assigned=[[1, 3, 0, 1], [3, 1, 2]])
    split = draw("polygons", maps, dict.fromkeys(SPLITS, ALL))
    assert {name: polygons_of(split, name) for name in SPLITS} == {"train": {1, 4, 6}, "val": {7}, "test": {2, 5}}
    assert split.shortfall == {"val": {0: 1}}
    with pytest.raises(MamolError, match="protocol polygons: class wheat gets no training pixel"):
        draw("polygons", fields([[4, 4], [6]], assigned=[[1, 3], [3]]), {}, classes=["maize", "wheat"])


def test_what_protocol_polygons_refuses() -> None:
    with pytest.raises(MamolError, match="protocol polygons: class wheat has 1 polygon with pixels, and one to train"):
        draw("polygons", fields([[4, 4], [6]]), {}, classes=["maize", "wheat"])
    with pytest.raises(MamolError, match=r"class 2 \(counted from 1\) has 1 polygon with pixels"):
        draw("polygons", fields([[4, 4], [6]]), {})
    with pytest.raises(MamolError, match="protocol polygons: the labels are no polygons; name a GeoPackage"):
        draw("polygons", LabelMaps(np.ones((4, 4), int)), {})


def test_all_in_the_other_protocols() -> None:
    labels = (np.arange(60)[:, None] // 5 % 2 + 1).repeat(80, axis=1)
    maps = LabelMaps(labels, np.where(np.arange(80) < 20, labels, 0), np.where(np.arange(80) < 20, 0, labels))
    sizes = {
        protocol: {name: len(pixels) for name, pixels in draw(protocol, maps, asked).pixels.items()}
        for protocol, asked in {
            "disjoint": {"train": 100, "test": ALL},
            "paper": {"train": ALL, "test": ALL},
            "official": {"train": ALL},
        }.items()
    }
    assert sizes == {
        "disjoint": {"train": 200, "test": 4600, "val": 0},
        "paper": {"train": 4800, "test": 4800, "val": 0},
        "official": {"train": 1200, "test": 3600, "val": 0},
    }
    blocks = draw("blocks", maps, dict.fromkeys(SPLITS, ALL), patch_size=4)
    assert blocks.shortfall == {}
    assert min(map(len, blocks.pixels.values())) > 200
    with pytest.raises(MamolError, match="train-per-class all: protocol disjoint would leave no pixel to test"):
        draw("disjoint", maps, {"train": ALL})
    with pytest.raises(MamolError, match="test-per-class 'most': expected a whole number or 'all'"):
        draw("disjoint", maps, {"test": "most"})


@settings(max_examples=30, deadline=None)
@given(maps=maps_of, seed=st.integers(0, 9))
def test_the_overlap_counts_shared_polygons(maps: LabelMaps, seed: int) -> None:
    wanted = {"train": 2, "test": 3, "val": 0}
    apart = draw("polygons", maps, wanted, seed=seed).pixels
    found = measure(apart["train"], apart["test"], 1)
    assert (found.shared_polygons, found.shared_polygon_percent) == (0, 0)
    split = draw("paper", maps, wanted, seed=seed)
    shared = polygons_of(split, "train") & polygons_of(split, "test")
    found = measure(split.pixels["train"], split.pixels["test"], 1)
    tested = split.pixels["test"].polygons
    assert tested is not None
    inside = sum(int(number) in shared for number in tested)
    assert (found.shared_polygons, found.shared_polygon_percent) == (len(shared), round(100 * inside / len(tested), 2))


def test_label_maps_say_nothing_of_polygons() -> None:
    pixels = draw("disjoint", LabelMaps(np.ones((10, 10), int)), {"train": 5, "test": 5}).pixels
    assert pixels["train"].polygons is None
    assert set(measure(pixels["train"], pixels["test"], 1).plain()) == {
        "identical_pixels",
        "identical_percent",
        "shared_window_percent",
        "same_class_window_percent",
    }
