"""A line of keys and what they do, made from a table of actions. Each can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from textual.events import Click

from torchconsole.tui.actions import Action
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, spread

_GAP = 2


class ActionBar(LineWidget):
    """`enter start  e edit  / search ...`; `remark` stands at the right end where there is room for it."""

    def __init__(self, actions: Sequence[Action], remark: Line | None = None) -> None:
        super().__init__()
        self._actions = actions
        self._remark = remark or []

    def actions(self) -> Sequence[Action]:
        """What is offered now, if there is room."""
        return [action for action in self._actions if action.shown_key]

    def label(self, action: Action) -> str:
        """What an action is called now."""
        return action.label

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action, in the table's order, as far as there is room."""
        keys = [part for action in self._offered(width) for part in self._entry(action)]
        return [spread(keys, self._remark, width)]

    async def on_click(self, event: Click) -> None:
        """Do what stands under the mouse."""
        edge = 0
        for action in self._offered(self.size.width):
            edge += line_width(self._entry(action))
            if event.x < edge:
                scope = "" if "." in action.id else "screen."
                await self.run_action(scope + action.id)
                return

    def _offered(self, width: int) -> list[Action]:
        offered = {action: line_width(self._entry(action)) for action in self.actions()}
        while sum(offered.values()) > width + _GAP:
            rank = max(action.rank for action in offered)
            if not rank:
                break
            offered = {action: wide for action, wide in offered.items() if action.rank < rank}
        return list(offered)

    def _entry(self, action: Action) -> Line:
        label = self.label(action)
        return [(action.shown_key, "key"), (f" {label}{' ' * _GAP}" if label else " ", "muted")]
