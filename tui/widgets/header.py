"""The lines at the top of the run screen: status, progress, and how the run or the connection ended."""

from __future__ import annotations

from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.run.suspension import suspension
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import (
    format_count,
    format_duration,
    format_percent,
    format_phase,
    format_progress,
)
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, spread, wrap

READABLE_WIDTH, READABLE_HEIGHT = 40, 10
"""Columns and rows below which the run screen shows `TooSmall` and nothing else."""

STATUS_SYMBOLS = {
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
"""Status -> its symbol and tone, so that good and bad statuses differ without color too."""

_TRANSIENT = ("connecting", "starting", "pausing", "stopping")
_PHASE_TIME_FROM_SECONDS = 2
_SHORTEST_NAME = 8
_SPEED_UNITS = (" samples/s", "/s")
_GAP = 2

_FULL, _HALF, _EMPTY = "━", "╸", "─"
_SHORTEST_BAR = 4

_MOST_REASON_LINES = 2


class StatusLine(LineWidget):
    """`digits-cnn-20250101-120000  ● running  evaluating... 12 s   elapsed 0:42  ETA 2:41`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """Drop order when the line is too narrow: title, speed, times, phase; a long name is shortened."""
        run = self._state.run
        status = "connecting" if self._state.connection == "connecting" else self._state.status
        symbol, tone = STATUS_SYMBOLS[status]
        text = f"{symbol} {status}{'...' if status in _TRANSIENT else ''}"
        status_part: Line = [("  ", "plain"), (text, tone)]
        if self._state.read_only:
            status_part.append(("  read-only", "warn"))
        activity = [*status_part, *(self._silence() or self._divergence() or self._phase())]
        times = self._times()
        speeds = self._speeds() if activity == status_part else []
        room = width - line_width(activity)
        name_room = room - line_width(times) - _GAP - min(map(line_width, speeds), default=room)
        if name_room < _SHORTEST_NAME:
            name_room = max(_SHORTEST_NAME, room)
        left: Line = [(shorten(printable(run.name), name_room), "strong"), *activity]
        for alternatives in (speeds, [self._title()]):
            room = width - line_width(left) - line_width(times) - _GAP
            left += next((part for part in alternatives if line_width(part) <= room), [])
        return [spread(left, times, width)]

    def _title(self) -> Line:
        title = printable(self._state.run.title)
        return [(f"  {title}", "muted")] if title else []

    def _silence(self) -> Line:
        seconds = self._state.silence
        if not seconds:
            return []
        if cause := suspension(self._state.run.pid):
            return [("  ", "plain"), (f"suspended ({cause})", "bad")]
        duration = f"{seconds:.0f} s" if seconds < 60 else format_duration(seconds)
        return [("  ", "plain"), (f"no updates for {duration}", "bad")]

    def _divergence(self) -> Line:
        text = self._state.divergence
        return [("  ", "plain"), (f" {text} ", "badge")] if text else []

    def _phase(self) -> Line:
        phase = self._state.slow_phase
        if phase is None:
            return []
        seconds = self._state.phase_seconds
        duration = f" {seconds:.0f} s" if seconds >= _PHASE_TIME_FROM_SECONDS else ""
        return [("  ", "plain"), (f"{printable(format_phase(phase))}...{duration}", "key")]

    def _speeds(self) -> list[Line]:
        """The speed with a long and with a short unit; empty while the run is not training."""
        speed = self._state.run.metrics.get("samples_per_sec")
        if speed is None or self._state.status != "running":
            return []
        return [[("  ", "plain"), (format_count(speed), "strong"), (unit, "muted")] for unit in _SPEED_UNITS]

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


class ProgressLine(LineWidget):
    """`epoch 3/60 ━━━━━━╸───── 45%   step 92/1,380 ━╸──────────  7%`, or the progress of a slow phase."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The bars share the width that the numbers leave; without a total there is no bar."""
        phase = self._state.slow_phase
        if phase is not None and phase.done is not None:
            return [self._phase_gauge(phase, width)]
        run = self._state.run
        epoch = ("epoch", f"{run.epoch:,}{_of(run.total_epochs)}", self._epoch_fraction())
        steps = ("step", f"{run.step:,}{_of(run.total_steps)}", _fraction(run.step, run.total_steps))
        numbers = sum(len(name) + len(count) + 7 for name, count, _ in (epoch, steps)) + 3
        columns = (width - numbers) // 2
        gauge = _gauge(*epoch, columns)
        if self._state.has_ended and epoch[2] is not None:
            gauge = gauge[:-1]
        return [[*gauge, ("   ", "plain"), *_gauge(*steps, columns)]]

    def _phase_gauge(self, phase: PhaseChanged, width: int) -> Line:
        """`12,000 of 50,000 ━━━╸─────────  24%  ETA 0:38`."""
        count = "" if phase.unit == "%" else format_progress(phase)
        left = self._state.phase_seconds_left
        eta: Line = [] if left is None else [("  ETA ", "muted"), (format_duration(left), "strong")]
        fraction = _fraction(phase.done or 0, phase.total)
        return [*_gauge("", count, fraction, width - len(count) - 6 - line_width(eta)), *eta]

    def _epoch_fraction(self) -> float | None:
        run = self._state.run
        if not run.steps_per_epoch:
            return None
        steps_before = max(0, run.epoch - 1) * run.steps_per_epoch
        return _fraction(max(0, run.step - steps_before), run.steps_per_epoch)


def _of(total: int | None) -> str:
    return f"/{total:,}" if total else ""


def _fraction(done: int, total: int | None) -> float | None:
    return min(1.0, done / total) if total else None


def _gauge(name: str, count: str, fraction: float | None, columns: int) -> Line:
    label: Line = [(f"{name} " if name else "", "muted"), (count, "strong")]
    if fraction is None:
        return label
    percent = (f" {format_percent(fraction):>4}", "plain")
    if columns < _SHORTEST_BAR:
        return [*label, percent]
    done, rest = bar(fraction, columns)
    return [*label, (" ", "plain"), (done, "bar"), (rest, "muted"), percent]


def bar(fraction: float, columns: int) -> tuple[str, str]:
    """Return the filled and the empty part of a bar, with a resolution of half a cell."""
    halves = round(fraction * 2 * columns)
    done = _FULL * (halves // 2) + _HALF * (halves % 2)
    return done, _EMPTY * (columns - len(done))


class EndBanner(LineWidget):
    """Shows how a run or the connection to it ended, and where to look. Hidden while the run is live."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def redraw(self) -> None:
        """Appear when the run ends, as tall as the reason needs."""
        self.set_class(self._state.has_ended, "-shown")
        if self._state.has_ended:
            self.set_class(self._is_bad, "-bad")
            super().redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The reason in at most two lines; below it, the worker's log file if something went wrong."""
        pieces = wrap(self._reason(), width)
        if len(pieces) > _MOST_REASON_LINES:
            rest = " ".join(pieces[_MOST_REASON_LINES - 1 :])
            pieces[_MOST_REASON_LINES - 1 :] = [shorten(rest, width)]
        lines: list[Line] = [[(piece, "strong")] for piece in pieces]
        if self._is_bad and self._state.run.folder and not self._state.user_error:
            lines.append([("worker output: ", "muted"), (self._log_file(), "plain")])
        return lines

    @property
    def _is_bad(self) -> bool:
        has_failed = self._state.run.status in ("failed", "lost", "interrupted")
        return has_failed or bool(self._state.run.problem or self._state.connection_error)

    def _log_file(self) -> str:
        return printable(f"{self._state.run.folder}/worker.log")

    def _reason(self) -> str:
        run = self._state.run
        if not run.is_live and run.problem:
            return f"{run.status} at step {run.step:,}, but {printable(run.problem)}"
        if not run.is_live:
            return f"{run.status} at step {run.step:,}{f': {printable(run.reason)}' if run.reason else ''}"
        error = printable(self._state.connection_error) or "closed by the worker"
        return f"connection lost ({error}); the run may still be running"


class TooSmall(LineWidget):
    """Replaces everything else in a terminal that is too small (shown by the style sheet)."""

    def draw(self, width: int, height: int) -> list[Line]:
        """The size of the terminal and the size that is needed."""
        text = f"terminal too small ({width}x{height}), {READABLE_WIDTH}x{READABLE_HEIGHT} needed"
        return [[(piece, "warn")] for piece in wrap(text, width)]
