"""Choose a small number of test cases that covers every pair of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any


def pairwise(*factors: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Choose cases so that any two values of two different factors occur together in at least one case.

    A case has one value of each factor. The choice is greedy: the next case covers the most pairs that are
    not covered yet; of several, it is the first in the order of `product`. So the same factors always give
    the same cases. Values must be hashable.
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
