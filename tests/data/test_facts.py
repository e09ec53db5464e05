import pytest

from mamol.core.errors import MamolError
from mamol.data.facts import DATASETS, SceneFacts, facts_of

PUBLISHED_TOTALS = {
    "houston2013": (2832, 12197),
    "trento": (819, 29395),
    "augsburg": (761, 77533),
    "muufl": (2779, 50908),
    "berlin": (2820, 461851),
}


@pytest.mark.parametrize("facts", DATASETS.values(), ids=DATASETS.keys())
def test_the_numbers_of_an_entry_agree(facts: SceneFacts) -> None:
    for counts in (facts.counts, facts.train_counts, facts.test_counts):
        assert len(counts) in (0, len(facts.classes))
    if facts.counts and facts.train_counts:
        assert tuple(a + b for a, b in zip(facts.train_counts, facts.test_counts, strict=True)) == facts.counts
    assert set(facts.default_modalities) <= set(facts.modalities)
    assert len(facts.colours) in (0, len(facts.classes))
    assert len(set(facts.classes)) == len(facts.classes)
    for places in facts.modalities.values():
        assert len(set(places)) == len(places)


@pytest.mark.parametrize(("name", "totals"), PUBLISHED_TOTALS.items())
def test_the_sums_are_the_published_ones(name: str, totals: tuple[int, int]) -> None:
    facts = facts_of(name)
    assert (sum(facts.train_counts), sum(facts.test_counts)) == totals


def test_an_unknown_dataset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MamolError, match="dataset 'houston' is unknown; known: houston2013, trento"):
        facts_of("houston")
