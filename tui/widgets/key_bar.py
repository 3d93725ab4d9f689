"""The last line: the keys that have a point at the moment. Each can be clicked."""

from __future__ import annotations

from textual.events import Click

from torchconsole.tui.actions import Action, available
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width

_GAP = 2


class KeyBar(LineWidget):
    """`space pause  - + lr  l lr=  s save ...`, made from the table of actions."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action, in the table's order, as far as there is room."""
        return [[part for action in self._offered(width) for part in self._entry(action)]]

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
        offered = available(self._state)
        while sum(line_width(self._entry(action)) for action in offered) > width + _GAP:
            rank = max(action.rank for action in offered)
            if not rank:
                break
            offered = [action for action in offered if action.rank < rank]
        return offered

    def _entry(self, action: Action) -> Line:
        label = action.label
        if action.id == "toggle_pause" and self._state.wants_pause:
            label = "go on"
        elif action.id == "toggle_hold" and self._state.wants_hold:
            label = "release"
        return [(action.shown_key, "key"), (f" {label}{' ' * _GAP}" if label else " ", "muted")]
