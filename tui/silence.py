"""Measures how long a live run sends no events, and how much of its training time was lost that way."""

from __future__ import annotations

from collections.abc import Callable

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState

SILENT_FROM_SECONDS = 5.0
"""A worker sends telemetry to a connected console every two seconds, so a longer silence is unusual."""


class SilenceMeter:
    """Measures the silence of a connected run. `clock` returns seconds since the epoch.

    `stalled_seconds` are active seconds of the run in which its worker was silent, for example suspended.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start again, as after connecting."""
        self._last_event_time = self._clock()
        self._silent_seconds = 0.0
        self.stalled_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the last event; 0 while that is usual."""
        seconds = self._clock() - self._last_event_time
        return seconds if seconds >= SILENT_FROM_SECONDS else 0.0

    def receive(self, event: ev.Event, run: RunState) -> None:
        """Note an event. `run` is the state before it.

        A silence counts as stalled once a jump of the active seconds contains it: the first metrics after the
        silence may still be from before it.
        """
        if run.status == "running":
            self._silent_seconds += self.seconds
        self._last_event_time = self._clock()
        if isinstance(event, ev.MetricsLogged):
            jump = event.active_seconds - run.active_seconds
            if jump >= SILENT_FROM_SECONDS:
                self.stalled_seconds += min(self._silent_seconds, jump)
                self._silent_seconds = 0.0
