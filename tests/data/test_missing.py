"""Missing patterns: exact counts, never empty, a pure function of what is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamol.core.errors import MamolError
from mamol.data.missing import draw, draw_availability, incomplete_patterns, realised

NAMES = ["hsi", "lidar", "sar", "ms"]
rates = st.floats(0, 1)


@given(st.integers(1, 400), st.integers(1, 4), rates, st.integers(0, 5))
def test_both_is_exact_even_and_never_empty(samples: int, m: int, ratio: float, seed: int) -> None:
    mask = draw(samples, NAMES[:m], ratio=ratio, kind="both", seed=seed, fingerprint="f")
    assert mask.any(1).all()
    incomplete = mask[~mask.all(1)]
    assert len(incomplete) == (0 if m == 1 else int(np.floor(ratio * samples + 0.5)))
    if m > 1 and len(incomplete):
        counts = [int((incomplete == p).all(1).sum()) for p in incomplete_patterns(m)]
        assert max(counts) - min(counts) <= 1


def test_two_modalities_are_the_papers_halves() -> None:
    mask = draw(1000, ["hsi", "lidar"], ratio=0.7, kind="both", seed=0, fingerprint="f")
    real = realised(mask, ["hsi", "lidar"])
    assert real["patterns"] == {"hsi+lidar": 300, "hsi": 350, "lidar": 350}
    assert real["available_percent"] == {"hsi": 65.0, "lidar": 65.0}
    assert real["incomplete_percent"] == 70.0


@given(st.integers(1, 300), rates, st.sampled_from(["hsi", "lidar+sar"]))
def test_named_types_touch_only_what_they_name(samples: int, ratio: float, kind: str) -> None:
    mask = draw(samples, NAMES[:3], ratio=ratio, kind=kind, seed=3, fingerprint="f")
    gone = [NAMES.index(name) for name in kind.split("+")]
    assert (~mask).any(1).sum() == np.floor(ratio * samples + 0.5)
    assert mask[:, [i for i in range(3) if i not in gone]].all()
    assert (mask[:, gone] == mask[:, gone[:1]]).all(), "they go missing together"


def test_the_draw_depends_on_every_named_input_and_nothing_else() -> None:
    usual = {"ratio": 0.5, "kind": "both", "seed": 0, "fingerprint": "f", "epoch": 0}
    first = draw(200, NAMES[:2], **usual)
    assert (first == draw(200, NAMES[:2], **usual)).all()
    for change in ({"seed": 1}, {"fingerprint": "g"}, {"epoch": 1}, {"ratio": 0.51}, {"kind": "hsi"}):
        assert (first != draw(200, NAMES[:2], **usual | change)).any(), change


def test_the_draw_is_pinned() -> None:
    """The numbers of a published run must come again: a change here is a change of every result."""
    mask = draw(8, NAMES[:2], ratio=0.5, kind="both", seed=0, fingerprint="pinned")
    assert ["".join(str(int(x)) for x in row) for row in mask] == PINNED


PINNED = ["01", "11", "10", "11", "10", "11", "11", "01"]


@given(st.integers(1, 200), st.lists(rates, min_size=2, max_size=4), st.integers(0, 3))
def test_independent_availability_is_exact_and_never_empty(samples: int, shares: list[float], seed: int) -> None:
    names = NAMES[: len(shares)]
    gone = [int(np.floor((1 - s) * samples + 0.5)) for s in shares]
    arguments = {"reading": "independent", "seed": seed, "fingerprint": "f"}
    if sum(gone) > samples * (len(names) - 1):
        with pytest.raises(MamolError, match="raise a rate"):
            draw_availability(samples, dict(zip(names, shares, strict=True)), names, **arguments)
        return
    mask = draw_availability(samples, dict(zip(names, shares, strict=True)), names, **arguments)
    assert (~mask).sum(0).tolist() == gone
    assert mask.any(1).all()


def test_overall_reading_misses_one_at_most() -> None:
    rates = {"hsi": 0.5, "sar": 1.0, "lidar": 0.75}
    mask = draw_availability(400, rates, NAMES[:3], reading="overall", seed=0, fingerprint="f")
    assert realised(mask, NAMES[:3])["available_percent"] == {"hsi": 50.0, "lidar": 75.0, "sar": 100.0}
    assert (mask.sum(1) >= 2).all()
    assert realised(mask, NAMES[:3])["incomplete_percent"] == 75.0
    with pytest.raises(MamolError, match="at most 400 can be; raise a rate"):
        draw_availability(400, rates | {"sar": 0.5}, NAMES[:3], reading="overall", seed=0, fingerprint="f")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("radar", "the table has no modality radar; allowed are hsi, lidar"),
        ("hsi+lidar", "nothing would be left; at least one of hsi, lidar must stay"),
    ],
)
def test_impossible_types_are_refused(kind: str, message: str) -> None:
    with pytest.raises(MamolError, match=message):
        draw(10, ["hsi", "lidar"], ratio=0.5, kind=kind, seed=0, fingerprint="f")


def test_unknown_modality_in_availability_is_refused() -> None:
    with pytest.raises(MamolError, match="availability: the table has no modality sar; it has hsi, lidar"):
        draw_availability(10, {"sar": 0.5}, ["hsi", "lidar"], reading="overall", seed=0, fingerprint="f")
