"""The second line: progress of the epoch and of the whole run, or of a slow phase, each with a bar."""

from __future__ import annotations

from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.tui.formatting import format_duration, format_percent, format_progress
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

_FULL, _HALF_DONE, _REST = "━", "╸", "─"
_SHORTEST_BAR = 4


class ProgressLine(LineWidget):
    """`epoch 3/60 ━━━━━━╸───── 45%   step 92/1,380 ━╸──────────  7%`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The bars share what the numbers leave; without a total there is a number and no bar."""
        phase = self._state.slow_phase
        if phase is not None and phase.done is not None:
            return [self._phase_gauge(phase, width)]
        run = self._state.run
        epoch = ("epoch", f"{run.epoch:,}{_of(run.total_epochs)}", self._epoch_part())
        steps = ("step", f"{run.step:,}{_of(run.total_steps)}", _part(run.step, run.total_steps))
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
        part = _part(phase.done or 0, phase.total)
        return [*_gauge("", count, part, width - len(count) - 6 - line_width(eta)), *eta]

    def _epoch_part(self) -> float | None:
        run = self._state.run
        if not run.steps_per_epoch:
            return None
        begun = max(0, run.epoch - 1) * run.steps_per_epoch
        return _part(max(0, run.step - begun), run.steps_per_epoch)


def _of(total: int | None) -> str:
    return f"/{total:,}" if total else ""


def _part(done: int, total: int | None) -> float | None:
    return min(1.0, done / total) if total else None


def _gauge(name: str, count: str, part: float | None, columns: int) -> Line:
    label: Line = [(f"{name} " if name else "", "muted"), (count, "strong")]
    if part is None:
        return label
    if columns < _SHORTEST_BAR:
        return [*label, (f" {format_percent(part):>4}", "plain")]
    done, rest = bar(part, columns)
    return [*label, (" ", "plain"), (done, "bar"), (rest, "muted"), (f" {format_percent(part):>4}", "plain")]


def bar(part: float, columns: int) -> tuple[str, str]:
    """The done and the open stretch of a bar, to half a cell."""
    halves = round(part * 2 * columns)
    done = _FULL * (halves // 2) + _HALF_DONE * (halves % 2)
    return done, _REST * (columns - len(done))
