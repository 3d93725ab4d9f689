"""The run screen's last line: the keys that have a point at the moment."""

from __future__ import annotations

from collections.abc import Sequence

from torchconsole.tui.actions import ACTIONS, Action, available
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.action_bar import ActionBar


class KeyBar(ActionBar):
    """`space pause  - + lr  l lr=  s save ...`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(ACTIONS)
        self._state = state
        self._drawn: list[tuple[Action, str]] = []

    def redraw(self) -> None:
        """Draw again what is offered, if that is not what it was: to fit it in takes longest of all lines."""
        offered = [(action, self.label(action)) for action in self.actions()]
        if offered != self._drawn:
            self._drawn = offered
            super().redraw()

    def actions(self) -> Sequence[Action]:
        """Those that there is occasion for."""
        return available(self._state)

    def label(self, action: Action) -> str:
        """What is wanted already is ended by the same key."""
        if action.id == "toggle_pause" and self._state.wants_pause:
            return "unpause"
        if action.id == "toggle_hold" and self._state.wants_hold:
            return "release"
        return action.label
