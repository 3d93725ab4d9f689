"""A list of which lines are found by typing: keys of a preset, or the values of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.events import Key
from textual.message import Message

from torchconsole.engine.text import printable
from torchconsole.tui.fuzzy import ranked
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import Line
from torchconsole.tui.widgets.list_pane import ListPane

_WIDE = 70
_MOST_NAME = 38
_MOVES = {"down": 1, "up": -1}


@dataclass(frozen=True)
class Pick:
    """A line: the value that it stands for, what it is (a type, a default), and what it means."""

    value: str
    kind: str = ""
    meaning: str = ""


class PickList(ListPane):
    """`optimizer.momentum   0   argument of SGD`, the best match of what was typed first."""

    def __init__(self, picks: Sequence[Pick], title: str) -> None:
        super().__init__()
        self._picks = {pick.value: pick for pick in picks}
        self._meanings = {pick.value: f"{pick.meaning} {pick.kind}" for pick in picks}
        self._shown = list(self._picks)
        self._title = title

    @property
    def picked(self) -> Pick | None:
        """The highlighted line; None if nothing matches."""
        return self._picks[self._shown[self.highlighted]] if self._shown else None

    @property
    def values(self) -> list[str]:
        """All values of the list."""
        return list(self._picks)

    def search(self, typed: str) -> None:
        """Show what matches the typed text."""
        self._shown = ranked(typed, self._meanings)
        self.highlight(0)

    def go_to(self, value: str) -> None:
        """Highlight a value."""
        if value in self._shown:
            self.highlight(self._shown.index(value))

    def count(self) -> int:
        """Return the number of matches."""
        return len(self._shown)

    def title(self) -> Line:
        """Return the title."""
        return [(printable(self._title), "bold strong")]

    def remark(self) -> Line:
        """Return how many lines match."""
        return [(f"{len(self._shown)} of {len(self._picks)}", "faint")]

    def empty(self) -> str:
        """Return what is shown without a match."""
        return "nothing matches"

    def row(self, row: int, width: int) -> Line:
        """Return the value, what it is, and what it means as far as there is room."""
        pick = self._picks[self._shown[row]]
        has_more = any(one.kind or one.meaning for one in self._picks.values())
        is_wide = width >= _WIDE
        room = (_MOST_NAME if is_wide else max(12, width * 3 // 5)) if has_more else width - 2
        name = min(max(map(len, self._picks)), room)
        line: Line = [(f" {shorten(printable(pick.value), name, 'middle'):<{name}}", "text")]
        kind = 0 if not has_more else min(24, (width - name) // 2) if is_wide else width - name - 3
        if kind > 4:
            line.append((f"  {shorten(printable(pick.kind), kind - 2):<{kind - 2}}", "muted"))
        if is_wide:
            line.append((shorten(f"  {printable(pick.meaning)}", width - name - kind - 1), "faint"))
        return line


class PickInput(SequentialInput):
    """The line above the list: what is typed filters it, and the arrow keys move in it."""

    @dataclass
    class Moved(Message):
        """The user moved the highlight by some rows; a page is PAGE rows."""

        rows: int

    PAGE = 10

    async def on_key(self, event: Key) -> None:
        """Pass the keys of the list on."""
        rows = _MOVES.get(event.key) or {"pagedown": self.PAGE, "pageup": -self.PAGE}.get(event.key)
        if rows:
            event.stop()
            event.prevent_default()
            self.post_message(self.Moved(rows))
