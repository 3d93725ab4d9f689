"""Times a training: its active seconds, and its samples per second."""

from __future__ import annotations

import time

from torchconsole.engine.training.progress import Progress

RATE_WINDOW = 0.25
"""Seconds over which samples per second are measured; single steps are too short to time."""


class TrainingClock:
    """Runs while the loop does. Pauses count nowhere."""

    def __init__(self, progress: Progress) -> None:
        self.samples_per_sec: float | None = None
        self._progress = progress
        self.start()

    def start(self) -> None:
        """Go on after a pause."""
        self._last = time.perf_counter()
        self._begin_window()

    def tick(self) -> None:
        """Add the time since the last tick to the active seconds."""
        now = time.perf_counter()
        self._progress.active_seconds += now - self._last
        self._last = now

    def leave_out(self, seconds: float) -> None:
        """The last `seconds` were not training: they count as active, but not for the rate."""
        self._since += seconds

    def trained(self, samples: int) -> None:
        """So many samples were trained since the last call."""
        self.tick()
        self._samples += samples
        elapsed = self._last - self._since
        if elapsed >= RATE_WINDOW:
            self.samples_per_sec = self._samples / elapsed
            self._begin_window()

    def _begin_window(self) -> None:
        self._since = self._last
        self._samples = 0
