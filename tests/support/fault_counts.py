"""How often each fault is injected: in full by `make faults`, a tenth as often by `make test`."""

from __future__ import annotations

import os

IN_FULL = bool(os.environ.get("FAULTS_FULL"))


def count(full: int) -> int:
    """Return how often to inject a fault."""
    return full if IN_FULL else max(1, full // 10)


def every(full: range) -> range:
    """Return the values of `full` to try: all, or every tenth starting with the seventh."""
    return full if IN_FULL else full[6::10]
