"""Says how far a slow phase is, a few times a second."""

from __future__ import annotations

import time

from torchconsole.engine.components.data.types import Say

INTERVAL = 0.5
"""Seconds between two messages."""


class Progress:
    """Counts towards `total` and says so, as in `decoding train: 12,000 of 50,000 (advice)`."""

    def __init__(self, say: Say, phase: str, total: int, advice: str = "") -> None:
        self._say = say
        self._phase = phase
        self._total = total
        self._advice = f" ({advice})" if advice else ""
        self._done = 0
        # The phase itself is said only when it turns out to be slow.
        self._next = time.monotonic() + INTERVAL

    def advance(self, amount: int = 1) -> None:
        """So many more are done."""
        self._done += amount
        if time.monotonic() >= self._next:
            self._say(f"{self._phase}: {self._done:,} of {self._total:,}{self._advice}")
            self._next = time.monotonic() + INTERVAL
