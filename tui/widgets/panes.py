"""The lower part of the run screen: layers or confusion, log, changes; one at a time or three."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.reactive import reactive

from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.cached_render import CachedRender
from torchconsole.tui.widgets.change_list import ChangeList
from torchconsole.tui.widgets.confusion_table import ConfusionTable
from torchconsole.tui.widgets.layer_table import LayerTable
from torchconsole.tui.widgets.log_view import LogView
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

_PANES = {
    "layers": "1 layers",
    "log": "2 log",
    "changes": "3 changes",
    "confusion": "4 confusion",
}

_LEFT = ("layers", "confusion")


class Panes(Container, CachedRender):
    """Four panes. Tabbed or enlarged, only the chosen one is seen, under the titles of all.

    Side by side, layers and confusion matrix share the place on the left: the one chosen last is seen.
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
        """In the order in which they stand side by side."""
        yield from self._panes

    def choose(self, pane: str) -> None:
        """Show a pane and give it the keyboard, so that the arrow keys scroll it; again, enlarge it."""
        if self.query_one(f"#{pane}").has_focus:
            self.enlarged = not self.enlarged
        self.chosen = pane
        self.query_one(f"#{pane}").focus()

    def choose_next(self) -> None:
        """The pane after the chosen one, and after the last the first."""
        names = list(_PANES)
        self.choose(names[(names.index(self.chosen) + 1) % len(names)])

    def redraw(self) -> None:
        """Show the state as it is now; panes out of sight wait until they are seen."""
        for pane in self._panes:
            if pane.display:
                pane.redraw()

    def watch_chosen(self) -> None:
        """Bring the chosen pane to the front."""
        self._arrange()

    def watch_tabbed(self) -> None:
        """Change between tabs and side by side."""
        self._arrange()

    def watch_enlarged(self) -> None:
        """Take the whole screen for one pane, or give the rest back."""
        self.screen.set_class(self.enlarged, "-enlarged")
        self._arrange()

    def _arrange(self) -> None:
        alone = self.tabbed or self.enlarged
        self._left = self.chosen if self.chosen in _LEFT else self._left
        self.set_class(not alone, "-side-by-side")
        for pane in self._panes:
            name = pane.id or ""
            pane.display = name == self.chosen if alone else name not in _LEFT or name == self._left
            if alone:
                pane.border_title = _tabs(_PANES, self.chosen)
            else:
                pane.border_title = _tabs(_LEFT, name) if name in _LEFT else Content(f" {_PANES[name]} ")
        self.call_after_refresh(self.redraw)


def _tabs(names: Iterable[str], chosen: str) -> Content:
    return Content("").join(
        Content.styled(f" {_PANES[name]} ", "bold reverse" if name == chosen else "dim") for name in names
    )
