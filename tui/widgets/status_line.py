"""The first line: which run, its status, what it does at the moment, how long it has run and will run."""

from __future__ import annotations

from collections.abc import Callable

from torchconsole.tui.formatting import format_count, format_duration
from torchconsole.tui.printable import printable
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, elide, line_width, spread

MARKS = {
    "connecting": ("○", "muted"),
    "starting": ("○", "warn"),
    "running": ("●", "good"),
    "pausing": ("◐", "warn"),
    "paused": ("‖", "warn"),
    "stopping": ("◐", "warn"),
    "finished": ("✓", "good"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "lost": ("✗", "bad"),
}
"""Status -> its mark and tone: each can be told from the others without colour."""

_GOING_ON = ("connecting", "starting", "pausing", "stopping")
_WORTH_TELLING_SECONDS = 2


class StatusLine(LineWidget):
    """`digits-cnn-20250101-120000  ● running  validating... 12 s   elapsed 0:42  ETA 2:41`."""

    def __init__(self, state: ConsoleState, clock: Callable[[], float]) -> None:
        super().__init__()
        self._state = state
        self._clock = clock

    def draw(self, width: int, height: int) -> list[Line]:
        """Times give way to the phase where both do not fit."""
        run = self._state.run
        status = "connecting" if self._state.connection == "connecting" else self._state.status
        mark, tone = MARKS[status]
        word = f"{mark} {status}{'...' if status in _GOING_ON else ''}"
        left: Line = [
            (elide(printable(run.name), max(8, width // 2)), "strong"),
            ("  ", "plain"),
            (word, tone),
            *(self._phase() or self._pace()),
        ]
        times = self._times()
        title = printable(run.title)
        if title and line_width(left) + line_width(times) + len(title) + 6 <= width:
            left.append((f"  {title}", "muted"))
        return [spread(left, times, width)]

    def _phase(self) -> Line:
        phase = self._state.slow_phase
        if not phase:
            return []
        seconds = self._state.phase_seconds(self._clock())
        lasting = f" {seconds:.0f} s" if seconds and seconds >= _WORTH_TELLING_SECONDS else ""
        return [("  ", "plain"), (f"{printable(phase)}...{lasting}", "key")]

    def _pace(self) -> Line:
        pace = self._state.run.metrics.get("samples_per_sec")
        if pace is None or self._state.status != "running":
            return []
        return [("  ", "plain"), (format_count(pace), "strong"), (" samples/s", "muted")]

    def _times(self) -> Line:
        run = self._state.run
        if not run.active_seconds:
            return []
        left = run.eta_seconds
        eta: Line = (
            [("  ETA ", "muted"), (format_duration(left), "strong")]
            if run.is_live and left is not None
            else []
        )
        return [("elapsed ", "muted"), (format_duration(run.active_seconds), "strong"), *eta]
