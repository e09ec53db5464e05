"""The settings of the methods: their own defaults, what is refused, and before what."""

from typing import Any

import pytest

import mamol.network  # noqa: F401 - registers the methods
from mamol.core.errors import MamolError
from mamol.core.method import METHODS
from mamol.core.settings import OPTIONS, Settings


def settings(**changes: object) -> Settings:
    return Settings.of(changes)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("mamol", {"top_k": 1, "balance_weight": 0.0}),
        ("lora", {"top_k": 1, "balance_weight": 0.0}),
        ("moe_rep", {"top_k": 1, "balance_weight": 0.01}),
        ("moe_ada", {"top_k": 2, "balance_weight": 0.001}),
        ("mmp", {"prompt_length": 16, "prompt_depth": 6, "prompt_type": "input"}),
        ("dcp", {"prompt_length": 36, "prompt_depth": 6}),
        ("moe_task", {"moe_task_form": "eq9", "experts_dynamic": 2, "rank": 8}),
    ],
)
def test_a_method_has_its_own_defaults_and_what_is_given_stands(method: str, own: dict[str, Any]) -> None:
    resolved = settings(method=method).method
    assert {name: getattr(resolved, name) for name in own} == own
    if "balance_weight" in own:
        assert settings(method=method, balance_weight=0.5).method.balance_weight == 0.5


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_is_an_option_of_the_program(method: str) -> None:
    resolved, entry = settings(method=method).method, METHODS[method]
    assert set(entry.options) <= set(OPTIONS)
    unset = {name for name in entry.options if getattr(resolved, name) is None}
    assert unset == {name for name in entry.options if getattr(entry.settings(), name) is None} <= {"experts_per_block"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "dcp", "prompt_length": 16}, "prompt_length=16 must be a multiple of 3"),
        ({"method": "mmp", "prompt_length": 3, "prompt_type": "attention"}, "prompt_length=3 must be even"),
        ({"method": "moe_ada", "experts_dynamic": 1}, r"top_k=2 .* must be at most experts_dynamic=1"),
        ({"method": "moe_task", "moe_task_form": "moelora", "rank": 3}, "rank=3 must be a multiple of"),
        ({"prompt_length": 0}, "prompt_length=0 must be None or a whole number of at least 1"),
        ({"prompt_depth": 0}, "prompt_depth=0 must be a whole number of at least 1"),
        ({"prompt_type": "text"}, "prompt_type='text' must be one of input, attention"),
        ({"moe_task_form": "x"}, "moe_task_form='x' must be one of eq9, moelora"),
        ({"balance_weight": -1}, "balance_weight=-1 must be None or a number of at least 0"),
        ({"top_k": 0}, "top_k=0 must be None or a whole number of at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_all_others(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        settings(**changes)
