"""How long a step takes here, tried before the first one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

REPEATS, ENOUGH = 9, 0.1
"""A step is tried so many times at most, and no more once that has taken so many seconds."""


def median_seconds(step: Callable[[], object]) -> float:
    """Of a few steps, after one to warm up."""
    step()
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def in_milliseconds(seconds: float) -> str:
    """`0.52`, `9.1` or `370`."""
    return f"{1000 * seconds:.2g}" if seconds < 0.0995 else f"{1000 * seconds:.0f}"
