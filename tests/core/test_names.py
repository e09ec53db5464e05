"""What modalities and missing patterns are called."""

import pytest

from mamol.core.errors import MamolError
from mamol.core.names import canonical, canonical_all, pattern_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        *[("HS", "hsi"), ("hsi", "hsi"), ("LiDAR", "lidar"), ("DSM", "lidar"), ("SAR", "sar"), ("MS", "ms")],
        *[("MSI", "ms"), ("Thermal", "thermal")],
    ],
)
def test_aliases_of_any_case(given: str, expected: str) -> None:
    assert canonical(given) == expected


def test_names_that_cannot_be_used() -> None:
    with pytest.raises(MamolError, match="letters, digits"):
        canonical("hsi+lidar")
    with pytest.raises(MamolError, match="reserved"):
        canonical("Label")
    with pytest.raises(MamolError, match="names one of them twice"):
        canonical_all(["hsi", "HS"])
    with pytest.raises(MamolError, match="none given"):
        canonical_all([])


def test_pattern_names() -> None:
    assert pattern_name([True, False, True], ["hsi", "lidar", "sar"]) == "hsi+sar"
