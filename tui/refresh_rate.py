"""How often the run screen is refreshed: as often as the line to the terminal and the machine can bear."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.widget import Widget

from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.process import REMOTE_CELLS_PER_SECOND, is_remote

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 0.2
"""Between two refreshes of a terminal that is near. A part that takes turns is drawn with every second."""

SHARE = 0.045
"""Of a core, that the console takes at most while it refreshes more often than it must."""

IDLE_CORE = 0.5
"""Cores that are free at least where one of them counts as idle: what the console takes itself is not."""


class RefreshRate:
    """Measures what this process spends from one refresh to the next."""

    def __init__(self) -> None:
        self._spent = time.process_time()

    def seconds(self, drawn: Sequence[Widget], run: RunState) -> float:
        """From the beginning of a refresh, which drew these, to that of the next one."""
        before, self._spent = self._spent, time.process_time()
        if is_remote():
            return sum(widget.size.area for widget in drawn) / REMOTE_CELLS_PER_SECOND
        if not has_idle_core(run):
            return LONGEST_SECONDS
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, (self._spent - before) / SHARE))


def has_idle_core(run: RunState) -> bool:
    """Whether the machine has a core that does nothing, as far as the worker has told."""
    if run.telemetry is None or run.telemetry.cpu_percent is None or run.device is None:
        return True
    return run.device.cpu_count * (1 - run.telemetry.cpu_percent / 100) >= IDLE_CORE
