"""The mutations themselves."""

import pytest

from tests.faults.mutations import KINDS, mutations

CONTENT = bytes(range(256)) * 8


def test_the_same_seed_gives_the_same_mutations() -> None:
    assert list(mutations(CONTENT, 50, seed=1)) == list(mutations(CONTENT, 50, seed=1))
    assert list(mutations(CONTENT, 50, seed=1)) != list(mutations(CONTENT, 50, seed=2))


def test_every_mutation_changes_the_content_and_all_kinds_take_part() -> None:
    done = list(mutations(CONTENT, 200, seed=0))
    assert len(done) == 200
    assert all(changed != CONTENT for _, changed in done)
    assert {told.split()[1] for told, _ in done} == set(KINDS)
    assert {len(changed) - len(CONTENT) for told, changed in done if " swap " in told} == {0}


@pytest.mark.parametrize("content", [b"ab", b"\x00\x01\x00", bytes(100) + b"\x01"])
def test_small_contents_work(content: bytes) -> None:
    assert all(changed != content for _, changed in mutations(content, 100, seed=3))


@pytest.mark.parametrize("content", [b"", b"a", bytes(9)])
def test_a_content_that_cannot_be_swapped_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="two different bytes"):
        next(mutations(content, 1, seed=0))
