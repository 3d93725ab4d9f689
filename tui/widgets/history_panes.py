"""The log pane and the changes pane: what has happened to the run, with the newest entry at the bottom."""

from __future__ import annotations

import time
from functools import lru_cache

from torchconsole.engine.protocol.events import CommandApplied
from torchconsole.engine.text import printable
from torchconsole.tui.run_log import LINES, Entry, describe_effect
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, Span, spread, wrap
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

_TONES = {"debug": "muted", "info": "plain", "warning": "warn", "error": "bad"}
_LEVEL_LABELS = {"warning": "warning: ", "error": "error: "}
_TIME_WIDTH = len("12:03:11 ")
_STEP_WIDTH = 14


class LogView(ScrolledLines):
    """`12:03:11 message`: the run's events and what the worker logged.

    Long messages are wrapped; control characters are shown as escapes.
    """

    FOLLOWS_END = True

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="log")
        self._state = state

    def source(self) -> object:
        """Return the entries, which the state replaces whenever they change."""
        return self._state.log.entries

    def body(self, width: int) -> list[Line]:
        """Return the lines of every entry that the state keeps."""
        entries = self._state.log.entries
        if not entries:
            return [[("nothing logged yet", "muted")]]
        return [line for entry in entries for line in _log_lines(entry, width)]


@lru_cache(LINES)
def _log_lines(entry: Entry, width: int) -> list[Line]:
    stamp = " " * _TIME_WIDTH if entry.time is None else f"{clock_time(entry.time)} "
    tone = _TONES[entry.level]
    text = _LEVEL_LABELS.get(entry.level, "") + entry.message
    pieces = [piece for line in text.splitlines() for piece in wrap(printable(line), width - len(stamp))]
    return [
        [(stamp if number == 0 else " " * len(stamp), "muted"), (piece, tone)]
        for number, piece in enumerate(pieces)
    ]


class ChangeList(ScrolledLines):
    """`step 1,204  lr 0.01 -> 0.0178      12:03:11  me@pts/3`: every command that was applied to the run."""

    FOLLOWS_END = True

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="changes")
        self._state = state

    def source(self) -> object:
        """Return the changes, which the state replaces whenever they change."""
        return self._state.run.changes

    def body(self, width: int) -> list[Line]:
        """Return the lines of every change that the state keeps."""
        changes = self._state.run.changes
        if not changes:
            return [[("no changes to this run", "muted")]]
        return [line for event in changes for line in _change_lines(event, width)]


def _change_lines(event: CommandApplied, width: int) -> list[Line]:
    """Wrap a long change; its time and author are at the right, or on a line below if there is no room."""
    indent: Span = (" " * _STEP_WIDTH, "plain")
    pieces = wrap(describe_effect(event), width - _STEP_WIDTH)
    change: list[Line] = [[indent, (piece, "plain")] for piece in pieces]
    change[0][0] = (f"step {event.step:<9,}", "strong")
    origin: Line = [(f"{clock_time(event.time)}  {printable(event.by)}", "muted")]
    last = spread(change[-1], origin, width)
    return [*change[:-1], last] if last != change[-1] else [*change, [indent, *origin]]


def clock_time(seconds: float) -> str:
    """Return the local time of day, HH:MM:SS, for seconds since the epoch."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
