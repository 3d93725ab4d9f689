"""The process's random numbers: seeded for one sample, and left as they were afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_sample(seed: int) -> None:
    """Seed what transforms and data sets draw from: Python's, NumPy's and torch's default generator (CPU)."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    # torch.manual_seed would seed every device too, for a hundred times the time.
    torch.default_generator.manual_seed(seed)


@contextmanager
def preserved_randomness() -> Iterator[None]:
    """Leaves the process's random numbers as they were."""
    python, numpy, default = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(default)
