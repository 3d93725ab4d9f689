"""The choice of pairwise test cases."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests.support.pairwise import pairwise


@pytest.mark.parametrize("sizes", [(2, 2), (7, 4, 3, 2, 2), (11, 5, 2, 2), (1, 1), (3,)])
def test_any_two_values_occur_together_in_a_case(sizes: tuple[int, ...]) -> None:
    cases = pairwise(*map(range, sizes))
    for first, second in combinations(range(len(sizes)), 2):
        met = {(case[first], case[second]) for case in cases}
        assert met == set(product(range(sizes[first]), range(sizes[second])))


def test_the_cases_are_few_and_deterministic() -> None:
    factors = [range(7), range(4), range(3), range(2), range(2)]
    assert pairwise(*factors) == pairwise(*factors)
    assert len(pairwise(*factors)) < 34
