"""The dialog that chooses the metrics that have a curve: a filter, and a list to select from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.events import Click, Key
from textual.screen import ModalScreen
from textual.widgets import Static

from torchconsole.engine.text import printable
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.inputs import SequentialInput
from torchconsole.tui.widgets.lines import Line, LineWidget

_MOVES = {"up": -1, "down": 1, "pageup": -8, "pagedown": 8}


class MetricChooser(ModalScreen[list[str] | None]):
    """Returns the selected metrics, an empty list for the usual ones, or None if the user cancels.

    Without usual ones, enter shows the highlighted metric alone if none was selected. `remarks` are at the
    right of metrics.
    """

    BINDINGS = [Binding("escape,ctrl+c", "leave", "Cancel", show=False)]

    def __init__(
        self,
        metrics: Sequence[str],
        shown: Sequence[str],
        usual: Collection[str] = (),
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.metrics = metrics
        self.selected = set(shown)
        self.remarks = remarks or {}
        self.highlighted = metrics.index(shown[0]) if shown and not usual else 0
        self._shown = set(shown)
        self._usual = set(usual)
        self._filter = ""

    def compose(self) -> ComposeResult:
        """Lay out the filter and the list."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "metrics"
            dialog.border_subtitle = "space select · enter show · esc"
            what = "; none for the usual ones" if self._usual else ""
            yield Static(f"Metrics with a curve{what}", markup=False, classes="question")
            yield FilterInput(placeholder="words to filter by")
            yield MetricList()

    @property
    def found(self) -> list[str]:
        """The metrics that have all words of the filter in their names."""
        words = self._filter.lower().split()
        return [name for name in self.metrics if all(word in name.lower() for word in words)]

    def press(self, key: str) -> None:
        """Move the highlight, or select what is highlighted."""
        found = self.found
        if key in _MOVES:
            self.highlighted = max(0, min(len(found) - 1, self.highlighted + _MOVES[key]))
        elif found:
            self.selected ^= {found[self.highlighted]}
        self.query_one(MetricList).redraw()

    def on_input_changed(self, event: SequentialInput.Changed) -> None:
        """Filter the list."""
        self._filter, self.highlighted = event.value, 0
        self.query_one(MetricList).redraw()

    def on_input_submitted(self) -> None:
        """Show what is selected."""
        if not self._usual and self.selected == self._shown and self.found:
            name = self.found[self.highlighted]
            self.selected = self.selected if name in self.selected else {name}
        chosen = [name for name in self.metrics if name in self.selected]
        self.dismiss([] if set(chosen) == self._usual else chosen)

    def action_leave(self) -> None:
        """Close the dialog and change nothing."""
        self.dismiss(None)


class FilterInput(SequentialInput):
    """The line that filters the list. Its keys that move and select belong to the list."""

    async def on_key(self, event: Key) -> None:
        """Hand the list's keys to it, in the order in which they were pressed."""
        if event.key in _MOVES or event.key == "space":
            event.stop()
            event.prevent_default()
            cast("MetricChooser", self.screen).press(event.key)
        else:
            await super().on_key(event)


class MetricList(LineWidget):
    """`■ val/accuracy`: one metric a line, filled if it is selected."""

    def draw(self, width: int, height: int) -> list[Line]:
        """As many metrics as fit, with the highlighted one among them."""
        chooser = cast("MetricChooser", self.screen)
        found = chooser.found
        if not found:
            return [[("no metric has these words in its name", "muted")]]
        lines: list[Line] = []
        for row in range(self._first(height), min(len(found), self._first(height) + height)):
            name = found[row]
            ground = " on select" if row == chooser.highlighted else ""
            sign = "■" if name in chooser.selected else "○"
            tone = "train" if name in chooser.selected else "faint"
            remark = f"  {chooser.remarks[name]} " if chooser.remarks.get(name) else ""
            room = max(0, width - 3 - len(remark))
            text = shorten(printable(name), room, "middle").ljust(room)
            line = [(f" {sign} ", f"{tone}{ground}"), (text, f"text{ground}"), (remark, f"faint{ground}")]
            lines.append([span for span in line if span[0]])
        return lines

    def on_click(self, event: Click) -> None:
        """Select the metric under the mouse pointer, or end that."""
        chooser = cast("MetricChooser", self.screen)
        row = self._first(self.size.height) + event.y
        if row < len(chooser.found):
            chooser.highlighted = row
            chooser.press("space")

    def _first(self, height: int) -> int:
        """Return the first row that is shown."""
        return max(0, cast("MetricChooser", self.screen).highlighted - height + 1)
