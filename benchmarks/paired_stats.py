"""Arms measured in turn, and what their figures come to: medians of paired ratios.

The speed of a shared machine drifts by more than the arms differ. So each round measures every arm once, each
round begins with another arm, and arms are compared within a round only.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy.stats import ttest_rel

T = TypeVar("T")

TOLERANCE, LEVEL = 0.02, 0.05


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, and the quartiles that they lie between."""

    median: float
    low: float
    high: float


def interleaved(turns: Sequence[Callable[[int], Mapping[str, T]]], rounds: int) -> dict[str, list[T]]:
    """What each arm gives in each round. A turn measures one arm or more, given the round's number from 0."""
    results: dict[str, list[T]] = {}
    for number in range(rounds):
        first = number % len(turns)
        for turn in [*turns[first:], *turns[:first]]:
            for name, result in turn(number).items():
                results.setdefault(name, []).append(result)
    return results


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The ratios of figures that were measured in the same round. Raises ValueError for unequal lengths."""
    ratios = [n / d for n, d in zip(numerators, denominators, strict=True)]
    return summed_up(ratios)


def summed_up(ratios: Sequence[float]) -> Ratio:
    """Median and quartiles of one ratio or more."""
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def fastest(rates: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """Of the arms `names` the one that is faster than the first of them by the largest median ratio.

    One arm for all rounds: the fastest of each round for itself would be the luckiest.
    """
    return max(names, key=lambda name: paired(rates[name], rates[names[0]]).median)


def alike(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether paired losses are equal but for chance.

    Their means differ by 2% at most, or by no more than a paired t-test at the level of 5% lets pass.
    """
    if abs(statistics.fmean(ours) / statistics.fmean(theirs) - 1) <= TOLERANCE:
        return True
    return len(ours) > 1 and bool(ttest_rel(ours, theirs).pvalue >= LEVEL)
