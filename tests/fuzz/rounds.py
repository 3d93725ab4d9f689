"""Gives a target a round of inputs, and counts what it did with them."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.target import Target

MEMORY = 16 << 30
"""Bytes of address space. A preset may ask for a network of any size, which must be refused, not tried."""


def run_round(target: Target, number: int, inputs: int) -> Counter[str]:
    """Use a number of inputs that depend on `number` only. Raises on a fault, with the smallest input."""
    counts: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def use(given: object) -> None:
        counts["accepted" if target.use(given) else "refused"] += 1

    with limited_memory():
        use()
    return counts


@contextmanager
def limited_memory() -> Iterator[None]:
    """Refuse this process memory beyond what any valid input needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
