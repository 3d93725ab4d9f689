"""Few test cases that still cover every pair of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Choose cases, one value of each factor a case, so that any two values of two factors meet in one.

    Greedy: the next case is the one with the most pairs not yet covered, the first such one in the order of
    `product`. So the same factors always give the same cases. Values must be hashable.
    """

    def pairs(case: tuple[Any, ...]) -> set[Any]:
        return set(combinations(enumerate(case), 2))

    candidates = {case: pairs(case) for case in product(*factors)}
    missing = set().union(*candidates.values())
    cases = []
    while missing:
        cases.append(max(candidates, key=lambda case: len(candidates[case] & missing)))
        missing -= candidates[cases[-1]]
    return cases
