"""The line that answers a key or tells of a change; without news it shows the panes' tabs or the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torchconsole.engine.protocol.commands import PauseRun, TrainSteps
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_duration
from torchconsole.tui.pane_names import PANES, RANKS
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import Hint, KeyOf, key_named
from torchconsole.tui.widgets.banner import phase_line
from torchconsole.tui.widgets.device_panel import small_line
from torchconsole.tui.widgets.frames import crop, ends
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

_SIGNS = {"good": "◆", "attn": "◆", "bad": "✗", "muted": "·"}
_SLOW_SECONDS = 1.0


class MessageLine(LineWidget):
    """`◆ lr 0.01 -> 0.0178 · applied at step 464`, or `1 charts  2 log  3 changes ...`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self.stage: Stage = "normal"
        self.pane = "charts"

    def draw(self, width: int, height: int) -> list[Line]:
        """The message if there is one."""
        if message := self._message(width):
            return [crop([(" ", "text"), *message], width)]
        if self.stage in ("tiny", "small") and self.pane == "charts":
            return [small_line(self._state, width, is_tiny=self.stage == "tiny")]
        names = [*PANES, RANKS] if self._state.run.processes > 1 else [*PANES]
        tabs = [span for name in names for span in self._tab(name)]
        if line_width(tabs) > width:
            tabs = self._tab(self.pane)
        return [ends(tabs, self._remark(width - line_width(tabs) - 3), width - 1)]

    def _message(self, width: int) -> Line:
        return message_spans(self._state, width - 2, partial(key_named, self.app))

    def _tab(self, name: str) -> Line:
        """Return a tab, which can be clicked."""
        key = key_named(self.app, f"pane_{name}")
        number = Hint.of(f" {key}", f"pane_{name}")
        title = f" {PANES.get(name, name)} "
        if name == self.pane:
            return [(number, "bold strong on select"), (title, "bold strong on select")]
        return [(number, "muted"), (title, "faint")]

    def _remark(self, room: int) -> Line:
        """Who else is attached, the last checkpoint, and the run's title."""
        state, run = self._state, self._state.run
        parts = [others_here(state.others)] if state.others else []
        if saved := run.last_checkpoint:
            ago = max(0.0, state.clock() - saved.time)
            age = f" {format_age(ago)}" if run.is_live else ""
            parts.append(f"saved {saved.step:,}{age}")
        if run.title:
            parts.append(printable(run.title))
        while parts and len(" · ".join(parts)) > room:
            parts.pop()
        return [(" · ".join(parts), "faint")] if parts else []


def others_here(others: Sequence[str]) -> str:
    """Return who else is attached: `with ann@pts/3 and 2 more`."""
    first, *more = [name or "somebody" for name in others]
    return f"with {first} and {len(more)} more" if more else f"with {first}"


def message_spans(state: ConsoleState, width: int, key: KeyOf) -> Line:
    """Return the message to show now; empty if there is none. `key` gives the key of an action."""
    if notice := state.message:
        is_warning = notice.level or (notice.tone == "attn" and not state.pending)
        sign = "!" if is_warning else _SIGNS.get(notice.tone, "◆")
        tone = "steer" if notice.tone == "good" else notice.tone
        text_tone = notice.tone if notice.tone in ("attn", "bad") else "text"
        level = f"{notice.level} ({key('pane_log')} log): " if notice.level else ""
        return crop([(f"{sign} ", tone), (f"{level}{printable(notice.text)}", text_tone)], width)
    if state.has_ended:
        return []
    if state.status == "paused":
        unpause: Line = [("   ", "text"), (key("pause"), "bold strong"), (" unpause", "muted")]
        keys = [] if state.read_only else unpause
        head: Line = [("‖ ", "attn"), (f"paused at step {state.run.step:,}", "text")]
        details = _since_when(state)
        while details and line_width([*head, *details, *keys]) > width:
            details.pop()
        return [*head, *details, *keys]
    if state.status == "stopping":
        reason = f": {printable(state.run.reason)}" if state.run.reason else ""
        return [("◐ ", "attn"), (f"stopping after the current step{reason}", "text")]
    if state.run.status != "starting" and state.phase_seconds >= _SLOW_SECONDS:
        return [("◐ ", "train"), *phase_line(state, width - 2)]
    return []


def _since_when(state: ConsoleState) -> Line:
    """How long the run has been paused, and by whom."""
    phase = state.run.phase
    paused = [change for change in state.run.changes if isinstance(change.command, (PauseRun, TrainSteps))]
    line: Line = []
    if phase is not None and phase.phase == "paused":
        seconds = max(0.0, state.clock() - (phase.began or phase.time))
        line.append((f" for {format_duration(seconds)}", "muted"))
    if paused and paused[-1].by:
        line.append((f" by {printable(paused[-1].by)}", "muted"))
    return line


def format_age(seconds: float) -> str:
    """Return an age that changes seldom: `just now`, `40 s ago`, `2 min ago`, `3 h ago`, `2 d ago`."""
    if seconds < 10:
        return "just now"
    for most, size, unit in ((60, 10, "s"), (3600, 60, "min"), (86400, 3600, "h"), (math.inf, 86400, "d")):
        if seconds < most:
            count = int(seconds // size)
            return f"{count * 10 if unit == 's' else count} {unit} ago"
    raise AssertionError
