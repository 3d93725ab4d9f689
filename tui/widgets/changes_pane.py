"""The changes pane: what was asked of the run, whether and when it was applied, and who asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchconsole.engine.protocol.events import CommandApplied
from torchconsole.engine.text import printable
from torchconsole.tui.empty_texts import no_changes
from torchconsole.tui.run_log import command_name, describe_effect
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import key_hints
from torchconsole.tui.widgets.frames import ends
from torchconsole.tui.widgets.lines import Line, Span, line_width, wrap
from torchconsole.tui.widgets.log_pane import clock_time
from torchconsole.tui.widgets.ordered_pane import ALL, OrderedPane

_STEP_WIDTH = 13
_TIME_WIDTH = len("12:03:11 ")


@dataclass(frozen=True)
class Change:
    """A change; `step` is that after which it was applied, None if it was not. `remark` is who or why."""

    text: str
    state: str
    step: int | None
    time: float | None
    remark: str

    @property
    def sign(self) -> Span:
        """The sign and its tone."""
        return {"applied": ("◆", "steer"), "refused": ("✗", "bad")}.get(self.state, ("◆", "attn"))


class ChangesPane(OrderedPane[Change]):
    """`◆ 12:03:11  step 1,204   lr 0.01 -> 0.0178          applied · me@pts/3`."""

    FOLLOWS_END = True
    VIEWS = (ALL, "lr", "refused")

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(state, id="changes")

    def source(self) -> object:
        """Return what the lines are made from."""
        state = self._state
        return state.run.changes, tuple(state.pending), len(state.refused), *self.arrangement

    def orders(self) -> Sequence[str]:
        """Return the orders: the oldest first, or alike ones together."""
        return ("time", "change")

    def sort_key(self, row: Change, order: str) -> str:
        """Return what was changed."""
        return row.text

    def is_in_view(self, row: Change, view: str) -> bool:
        """Whether a change is one of the lr, or was refused."""
        return row.state == view if view == "refused" else row.text.startswith("lr ")

    def all_rows(self) -> Sequence[Change]:
        """Return what was applied or refused in the order of time, then what waits for the worker."""
        state = self._state
        done = [(event.time, _applied(event)) for event in state.run.changes]
        done += [
            (time, Change(command_name(command), "refused", None, time, printable(reason)))
            for command, reason, time in state.refused
        ]
        asked = [Change(command_name(command), "asked", None, None, "") for command in state.pending]
        return [*(change for _, change in sorted(done, key=lambda pair: pair[0])), *asked]

    def row_lines(self, row: Change, width: int) -> list[Line]:
        """Wrap a long change; its author is at the right, or on a line below if there is no room."""
        stamp = " " * _TIME_WIDTH if row.time is None else f"{clock_time(row.time)} "
        step = f"step {row.step:,}" if row.step is not None else row.state
        start: Line = [(f"{row.sign[0]} ", row.sign[1]), (stamp, "faint")]
        start.append((f"{step:<{_STEP_WIDTH}} ", "bold strong" if row.step is not None else row.sign[1]))
        indent: Span = (" " * line_width(start), "text")
        room = width - line_width(start)
        lines: list[Line] = [
            [*(start if not number else [indent]), (piece, "text")]
            for number, piece in enumerate(wrap(row.text, room))
        ]
        remark: Line = (
            [(row.remark, "faint" if row.state == "applied" else row.sign[1])] if row.remark else []
        )
        if line_width(lines[-1]) + line_width(remark) + 2 <= width:
            lines[-1] = ends(lines[-1], remark, width) if remark else lines[-1]
            return lines
        return [*lines, *([indent, (piece, remark[0][1])] for piece in wrap(row.remark, room))]

    def text_of(self, row: Change) -> str:
        """Return the text that is searched."""
        where = f"step {row.step:,} " if row.step is not None else f"{row.state} "
        return f"{where}{row.text} {row.remark}".strip()

    def title(self) -> Line:
        """Return the title, and how many changes wait."""
        waiting = len(self._state.pending)
        title = self.arranged([("changes", "bold strong"), (f" {len(self._rows):,}", "muted")])
        return [*title, (f"  ◆ {waiting} asked", "attn")] if waiting else title

    def remark(self) -> Line:
        """Return the keys."""
        return key_hints(self.app, view="view", pane_search="search") if self._rows else []

    def empty(self) -> str:
        """Return what is shown without changes."""
        return no_changes(self._state)


def _applied(event: CommandApplied) -> Change:
    who = f" · {printable(event.by)}" if event.by else ""
    return Change(describe_effect(event), "applied", event.step, event.time, f"applied{who}")
