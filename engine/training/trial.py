"""How long a step takes here, tried before the first one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

LONG = 0.01
"""Seconds of a step that is tried once: more tries would say no more, and take their time."""

REPEATS = 9


def median_seconds(step: Callable[[], object]) -> float:
    """Of a few steps, after one to warm up; of one alone where it is long."""
    step()
    taken: list[float] = []
    while len(taken) < REPEATS and (not taken or taken[0] < LONG):
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)
