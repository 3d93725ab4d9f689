"""The lines at the bottom of a screen: the latest notice, and the keys and what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.events import Click

from torchconsole.tui.keys import (
    CHARTS,
    EVERYWHERE,
    PANES,
    RUN_KEYS,
    Action,
    actions_of,
    available,
    run_action,
)
from torchconsole.tui.pane_names import PANES as PANE_TITLES
from torchconsole.tui.user_keys import keys_of, shown, shown_key
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width, spread

if TYPE_CHECKING:
    from torchconsole.tui.state import ConsoleState

_GAP = 2


class ActionBar(LineWidget):
    """`enter start  e edit  / search ...`, each of which can be clicked; `remark` at the right if it fits.

    `labels` are by an action's name in the table of keys, where they differ from the table's.
    """

    def __init__(
        self, actions: Sequence[Action], remark: Line | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._actions = actions
        self._remark = remark or []
        self._labels = labels or {}

    def actions(self) -> Sequence[Action]:
        """Return the actions that are available now."""
        return self._actions

    def label(self, action: Action) -> str:
        """Return an action's label in the present state."""
        return self._labels.get(action.config_name, action.label)

    def draw(self, width: int, height: int) -> list[Line]:
        """Key and label of each action, in the table's order, as far as there is room."""
        keys = [span for action in self._offered(width) for span in self._entry(action)]
        return [spread(keys, self._remark, width)]

    async def on_click(self, event: Click) -> None:
        """Do what the key under the mouse pointer does."""
        edge = 0
        for action in self._offered(self.size.width):
            edge += line_width(self._entry(action))
            if event.x < edge:
                await run_action(self.screen, action)
                return

    def _offered(self, width: int) -> list[Action]:
        """Return the actions that fit; those of the highest rank are dropped first, rank 0 never."""
        shown = [action for action in self.actions() if action.shown_key]
        widths = {action: line_width(self._entry(action)) for action in shown}
        while sum(widths.values()) > width + _GAP:
            rank = max(action.rank for action in widths)
            if not rank:
                break
            widths = {action: cells for action, cells in widths.items() if action.rank < rank}
        return list(widths)

    def key(self, action: Action) -> str:
        """Return the text for an action's key."""
        return shown_key(self.app, action)

    def _entry(self, action: Action) -> Line:
        key = (self.key(action), "bold strong")
        label = self.label(action)
        return [key, (f" {label}{' ' * _GAP}", "muted")] if label else [key]


class KeyBar(ActionBar):
    """`space pause  -+ lr  l lr=  s save ...`: the run screen's keys that work in the present state."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__(actions_of(*RUN_KEYS))
        self._state = state
        self._drawn: list[tuple[Action, str]] = []

    def redraw(self) -> None:
        """Draw again only if the offered actions changed: this line takes the longest to fit."""
        offered = [(action, self.label(action)) for action in self.actions()]
        if offered != self._drawn:
            self._drawn = offered
            super().redraw()

    def actions(self) -> Sequence[Action]:
        """Return the actions that are available in the present state; those of the chart mode are its own."""
        if getattr(self.screen, "is_chart_mode", False):
            leave, *others = CHARTS.actions
            return [replace(leave, label="back", rank=0), *others, *actions_of(EVERYWHERE)]
        offered = available(super().actions(), self._state)
        return [action for action in offered if action not in CHARTS.actions or action.id == "chart_mode"]

    def key(self, action: Action) -> str:
        """Return the text for an action's key. The key of the next pane stands for those of all panes."""
        if action.config_name != "next":
            return super().key(action)
        first, *_, last = (keys_of(self.app, pane)[0] for pane in PANES.actions[: len(PANE_TITLES)])
        return f"{shown(first)}-{shown(last)}"

    def label(self, action: Action) -> str:
        """Return the label; the keys for pause and hold also end what they began."""
        if action.config_name == "pause" and self._state.wants_pause:
            return "unpause"
        if action.config_name == "hold" and self._state.wants_hold:
            return "release"
        if action.config_name == "resume" and self._state.can_extend:
            return "extend"
        if action.config_name == "next":
            return "panes"
        return super().label(action)
