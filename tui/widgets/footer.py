"""The lines at the bottom of a screen: the latest notice, and the keys and what they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.events import Click

from torchconsole.engine.text import printable
from torchconsole.tui.actions import ACTIONS, Action, available
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, spread

if TYPE_CHECKING:
    from torchconsole.tui.state import ConsoleState

_GAP = 2


class ActionBar(LineWidget):
    """`enter start  e edit  / search ...`, each of which can be clicked; `remark` at the right if it fits."""

    def __init__(self, actions: Sequence[Action], remark: Line | None = None) -> None:
        super().__init__()
        self._actions = actions
        self._remark = remark or []

    def actions(self) -> Sequence[Action]:
        """Return the actions to offer now, if there is room."""
        return [action for action in self._actions if action.shown_key]

    def label(self, action: Action) -> str:
        """Return an action's label in the present state."""
        return action.label

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action, in the table's order, as far as there is room."""
        keys = [span for action in self._offered(width) for span in self._entry(action)]
        return [spread(keys, self._remark, width)]

    async def on_click(self, event: Click) -> None:
        """Run the action under the mouse pointer."""
        edge = 0
        for action in self._offered(self.size.width):
            edge += line_width(self._entry(action))
            if event.x < edge:
                scope = "" if "." in action.id else "screen."
                await self.run_action(scope + action.id)
                return

    def _offered(self, width: int) -> list[Action]:
        """Return the actions that fit; those of the highest rank are dropped first, rank 0 never."""
        widths = {action: line_width(self._entry(action)) for action in self.actions()}
        while sum(widths.values()) > width + _GAP:
            rank = max(action.rank for action in widths)
            if not rank:
                break
            widths = {action: cells for action, cells in widths.items() if action.rank < rank}
        return list(widths)

    def _entry(self, action: Action) -> Line:
        label = self.label(action)
        return [(action.shown_key, "key"), (f" {label}{' ' * _GAP}" if label else " ", "muted")]


class KeyBar(ActionBar):
    """`space pause  - + lr  l lr=  s save ...`: the run screen's keys that work in the present state."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(ACTIONS)
        self._state = state
        self._drawn: list[tuple[Action, str]] = []

    def redraw(self) -> None:
        """Draw again only if the offered actions changed: this line takes the longest to fit."""
        offered = [(action, self.label(action)) for action in self.actions()]
        if offered != self._drawn:
            self._drawn = offered
            super().redraw()

    def actions(self) -> Sequence[Action]:
        """Return the actions that are available in the present state."""
        return available(self._state)

    def label(self, action: Action) -> str:
        """Return the label; the keys for pause and hold also end what they began."""
        if action.id == "toggle_pause" and self._state.wants_pause:
            return "unpause"
        if action.id == "toggle_hold" and self._state.wants_hold:
            return "release"
        return action.label


class NoticeLine(LineWidget):
    """`lr 0.0178 applied at step 92                       saved step-00000552 (best)`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The notice and the last checkpoint.

        A reply to the user is never cut for the checkpoint; a log warning gives way to a failed save.
        """
        notice = self._state.notice
        text: Line = [(shorten(printable(notice.text), width), notice.tone)]
        if notice.from_log and self._state.run.checkpoint_failure:
            text = []
        return [spread(text, self._checkpoint(width - line_width(text) - 2), width)]

    def _checkpoint(self, room: int) -> Line:
        run = self._state.run
        if run.checkpoint_failure:
            return [(shorten(printable(run.checkpoint_failure), room), "bad")]
        saved = run.last_checkpoint
        if saved is None:
            return [("no checkpoint yet", "muted")]
        return [("saved ", "muted"), (printable(saved.name), "strong"), (f" ({saved.reason})", "muted")]
