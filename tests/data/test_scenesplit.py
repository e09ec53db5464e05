"""Splits over several scenes, whatever their sizes and classes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.extents import Extent, Extents
from mamol.data.labels import LabelMaps
from mamol.data.overlap import measure
from mamol.data.splits import ALL, Split, draw

shapes_of = st.lists(st.tuples(st.integers(3, 12), st.integers(3, 12)), min_size=2, max_size=6)


def many(shapes: list[tuple[int, int]], classes: int, seed: int) -> tuple[LabelMaps, Extents]:
    """Scenes that each have some of the classes; of the first, all."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, shape in enumerate(shapes):
        own = np.arange(1, classes + 1) if number == 0 else rng.choice(np.arange(1, classes + 1), rng.integers(1, 4))
        labels = rng.choice([0, *own], shape)
        labels.ravel()[: len(own)] = own
        parts.append(labels.ravel())
    extents = Extents(tuple(Extent(f"s{n}", *shape) for n, shape in enumerate(shapes)))
    return LabelMaps(np.concatenate(parts)), extents


def scenes_of(split: Split, name: str) -> set[int]:
    found = split.pixels[name].scenes
    assert found is not None
    return set(found.tolist())


limits = st.one_of(st.integers(1, 40), st.just(ALL))
requests = st.fixed_dictionaries({"train": limits, "test": limits, "val": st.one_of(st.integers(0, 40), st.just(ALL))})


@settings(max_examples=80, deadline=None)
@given(
    shapes=shapes_of,
    classes=st.integers(1, 4),
    wanted=requests,
    seed=st.integers(0, 99),
    protocol=st.sampled_from(["disjoint", "scenes", "blocks"]),
)
def test_splits_of_several_scenes_are_apart_and_the_same_again(
    shapes: list[tuple[int, int]], classes: int, wanted: dict[str, int | str], seed: int, protocol: str
) -> None:
    assume(protocol != "disjoint" or wanted["train"] != ALL)
    maps, extents = many(shapes, classes, seed)
    try:
        split = draw(protocol, maps, wanted, seed=seed, patch_size=2, extents=extents)
    except MamolError as error:
        nothing = ("no scene is left to test", "no pixel is left for testing")
        assert protocol == "blocks" or any(words in str(error) for words in nothing)  # noqa: PT017
        return
    numbers = {}
    for name, pixels in split.pixels.items():
        numbers[name] = extents.numbers(pixels.rows, pixels.cols, pixels.scenes)
        assert (np.diff(numbers[name]) > 0).all()
        np.testing.assert_array_equal(maps.every[numbers[name]], pixels.labels + 1)
        for index in range(maps.every.max()):
            got = int((pixels.labels == index).sum())
            most = len(maps.every) if wanted[name] == ALL else int(wanted[name])
            least = 1 if wanted[name] == ALL else most
            assert got <= most
            assert split.shortfall.get(name, {}).get(index, 0) == max(least - got, 0)
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        assert not set(numbers[one]) & set(numbers[other])
        if protocol == "scenes":
            assert not scenes_of(split, one) & scenes_of(split, other)
        if protocol == "blocks":
            assert measure(split.pixels[one], split.pixels[other], 2).shared_window_percent == 0
    assert set(split.pixels["train"].labels + 1) == set(range(1, maps.every.max() + 1))
    again = draw(protocol, maps, wanted, seed=seed, patch_size=2, extents=extents)
    for name, pixels in split.pixels.items():
        for key, column in vars(pixels).items():
            np.testing.assert_array_equal(getattr(again.pixels[name], key), column)


@settings(max_examples=60, deadline=None)
@given(shapes=shapes_of, classes=st.integers(1, 5), seed=st.integers(0, 999))
def test_a_scene_is_left_to_test_unless_each_has_a_class_of_its_own(
    shapes: list[tuple[int, int]], classes: int, seed: int
) -> None:
    maps, extents = many(shapes, classes, seed)
    have = np.stack([np.isin(np.arange(1, classes + 1), part) for part in extents.parts(maps.every)])
    possible = any(np.delete(have, scene, axis=0).any(axis=0).all() for scene in range(len(shapes)))
    if not possible:
        with pytest.raises(MamolError, match="protocol scenes: no scene is left to test"):
            draw("scenes", maps, {}, extents=extents)
        return
    split = draw("scenes", maps, {}, seed=seed, extents=extents)
    assert scenes_of(split, "test")
    assert len(scenes_of(split, "train")) < len(shapes)


def test_another_seed_gives_other_scenes() -> None:
    maps, extents = many([(8, 8)] * 6, 1, 0)
    draws = {tuple(scenes_of(draw("scenes", maps, {}, seed=seed, extents=extents), "test")) for seed in range(6)}
    assert len(draws) > 1


def test_numbers_per_class_are_of_all_scenes() -> None:
    maps, extents = many([(10, 10), (20, 20), (5, 9)], 2, 0)
    split = draw("disjoint", maps, {"train": 12, "test": 30, "val": 3}, extents=extents)
    assert {name: np.bincount(split.pixels[name].labels).tolist() for name in SPLITS} == {
        "train": [12, 12],
        "val": [3, 3],
        "test": [30, 30],
    }
    assert scenes_of(split, "test") == {0, 1, 2}


@settings(max_examples=40, deadline=None)
@given(shapes=shapes_of)
def test_numbers_and_places_are_inverse(shapes: list[tuple[int, int]]) -> None:
    extents = Extents(tuple(Extent(str(n), *shape) for n, shape in enumerate(shapes)))
    every = np.arange(extents.shape[0])
    rows, cols, scenes = extents.places(every)
    np.testing.assert_array_equal(extents.numbers(rows, cols, scenes), every)
    assert scenes is not None
    for number, part in enumerate(extents.parts(every)):
        own = scenes == number
        np.testing.assert_array_equal(part[rows[own], cols[own]], every[own])
        assert part.shape == shapes[number]
