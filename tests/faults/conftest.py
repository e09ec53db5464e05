"""How much is tried: a part with all tests, the whole with ``make faults``."""

import os

import pytest

WHOLE = os.environ.get("FAULTS") == "whole"


@pytest.fixture(scope="session")
def share() -> float:
    """Of the trials of ``make faults`` that are made."""
    return 1.0 if WHOLE else 0.02
