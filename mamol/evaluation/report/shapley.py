"""Shapley values: what each sensor is worth, its gain averaged over all orders in which sensors can come."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

MOST = 8
"""Sensors; each is looked at under half of all patterns."""


def shapley(players: int, worth: Callable[[frozenset[int]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """The Shapley value of each player: φ_i = Σ_S |S|! (n − |S| − 1)! / n! · (v(S ∪ {i}) − v(S)) over S without i.

    Args:
        players: n.
        worth: v, of any set of them, the empty one too; one number or several, each by itself.

    Returns:
        (n, …); their sum is v of all less v of none.
    """
    values = {some: np.asarray(worth(some), float) for some in _sets(range(players))}
    found = []
    for player in range(players):
        others = [each for each in range(players) if each != player]
        gains = [(values[some | {player}] - values[some]) / comb(players - 1, len(some)) for some in _sets(others)]
        found.append(np.sum(gains, axis=0) / players)
    return np.stack(found)


def _sets(players: Sequence[int]) -> list[frozenset[int]]:
    return [frozenset(some) for size in range(len(players) + 1) for some in combinations(players, size)]
