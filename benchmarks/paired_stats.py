"""Paired statistics: variants are measured in turn and compared by the medians of paired ratios.

The speed of a shared machine drifts by more than the variants differ. So each round measures every variant
once, each round starts with a different variant, and variants are compared only within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scipy.stats import ttest_rel

T = TypeVar("T")

LOSS_TOLERANCE = 0.02
SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, with the lower and the upper quartile."""

    median: float
    low: float
    high: float


def interleave(turns: Sequence[Callable[[int], Mapping[str, T]]], rounds: int) -> dict[str, list[T]]:
    """Run all turns in each round, and return each variant's results in the order of the rounds.

    A turn measures one or more variants; it gets the number of the round, from 0.
    """
    results: dict[str, list[T]] = {}
    for number in range(rounds):
        first = number % len(turns)
        for turn in [*turns[first:], *turns[:first]]:
            for name, result in turn(number).items():
                results.setdefault(name, []).append(result)
    return results


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Summarize the ratios of values measured in the same round. Raises ValueError for unequal lengths."""
    ratios = [n / d for n, d in zip(numerators, denominators, strict=True)]
    return summarize(ratios)


def summarize(ratios: Sequence[float]) -> Ratio:
    """Median and quartiles of one or more ratios."""
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


def fastest(rates: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """The variant among `names` with the largest median ratio to the first of them.

    The same variant is used for all rounds: taking the fastest of each round would select for luck.
    """
    return max(names, key=lambda name: paired_ratio(rates[name], rates[names[0]]).median)


def losses_match(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether paired losses are equal up to chance.

    True if their means differ by at most 2%, or if a paired t-test at the 5% level finds no difference.
    """
    if abs(statistics.fmean(ours) / statistics.fmean(theirs) - 1) <= LOSS_TOLERANCE:
        return True
    return len(ours) > 1 and bool(ttest_rel(ours, theirs).pvalue >= SIGNIFICANCE_LEVEL)
