"""Reports how far a slow phase is, at most twice a second."""

from __future__ import annotations

import time

from torchconsole.engine.protocol.events import PhaseChanged, PhaseName, ReportPhase

INTERVAL = 0.5
"""Seconds between two reports."""


class PhaseProgress:
    """Counts up to `total` (None if unknown) and reports it as progress of `phase`."""

    def __init__(
        self,
        report: ReportPhase,
        phase: PhaseName,
        total: int | None,
        *,
        subject: str = "",
        unit: str = "",
        hint: str = "",
    ) -> None:
        self._report = report
        self.total = total
        """May change as more becomes known."""
        self._phase = PhaseChanged(phase=phase, subject=subject, unit=unit, hint=hint)
        self._done = 0
        # A phase that turns out to be fast is not reported at all.
        self._next_report = time.monotonic() + INTERVAL

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more as done."""
        self._done += amount
        if time.monotonic() >= self._next_report:
            progress = {
                "done": self._done,
                "total": self.total,
                "began": self._phase.time,
                "time": time.time(),
            }
            self._report(self._phase.model_copy(update=progress))
            self._next_report = time.monotonic() + INTERVAL
