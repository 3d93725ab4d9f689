"""The changes pane: every command that was applied to the run, at which step and by whom."""

from __future__ import annotations

from torchconsole.engine.protocol.events import CommandApplied
from torchconsole.engine.text import printable
from torchconsole.tui.command_text import effect
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, Part, spread
from torchconsole.tui.widgets.log_view import clock_time
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines, wrap

_INDENT = 14


class ChangeList(ScrolledLines):
    """`step 1,204  lr 0.01 -> 0.0178      12:03:11  me@pts/3`, the newest at the bottom."""

    FOLLOWS_END = True

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="changes")
        self._state = state

    def source(self) -> object:
        """Replaced by the state whenever it changes."""
        return self._state.run.changes

    def body(self, width: int) -> list[Line]:
        """Every change that the state keeps."""
        applied = self._state.run.changes
        if not applied:
            return [[("nothing was changed during this run", "muted")]]
        return [line for event in applied for line in _entry(event, width)]


def _entry(event: CommandApplied, width: int) -> list[Line]:
    """A long change is wrapped. Time and author stand at its right, or below where there is no room."""
    indent: Part = (" " * _INDENT, "plain")
    pieces = wrap(effect(event), width - _INDENT)
    change: list[Line] = [[indent, (piece, "plain")] for piece in pieces]
    change[0][0] = (f"step {event.step:<9,}", "strong")
    origin: Line = [(f"{clock_time(event.time)}  {printable(event.by)}", "muted")]
    last = spread(change[-1], origin, width)
    return [*change[:-1], last] if last != change[-1] else [*change, [indent, *origin]]
