"""Slow phases as lines of plain text: each at once, how far it is now and then."""

from __future__ import annotations

INTERVAL = 10.0
"""Seconds between two lines on one phase."""


class PhaseLines:
    """Is told of each phase and of its progress, `decoding: 12 of 50`, and chooses what is worth a line."""

    def __init__(self) -> None:
        self._phase = ""
        self._said = 0.0

    def line_for(self, phase: str, now: float) -> str | None:
        """What to print of `phase` at time `now`, in seconds; None where the last line on it is recent."""
        name = phase.partition(":")[0]
        if name == self._phase and now - self._said < INTERVAL:
            return None
        self._phase, self._said = name, now
        return phase
