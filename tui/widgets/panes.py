"""The lower part of the run screen: layers, log, changes and confusion matrix, in tabs or side by side."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.reactive import reactive

from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.history_panes import ChangeList, LogView
from torchconsole.tui.widgets.lines import CachedRender
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines
from torchconsole.tui.widgets.tables import ConfusionTable, LayerTable

_PANES = {
    "layers": "1 layers",
    "log": "2 log",
    "changes": "3 changes",
    "confusion": "4 confusion",
}

_LEFT = ("layers", "confusion")


class Panes(Container, CachedRender):
    """Four panes. When tabbed or enlarged, only the chosen one is visible, under the titles of all four.

    Side by side, the layers and the confusion matrix share the left side: the one chosen last is visible.
    """

    chosen = reactive("layers")
    tabbed = reactive(True)
    enlarged = reactive(False)

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._left = _LEFT[0]
        self._panes: tuple[ScrolledLines, ...] = (
            LayerTable(state),
            ConfusionTable(state),
            LogView(state),
            ChangeList(state),
        )

    def compose(self) -> ComposeResult:
        """In the order in which they are placed side by side."""
        yield from self._panes

    def choose(self, pane: str) -> None:
        """Show and focus a pane, so that the arrow keys scroll it; if it has the focus, enlarge it."""
        if self.query_one(f"#{pane}").has_focus:
            self.enlarged = not self.enlarged
        self.chosen = pane
        self.query_one(f"#{pane}").focus()

    def choose_next(self) -> None:
        """Choose the pane after the chosen one, or the first after the last."""
        names = list(_PANES)
        self.choose(names[(names.index(self.chosen) + 1) % len(names)])

    def redraw(self) -> None:
        """Draw the current state in the visible panes."""
        for pane in self._panes:
            if pane.display:
                pane.redraw()

    def watch_chosen(self) -> None:
        """Bring the chosen pane to the front."""
        self._arrange()

    def watch_tabbed(self) -> None:
        """Switch between tabs and side by side."""
        self._arrange()

    def watch_enlarged(self) -> None:
        """Use the whole screen for one pane, or show the rest again."""
        self.screen.set_class(self.enlarged, "-enlarged")
        self._arrange()

    def _arrange(self) -> None:
        is_single = self.tabbed or self.enlarged
        self._left = self.chosen if self.chosen in _LEFT else self._left
        self.set_class(not is_single, "-side-by-side")
        for pane in self._panes:
            name = pane.id or ""
            pane.display = name == self.chosen if is_single else name not in _LEFT or name == self._left
            if is_single:
                pane.border_title = _tabs(_PANES, self.chosen)
            else:
                pane.border_title = _tabs(_LEFT, name) if name in _LEFT else Content(f" {_PANES[name]} ")
        self.call_after_refresh(self.redraw)


def _tabs(names: Iterable[str], chosen: str) -> Content:
    return Content("").join(
        Content.styled(f" {_PANES[name]} ", "bold reverse" if name == chosen else "dim") for name in names
    )
