"""The log pane: what has happened to the run, the newest at the bottom; after a failure its traceback."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torchconsole.engine.text import printable
from torchconsole.tui.run_log import LINES, Entry
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.traceback_lines import FoundTraceback, find_traceback
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import ends
from torchconsole.tui.widgets.lines import Line, Span, line_width, wrap
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

SEVERITY = {"output": 0, "debug": 1, "info": 2, "warning": 3, "error": 4}

_TONES = {"output": "muted", "debug": "muted", "info": "text", "warning": "attn", "error": "bad"}
_SIGNS: dict[str, Span] = {
    "phase": ("·", "faint"),
    "evaluated": ("•", "val"),
    "saved": ("▼", "muted"),
    "best": ("★", "attn"),
    "change": ("◆", "steer"),
    "resumed": ("↺", "good"),
    "end": ("■", "train"),
    "warning": ("!", "attn"),
    "error": ("✗", "bad"),
}
_TIME_WIDTH = len("12:03:11 ")
_STEP_WIDTH = 13
_VALUE_WIDTH = 7
_LEAST_TIMED = 50
"""Columns from which a line has its time and its step in columns of their own."""


@dataclass(frozen=True)
class FailureLine:
    """A line about the failure, below the entries. `indent` is in columns, `number` that of the line."""

    number: int
    text: str
    tone: str
    indent: int = 0


class LogPane(OrderedPane[Entry | FailureLine]):
    """`12:03:11 • step 1,204    val/loss  0.4121   val/accuracy  0.8629`.

    Long messages are wrapped; control characters are shown as escapes. After a failure with a traceback the
    exception and the last line of the user's own code come first, then the whole traceback.
    """

    FOLLOWS_END = True
    VIEWS = (ALL, "events", "evaluations", "printed")
    FILTERS = ("level",)
    FILTER_EXAMPLES = ("level:warning",)

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="log")
        self._failure: Sequence[FailureLine] = ()
        self._shown_failure = ""

    def source(self) -> object:
        """Return the entries, which the state replaces whenever they change, and how the run ended."""
        return self._state.log.entries, self._state.run.status, self._state.user_error, *self.arrangement

    def orders(self) -> Sequence[str]:
        """Return the orders: the oldest first, or errors and warnings first."""
        return ("time", "level")

    def sort_key(self, row: Entry | FailureLine, order: str) -> float:
        """Return how severe an entry is."""
        return -SEVERITY[row.level] if isinstance(row, Entry) else 1.0

    def is_in_view(self, row: Entry | FailureLine, view: str) -> bool:
        """Whether an entry is an evaluation, was printed, or is anything else."""
        if isinstance(row, FailureLine):
            return view == "printed"
        name = "printed" if row.level == "output" else "evaluations" if row.values else "events"
        return name == view

    def rows(self) -> Sequence[Entry | FailureLine]:
        """Return the entries of the view, sorted; the lines about a failure stay in their order."""
        rows = super().rows()
        if not (self._failure and self.is_first_order and self.is_reversed):
            return rows
        return [
            *(row for row in reversed(rows) if isinstance(row, FailureLine)),
            *(row for row in rows if isinstance(row, Entry)),
        ]

    def all_rows(self) -> Sequence[Entry | FailureLine]:
        """Return the entries; after a failure without its traceback, which follows with what it says."""
        entries = self._state.log.entries
        run = self._state.run
        self._failure = ()
        if run.status not in ("failed", "lost") or self._state.user_error:
            return entries
        lines = [
            (index, line)
            for index, entry in enumerate(entries)
            if entry.level == "output"
            for line in entry.message.splitlines()
        ]
        found = find_traceback([line for _, line in lines])
        if found is None:
            return entries
        of_traceback = {index for index, _ in lines[found.start : found.start + len(found.lines)]}
        self._failure = failure_lines(found)
        rest = [entry for index, entry in enumerate(entries) if index not in of_traceback]
        return [*rest, *self._failure]

    def empty(self) -> str:
        """Return what is shown before anything is logged."""
        return "nothing logged yet"

    def text_of(self, row: Entry | FailureLine) -> str:
        """Return the text that is searched."""
        return row.text

    def passes(self, row: Entry | FailureLine, name: str, value: str) -> bool:
        """Whether an entry is of this level or a more severe one; `output` is what the training printed."""
        if isinstance(row, FailureLine):
            return value == "error"
        level = {"warn": "warning", "err": "error"}.get(value, value)
        if level == "output" or level not in SEVERITY:
            return row.level == level
        return SEVERITY[row.level] >= SEVERITY[level]

    def title(self) -> Line:
        """Return the title."""
        title: Line = [("log", "bold strong")]
        return self.arranged([*title, (" and traceback", "bad")] if self._failure else title)

    def remark(self) -> Line:
        """Return whether the newest lines are shown, and the keys."""
        below = len(self._rows) - 1 - self.highlighted
        if below > 0 and self.has_focus and self.is_first_order and not self.is_reversed:
            return [(f"{below:,} below ", "faint"), *key_hints(self.app, list_last="newest")]
        return key_hints(self.app, view="view", pane_search="search") if self.has_focus else []

    def row_lines(self, row: Entry | FailureLine, width: int) -> list[Line]:
        """Return the lines of an entry."""
        if isinstance(row, Entry):
            return _entry_lines(row, width)
        pieces = wrap(printable(row.text), width - row.indent - 2)
        if set(row.text) <= set("^~ "):  # what marks a part of the line above makes no sense when wrapped
            pieces = pieces[:1]
        return [
            [(" " * (row.indent + 2 * (part > 0)), "text"), (piece, row.tone)]
            for part, piece in enumerate(pieces)
        ]

    def redraw(self) -> None:
        """Show the failure from its first line, once it is known."""
        super().redraw()
        text = self._failure[0].text if self._failure else ""
        if text != self._shown_failure:
            self._shown_failure = text
            self.show_failure()

    @property
    def has_failure(self) -> bool:
        """Whether the run has failed with a traceback."""
        self.all_rows()
        return bool(self._failure)

    def show_failure(self) -> None:
        """Highlight the exception, at the top of the pane."""
        if self._failure and self._failure[0] in self._rows:
            self.highlighted = self._rows.index(self._failure[0])
            self.scroll_to(y=self._starts[self.highlighted], animate=False, force=True)


def failure_lines(found: FoundTraceback) -> list[FailureLine]:
    """Return the exception, the last line of the user's own code, and then the whole traceback."""
    parts: list[tuple[str, str, int]] = [(f"✗ {found.exception}", "bold bad", 0)]
    if frame := found.frame:
        where = f"{Path(frame.file).name}, line {frame.line}"
        inside = f", in {frame.function}" if frame.function else ""
        parts.append((f"{where}{inside}", "bold strong", 2))
        if frame.code:
            parts.append((frame.code, "text", 6))
    parts.append(("", "text", 0))
    is_own = False
    for line in found.lines:
        text = line.strip()
        if text.startswith('File "'):
            is_own = frame is not None and text.startswith(f'File "{frame.file}", line {frame.line}')
        indent = len(line) - len(line.lstrip())
        parts.append((text, "text" if is_own else "muted" if indent else "bad", indent))
        is_own = is_own and bool(indent)
    return [FailureLine(number, *part) for number, part in enumerate(parts)]


@lru_cache(LINES)
def _entry_lines(entry: Entry, width: int) -> list[Line]:
    is_wide = width >= _LEAST_TIMED
    stamp = _stamp(entry, is_wide=is_wide)
    indent: Span = (" " * line_width(stamp), "text")
    room = width - line_width(stamp)
    remark = _remark(entry)
    if entry.values:
        counted: Line = [("  ", "text"), *remark] if remark else []
        values = _columns(entry, room - line_width(counted))
        has_room = line_width(values) + line_width(counted) <= room
        return [[*stamp, *values, *counted] if has_room else [*stamp, *_columns(entry, room)]]
    tone = _TONES[entry.level]
    texts = [piece for line in entry.message.splitlines() or [""] for piece in wrap(printable(line), room)]
    lines: list[Line] = [
        [*(stamp if number == 0 else [indent]), (text, tone)] for number, text in enumerate(texts)
    ]
    if remark:
        if line_width(lines[-1]) + line_width(remark) + 2 <= width:
            lines[-1] = ends(lines[-1], remark, width)
        else:
            lines += [[indent, (piece, "faint")] for piece in wrap("".join(text for text, _ in remark), room)]
    return lines


def _stamp(entry: Entry, *, is_wide: bool) -> Line:
    """Return time, sign and step."""
    known = entry.time is not None
    stamp: Line = [(f"{clock_time(entry.time)} " if entry.time is not None else " " * _TIME_WIDTH, "faint")]
    if not is_wide:
        stamp = [(f"{clock_time(entry.time)[:5]} " if entry.time is not None and known else " " * 6, "faint")]
    kind: str = entry.kind
    if entry.level in ("warning", "error"):
        kind = entry.level
    elif entry.kind == "saved" and entry.remark == "best":
        kind = "best"
    sign = _SIGNS.get(kind, (" ", "text"))
    stamp.append((f"{sign[0]} ", sign[1]))
    if entry.step is not None:
        step = f"step {entry.step:,}"
        stamp.append((f"{step:<{_STEP_WIDTH}}" if is_wide else f"{entry.step:,} ", "muted"))
    return stamp


def _remark(entry: Entry) -> Line:
    parts = [entry.remark] if entry.remark else []
    if entry.others:
        parts.append(f"and {entry.others:,} more before")
    return [(" · ".join(parts), "faint")] if parts else []


def _columns(entry: Entry, width: int) -> Line:
    """Return as many values as fit, each in a column of its own, and how many are left out."""
    line: Line = []
    for number, (name, value) in enumerate(entry.values):
        gap = "  " if line else ""
        rest = len(entry.values) - number - 1
        cells: Line = [
            (f"{gap}{name} ", "muted"),
            (f"{value:>{_VALUE_WIDTH}}", "bold strong" if not line else "text"),
        ]
        if line_width(line) + line_width(cells) + (5 if rest else 0) > width and line:
            return [*line, (f"  +{rest + 1}", "faint")]
        line += cells
    return line


def clock_time(seconds: float) -> str:
    """Return the local time of day, HH:MM:SS, for seconds since the epoch."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))
