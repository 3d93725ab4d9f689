"""The log pane: the story of the run, what the worker logged included, the newest line at the bottom."""

from __future__ import annotations

import time
from functools import lru_cache

from torchconsole.engine.text import printable
from torchconsole.tui.run_log import LINES, Entry
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines, wrap

_TONES = {"debug": "muted", "info": "plain", "warning": "warn", "error": "bad"}
_MARKS = {"warning": "warning: ", "error": "error: "}
_STAMP = len("12:03:11 ")


class LogView(ScrolledLines):
    """`12:03:11 message`; long messages are wrapped, control characters shown as escapes."""

    FOLLOWS_END = True

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(id="log")
        self._state = state

    def source(self) -> object:
        """Replaced by the state whenever it changes."""
        return self._state.story.entries

    def body(self, width: int) -> list[Line]:
        """Every line that the state keeps."""
        entries = self._state.story.entries
        if not entries:
            return [[("nothing logged yet", "muted")]]
        return [line for entry in entries for line in _entry_lines(entry, width)]


@lru_cache(LINES)
def _entry_lines(entry: Entry, width: int) -> list[Line]:
    stamp = " " * _STAMP if entry.time is None else f"{clock_time(entry.time)} "
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
