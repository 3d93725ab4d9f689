"""The menu's list of presets: grouped by task, searched, with the state of their data and their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.text import printable
from torchconsole.tui.preset_rows import (
    PRESET_ORDERS,
    PresetFigures,
    grouped,
    matching_presets,
    ordered_presets,
    preset_row,
)
from torchconsole.tui.table import shorten
from torchconsole.tui.user_keys import key_hints, key_named
from torchconsole.tui.widgets.lines import Line, line_width
from torchconsole.tui.widgets.list_pane import ListPane

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataLocation

LONGEST_NAME = 30


class PresetList(ListPane):
    """Presets under the headings of their groups."""

    def __init__(self, presets: Iterable[PresetEntry]) -> None:
        super().__init__()
        self._presets = list(presets)
        self._locations: Mapping[str, DataLocation] = {}
        self._figures: Mapping[str, PresetFigures] = {}
        self.query_text = ""
        self.order = PRESET_ORDERS[0]
        self.is_reversed = False
        self._rows = grouped(self._presets)
        self.highlighted = min(1, max(0, len(self._rows) - 1))

    @property
    def highlighted_preset(self) -> PresetEntry | None:
        """The highlighted preset; None without one."""
        row = self._rows[self.highlighted] if self._rows else None
        return row if isinstance(row, PresetEntry) else None

    def text_to_copy(self) -> str:
        """Return the file of the highlighted preset."""
        return str(self.highlighted_preset.path) if self.highlighted_preset else ""

    @property
    def highlighted_location(self) -> DataLocation | None:
        """Where the highlighted preset's data is; None while unknown."""
        return self._locations.get(self.highlighted_preset.name) if self.highlighted_preset else None

    def show(self, presets: Iterable[PresetEntry], locations: Mapping[str, DataLocation]) -> None:
        """List these presets. `locations` says by preset name where the data is."""
        self._presets, self._locations = list(presets), locations
        self._rebuild()

    def show_figures(self, figures: Mapping[str, PresetFigures]) -> None:
        """Show what runs of the presets have reached."""
        if figures == self._figures:
            return
        self._figures = figures
        if self.order == "runs":
            self._rebuild()
        self.redraw()

    def figures(self, name: str) -> PresetFigures | None:
        """Return what runs of a preset have reached; None without runs."""
        return self._figures.get(name)

    def search(self, query: str) -> None:
        """List only the presets that match every word of `query`."""
        self.query_text = query
        self._rebuild()

    def change_order(self) -> None:
        """Sort by the next of PRESET_ORDERS."""
        self.order = PRESET_ORDERS[(PRESET_ORDERS.index(self.order) + 1) % len(PRESET_ORDERS)]
        self.is_reversed = False
        self._rebuild()

    def reverse_order(self) -> None:
        """Reverse the order."""
        self.is_reversed = not self.is_reversed
        self._rebuild()

    def count(self) -> int:
        """See ListPane."""
        return len(self._rows)

    def can_highlight(self, row: int) -> bool:
        """Headings of groups cannot be highlighted."""
        return isinstance(self._rows[row], PresetEntry)

    def title(self) -> Line:
        """The number of presets."""
        found = sum(isinstance(row, PresetEntry) for row in self._rows)
        of = f" of {len(self._presets)}" if self.query_text else ""
        return [("presets ", "bold strong"), (f"{found}{of}", "muted")]

    def remark(self) -> Line:
        """The order unless it is the usual one; what is searched for, or how to search."""
        shown: Line = []
        if self.is_reversed or self.order != PRESET_ORDERS[0]:
            reverse = ", reversed" if self.is_reversed else ""
            shown = key_hints(self.app, "bold strong", order=f"by {self.order}{reverse}")
        if self.query_text:
            searched: Line = [(shorten(printable(self.query_text), 30), "text")]
            return [*searched, *([(" · ", "rule"), *shown] if shown else [])]
        return shown or key_hints(self.app, "bold strong", search="search")

    def empty(self) -> str:
        """See ListPane."""
        if not self._presets:
            return "  no presets"
        return f"  no preset matches; {key_named(self.app, 'clear_search')} clears the search"

    def row(self, row: int, width: int) -> Line:
        """Draw a preset or the heading of a group."""
        entry = self._rows[row]
        if isinstance(entry, str):
            return [(" ", "text"), (shorten(printable(entry), width - 1), "bold muted")]
        names = (line_width([(printable(each.name), "")]) for each in self._presets)
        name_width = min(LONGEST_NAME, max(names, default=0))
        return preset_row(
            entry, self._locations.get(entry.name), self._figures.get(entry.name), width, name_width
        )

    def _rebuild(self) -> None:
        """List what matches; the highlighted preset stays highlighted, else the first one is."""
        before = self.highlighted_preset
        found = matching_presets(self._presets, self.query_text)
        self._rows = ordered_presets(found, self.order, self._figures, is_reversed=self.is_reversed)
        names = [row.name if isinstance(row, PresetEntry) else "" for row in self._rows]
        self.highlighted = names.index(before.name) if before and before.name in names else 0
        self.highlight(self.highlighted)
