"""The rows below the header that say how a run ended, or what it does or suffers instead of training."""

from __future__ import annotations

from functools import partial

from torchconsole.engine.run.suspension import how_to_continue, suspension
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import (
    format_duration,
    format_percent,
    format_phase,
    format_progress,
)
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import KeyOf, key_named
from torchconsole.tui.widgets.frames import meter
from torchconsole.tui.widgets.header import SIGNS
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, wrap

WATCHING = "attached read-only"
"""Why a console that only watches does not steer. Any other reason is told by the banner."""

_BRIEF_BELOW = 60
_BAR_COLUMNS = 20
_INDENT = 3
_PHASE_TIME_FROM_SECONDS = 2


class Banner(LineWidget):
    """Hidden while there is nothing to say. It is as tall as its text needs: a remedy is never cut off."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The text in as many rows as there are; if they are too few, its middle is left out."""
        lines: list[Line] = []
        for details in (2, 1, 0):
            lines = banner_lines(self._state, width, partial(key_named, self.app), details)
            if len(lines) <= height:
                break
        if len(lines) <= height or height < 3:
            return lines[:height]
        kept = (height - 1) // 2
        return [*lines[:kept], [(" " * _INDENT + "…", "faint")], *lines[len(lines) - (height - kept - 1) :]]


def banner_lines(state: ConsoleState, width: int, key: KeyOf, details: int = 2) -> list[Line]:
    """Return the rows of the banner for this width; none while the run trains as it should.

    `key` gives the key of an action. With fewer `details` it leaves out what the key line says as well and
    where the worker's output is (1), and then where a resume continues (0).
    """
    if state.has_ended:
        return _end(state, width, key, details if width >= _BRIEF_BELOW else min(1, details))
    if state.read_only and state.read_only != WATCHING:
        return _marked("!", "bad", printable(state.read_only), width)
    if state.run.checkpoint_failure:
        return _marked("!", "attn", printable(state.run.checkpoint_failure), width)
    if silence := _silence(state):
        return _marked("!", "bad", silence, width)
    if state.divergence:
        return _marked("✗", "bad", state.divergence, width)
    if state.run.status == "starting" or state.connection == "connecting":
        return _phase(state, width)
    return []


def _end(state: ConsoleState, width: int, key: KeyOf, details: int) -> list[Line]:
    run = state.run
    if run.is_live:
        error = printable(state.connection_error) or "closed by the worker"
        lines = _marked("!", "bad", f"connection lost ({error}); the run may still be running", width)
        return (
            lines
            if details < 2
            else _with_keys(lines, [(key("reattach"), "attach again"), (key("leave"), "leave")], width)
        )
    sign, tone = SIGNS[run.status]
    text = f"{run.status} at step {run.step:,}"
    if run.problem:
        text += f", but {printable(run.problem)}"
    elif run.reason:
        text += f": {printable(run.reason)}"
    is_bad = run.status in ("failed", "lost", "interrupted") or bool(run.problem)
    lines = _marked(sign, tone, text, width)
    if details and (resume := resume_text(state)):
        lines += _marked("↺", "good", resume, width)
    if details < 2:
        return lines
    if is_bad and run.folder and not state.user_error:
        lines += _marked(" ", "text", f"worker output: {printable(run.folder)}/worker.log", width, "muted")
    return _with_keys(lines, _end_keys(state, key, is_bad=is_bad), width)


def _end_keys(state: ConsoleState, key: KeyOf, *, is_bad: bool) -> list[tuple[str, str]]:
    keys = [(key("resume"), "resume")] if state.can_resume else []
    if is_bad and not state.user_error:
        keys.append((key("pane_log"), "log"))
    return keys


def resume_text(state: ConsoleState) -> str:
    """Return where a resume would go on; empty if the run cannot be resumed because it is complete."""
    run = state.run
    if run.status not in ("stopped", "failed", "lost", "interrupted") or state.can_start_anyway:
        return ""
    checkpoint = state.resume_point
    if state.resume_advice:
        return printable(state.resume_advice)
    if checkpoint is None:
        return "" if state.user_error else "no checkpoint: it cannot be resumed"
    name, step = checkpoint
    lost = max(0, run.step - step)
    again = f"; {lost:,} step{'s' * (lost != 1)} are trained again" if lost else ""
    return f"a resume continues from {printable(name)}{again}"


def _silence(state: ConsoleState) -> str:
    seconds = state.silence
    if not seconds:
        return ""
    if cause := suspension(state.run.pid):
        return f"suspended ({cause}): {how_to_continue(cause, state.run.pid)}"
    duration = f"{seconds:.0f} s" if seconds < 60 else format_duration(seconds)
    return f"no updates for {duration}"


def _phase(state: ConsoleState, width: int) -> list[Line]:
    """`◐ decoding samples (train) ━━━━━━───── 25%  300 of 1,200  ETA 0:12`."""
    phase = state.slow_phase
    if phase is None:
        return _marked("◐", "attn", "connecting" if state.connection == "connecting" else "starting", width)
    return _marked_line(phase_line(state, width - _INDENT - 1), printable(phase.hint), width)


def phase_line(state: ConsoleState, width: int) -> Line:
    """Return what the run does instead of training, with its progress if it is known."""
    phase = state.slow_phase
    if phase is None:
        return []
    seconds = state.phase_seconds
    line: Line = [(printable(format_phase(phase)), "text")]
    if phase.done is not None and phase.total:
        share = min(1.0, phase.done / phase.total)
        line += [
            (" ", "text"),
            *meter(share, _BAR_COLUMNS, "train"),
            (f" {format_percent(share):>4}", "bold strong"),
        ]
        if phase.unit != "%":
            line.append((f"  {format_progress(phase)}", "muted"))
    elif phase.done is not None:
        line.append((f"  {format_progress(phase)}", "muted"))
    if seconds >= _PHASE_TIME_FROM_SECONDS:
        line.append((f"  {format_duration(seconds)}", "faint"))
    left = state.phase_seconds_left
    if left is not None:
        line += [("  ETA ", "muted"), (format_duration(left), "bold strong")]
    while len(line) > 1 and line_width(line) > width:
        line = line[:-1]
    return line


def _marked_line(line: Line, hint: str, width: int) -> list[Line]:
    lines: list[Line] = [[(" ◐ ", "attn"), *line]]
    if hint:
        lines += _marked(" ", "text", hint, width, "faint")
    return lines


def _marked(sign: str, tone: str, text: str, width: int, text_tone: str = "text") -> list[Line]:
    """Return a text, wrapped, with a sign before its first row."""
    pieces = [piece for part in text.splitlines() or [""] for piece in wrap(part, width - _INDENT - 1)]
    return [
        [(f" {sign if number == 0 else ' '} ", tone), (piece, text_tone)]
        for number, piece in enumerate(pieces)
    ]


def _with_keys(lines: list[Line], keys: list[tuple[str, str]], width: int) -> list[Line]:
    """Append keys and what they do to the first row, or on a row of their own where it is too long."""
    if not keys:
        return lines
    shown: Line = []
    for key, word in keys:
        shown += [("   ", "text"), (key, "bold strong"), (f" {word}", "muted")]
    if len(lines) == 1 and line_width(lines[0]) + line_width(shown) <= width - 1:
        return [[*lines[0], *shown]]
    return [*lines, shown]
