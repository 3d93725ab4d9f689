"""The log pane: what the worker logged, the newest line at the bottom."""

from __future__ import annotations

import time

from torchconsole.engine.protocol.events import LogWritten
from torchconsole.tui.printable import printable
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines, wrap

_TONES = {"debug": "muted", "info": "plain", "warning": "warn", "error": "bad"}
_MARKS = {"warning": "warning: ", "error": "error: "}


class LogView(ScrolledLines):
    """`12:03:11 message`; long messages are wrapped, control characters shown as escapes.

    A run's files hold what the worker printed, which has its own times.
    """

    FOLLOWS_END = True

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="log")
        self._state = state

    def source(self) -> object:
        """Replaced by the state whenever it changes."""
        return self._state.run.log

    def body(self, width: int) -> list[Line]:
        """Every line that the state keeps."""
        entries = self._state.run.log
        if not entries:
            return [[("nothing logged yet", "muted")]]
        timed = self._state.connection != "files"
        return [line for entry in entries for line in _entry_lines(entry, width, timed)]


def _entry_lines(entry: LogWritten, width: int, timed: bool) -> list[Line]:
    stamp = f"{clock_time(entry.time)} " if timed else ""
    tone = _TONES[entry.level]
    text = _MARKS.get(entry.level, "") + entry.message
    pieces = [piece for line in text.splitlines() for piece in wrap(printable(line), width - len(stamp))]
    return [
        [(stamp if number == 0 else " " * len(stamp), "muted"), (piece, tone)]
        for number, piece in enumerate(pieces)
    ]


def clock_time(seconds: float) -> str:
    """Local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
