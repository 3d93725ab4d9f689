"""Where a training reports what happens in it."""

from __future__ import annotations

from typing import Protocol

from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.points import MetricsPoint


class EventSink(Protocol):
    """Where the trainer's events go; it never waits there."""

    def emit(self, event: Event) -> None:
        """Report an event that nobody may miss."""

    def log(self, point: MetricsPoint) -> None:
        """Report the metrics of a step, in a microsecond at most."""
