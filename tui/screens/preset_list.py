"""The menu's list of presets: grouped by task, filtered by a search, marked where their data is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from torchconsole.engine.config.library import PresetEntry
from torchconsole.tui.printable import printable
from torchconsole.tui.widgets.lines import elide, line_width
from torchconsole.tui.widgets.preset_about import MARKS

if TYPE_CHECKING:
    from torchconsole.engine.config.data_places import DataPlace

UNGROUPED = "Your own"
"""Whatever ships names its group."""

SHORTEST_NAME = 6


class PresetList(OptionList):
    """Titles under their group's heading, the preset's name at the right as far as there is room."""

    BORDER_TITLE = " presets "

    def __init__(self, presets: Iterable[PresetEntry]) -> None:
        super().__init__()
        self._presets = list(presets)
        self._places: Mapping[str, DataPlace] = {}
        self._query = ""
        self._rows: list[PresetEntry | None] = []

    @property
    def chosen(self) -> PresetEntry | None:
        """The highlighted preset."""
        return None if self.highlighted is None else self._rows[self.highlighted]

    @property
    def place(self) -> DataPlace | None:
        """Where the highlighted preset's data is; None before that was looked for."""
        return self._places.get(self.chosen.name) if self.chosen else None

    def show(self, presets: Iterable[PresetEntry], places: Mapping[str, DataPlace]) -> None:
        """List these presets, and by a preset's name where its data is."""
        self._presets, self._places = list(presets), places
        self._lay_out()

    def search(self, query: str) -> None:
        """List only the presets that have every word of `query` in what is known of them."""
        self._query = query
        self._lay_out()

    def on_resize(self) -> None:
        """How much of a name is seen depends on the width."""
        self._lay_out()

    def _lay_out(self) -> None:
        before = self.chosen.name if self.chosen else ""
        found = [preset for preset in self._presets if matches(preset, self._query)]
        self._rows, options = [], []
        for group, members in groupby(sorted(found, key=_place_in_list), key=lambda preset: preset.group):
            self._rows.append(None)
            options.append(_heading(printable(group) or UNGROUPED))
            for preset in members:
                self._rows.append(preset)
                options.append(self._option(preset))
        names = [preset.name if preset else "" for preset in self._rows]
        with self.app.batch_update():
            self.set_options(options or [_heading("no preset has all these words")])
            if found:
                self.highlighted = names.index(before) if before and before in names else 1

    def watch_highlighted(self, highlighted: int | None) -> None:
        """Show the heading above the first preset too."""
        super().watch_highlighted(highlighted)
        if highlighted == 1:
            self.scroll_home(animate=False)

    def _option(self, preset: PresetEntry) -> Option:
        place = self._places.get(preset.name)
        mark = MARKS.get(place.state, (" ", "")) if place else (" ", "")
        width = self.scrollable_content_region.width - 2
        title, name = preset_line(printable(preset.title), printable(preset.name), width)
        style = "$text-error" if preset.problem else ""
        return Option(Content.assemble(mark, " ", (title, style), (name, "dim")))


def matches(preset: PresetEntry, query: str) -> bool:
    """Whether every word of the query is part of the preset's name, title, description, group or needs."""
    known = (preset.name, preset.title, preset.description, preset.group, preset.needs)
    text = "\n".join(known).casefold()
    return all(word in text for word in query.casefold().split())


def preset_line(title: str, name: str, width: int) -> tuple[str, str]:
    """Title and name at the two ends of `width` cells. The name gives way, down to nothing."""
    title = elide(title, width)
    room = width - line_width([(title, "")]) - 1
    if room < min(SHORTEST_NAME, line_width([(name, "")])):
        return title, ""
    name = elide(name, room)
    return title, " " * (room + 1 - line_width([(name, "")])) + name


def _place_in_list(preset: PresetEntry) -> tuple[bool, str, bool, str]:
    """In each group, and so at the very top, what runs on any machine comes first."""
    return bool(preset.group), preset.group, not preset.bundled, preset.name


def _heading(text: str) -> Option:
    return Option(Content.styled(text, "bold dim"), disabled=True)
