"""Slow phases as lines of plain text: one when a phase begins, then its progress now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.formatting import format_phase, format_progress

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import PhaseChanged

INTERVAL = 10.0
"""Seconds between two lines about one phase."""


class PhaseLines:
    """Chooses which of the reported phases and their progress are worth a line."""

    def __init__(self) -> None:
        self._phase: PhaseChanged | None = None

    def line_for(self, phase: PhaseChanged) -> str | None:
        """`decoding samples (train): 12 of 50`; None if the last line about this phase is recent."""
        last = self._phase
        begins = last is None or not phase.continues(last)
        if last is not None and not begins and phase.time - last.time < INTERVAL:
            return None
        self._phase = phase
        hint = f"; {phase.hint}" if phase.hint and begins else ""
        return ": ".join(filter(None, (format_phase(phase), format_progress(phase)))) + hint
