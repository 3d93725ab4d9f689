"""The last line: the keys that have a point at the moment. Each can be clicked."""

from __future__ import annotations

from textual.events import Click

from torchconsole.tui.actions import ACTIONS, Action, Occasion
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width


class KeyBar(LineWidget):
    """`space pause  - + lr  l lr=  s save ...`, made from the table of actions."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action, in the table's order."""
        return [[part for action in self._offered() for part in self._entry(action)]]

    async def on_click(self, event: Click) -> None:
        """Do what stands under the mouse."""
        edge = 0
        for action in self._offered():
            edge += line_width(self._entry(action))
            if event.x < edge:
                await self.run_action(f"screen.{action.id}")
                return

    def _offered(self) -> list[Action]:
        present = occasions(self._state)
        return [action for action in ACTIONS if action.occasion in present]

    def _entry(self, action: Action) -> Line:
        label = "go on" if action.id == "toggle_pause" and self._state.wants_pause else action.label
        return [(action.shown_key, "key"), (f" {label}  " if label else " ", "muted")]


def occasions(state: ConsoleState) -> set[Occasion]:
    """What there is occasion for in this state."""
    found: set[tuple[Occasion, bool]] = {
        ("always", True),
        ("steerable", state.is_steerable),
        ("ended", state.has_ended),
        ("resumable", state.can_resume),
        ("broken", state.connection == "closed" and state.run.is_live),
    }
    return {occasion for occasion, applies in found if applies}
