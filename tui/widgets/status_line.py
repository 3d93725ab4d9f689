"""The first line: which run, its status, what it does at the moment, how long it has run and will run."""

from __future__ import annotations

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_count, format_duration, format_phase
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
    "interrupted": ("✗", "bad"),
}
"""Status -> its mark and tone: each can be told from the others without colour."""

_GOING_ON = ("connecting", "starting", "pausing", "stopping")
_WORTH_TELLING_SECONDS = 2
_SHORTEST_NAME = 8
_PACE_UNITS = (" samples/s", "/s")
_GAP = 2


class StatusLine(LineWidget):
    """`digits-cnn-20250101-120000  ● running  evaluating... 12 s   elapsed 0:42  ETA 2:41`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The title gives way to the pace, it to the times, they to what goes on, and a long name to all."""
        run = self._state.run
        status = "connecting" if self._state.connection == "connecting" else self._state.status
        mark, tone = MARKS[status]
        word: Line = [("  ", "plain"), (f"{mark} {status}{'...' if status in _GOING_ON else ''}", tone)]
        if self._state.read_only:
            word.append(("  read-only", "warn"))
        doing = [*word, *(self._silence() or self._divergence() or self._phase())]
        times = self._times()
        paces = self._paces() if doing == word else []
        room = width - line_width(doing)
        beside = room - line_width(times) - _GAP - min(map(line_width, paces), default=room)
        name = elide(printable(run.name), beside if beside >= _SHORTEST_NAME else max(_SHORTEST_NAME, room))
        left: Line = [(name, "strong"), *doing]
        for forms in (paces, [self._title()]):
            room = width - line_width(left) - line_width(times) - _GAP
            left += next((form for form in forms if line_width(form) <= room), [])
        return [spread(left, times, width)]

    def _title(self) -> Line:
        title = printable(self._state.run.title)
        return [(f"  {title}", "muted")] if title else []

    def _silence(self) -> Line:
        seconds = self._state.silence
        if not seconds:
            return []
        shown = f"{seconds:.0f} s" if seconds < 60 else format_duration(seconds)
        return [("  ", "plain"), (f"no news for {shown}", "bad")]

    def _divergence(self) -> Line:
        text = self._state.divergence
        return [("  ", "plain"), (f" {text} ", "badge")] if text else []

    def _phase(self) -> Line:
        phase = self._state.slow_phase
        if phase is None:
            return []
        seconds = self._state.phase_seconds
        lasting = f" {seconds:.0f} s" if seconds >= _WORTH_TELLING_SECONDS else ""
        return [("  ", "plain"), (f"{printable(format_phase(phase))}...{lasting}", "key")]

    def _paces(self) -> list[Line]:
        """How fast it goes, in words and in short; nothing while it does not."""
        pace = self._state.run.metrics.get("samples_per_sec")
        if pace is None or self._state.status != "running":
            return []
        return [[("  ", "plain"), (format_count(pace), "strong"), (unit, "muted")] for unit in _PACE_UNITS]

    def _times(self) -> Line:
        seconds = self._state.active_seconds
        if not seconds:
            return []
        left = self._state.eta_seconds
        eta: Line = (
            [("  ETA ", "muted"), (format_duration(left), "strong")]
            if self._state.run.is_live and left is not None
            else []
        )
        return [("elapsed ", "muted"), (format_duration(seconds), "strong"), *eta]
