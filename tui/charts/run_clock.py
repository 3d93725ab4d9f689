"""When the steps of a run took place: from its file, and from now on as they come."""

from __future__ import annotations

from pathlib import Path

from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.metrics_window import Moment, read_moments
from torchconsole.tui.state import ConsoleState

_READ_AGAIN_FROM = 1.25
"""The file is read again once the run is this many times as far as what was read."""


class RunClock:
    """The moments of one run. The file is sampled in a few milliseconds, and seldom."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state
        self._read: list[Moment] = []
        self._read_at = -1

    def moments(self) -> list[Moment]:
        """Return moments, ascending in step, from the beginning to now."""
        run = self._state.run
        if self._read_at < 0 or run.step > _READ_AGAIN_FROM * self._read_at or run.step < self._read_at:
            self._read_at = run.step
            try:
                self._read = read_moments(RunFolder(Path(run.folder)).metrics_file)
            except OSError:
                self._read = []
            # What is later was left behind when the run was rolled back.
            self._read = [moment for moment in self._read if moment.step <= run.step]
        known = [moment for moment in self._read if moment.step < run.step]
        if known and known[0].step > 0:
            first = known[0]
            known.insert(0, Moment(0, 0, 0.0, first.time - first.active_seconds))
        elif not known:
            known.append(Moment(0, 0, 0.0, run.created or self._state.clock() - run.active_seconds))
        if run.step > known[-1].step:
            seconds = max(run.active_seconds, known[-1].active_seconds)
            now = self._state.clock() if run.is_live else known[-1].time + seconds - known[-1].active_seconds
            known.append(Moment(run.seq, run.step, seconds, max(now, known[-1].time)))
        return known
