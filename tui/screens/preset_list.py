"""The menu's list of presets: grouped by task, filtered by a search, marked where their data is here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from textual.content import Content
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from torchconsole.engine.config.preset_index import PresetEntry
from torchconsole.engine.text import printable
from torchconsole.tui.widgets.lines import elide, line_width
from torchconsole.tui.widgets.preset_preview import DATA_SYMBOLS

if TYPE_CHECKING:
    from textual.css.styles import RulesMap

    from torchconsole.engine.config.data_location import DataPlace

UNGROUPED = "Your own"
"""Whatever ships names its group."""

SHORTEST_NAME = 6
NO_MARK = (" ", "")
MARK_WIDTH = 2


class PresetList(OptionList):
    """Titles under their group's heading, the preset's name at the right as far as there is room."""

    BORDER_TITLE = " presets "

    def __init__(self, presets: Iterable[PresetEntry]) -> None:
        self._presets = list(presets)
        self._places: Mapping[str, DataPlace] = {}
        self._query = ""
        self._rows: list[PresetEntry | None] = []
        super().__init__(*self._lay_out())

    def on_mount(self) -> None:
        """The first preset is highlighted."""
        self._highlight("")

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
        self._refill()

    def search(self, query: str) -> None:
        """List only the presets that have every word of `query` in what is known of them."""
        self._query = query
        self._refill()

    def watch_highlighted(self, highlighted: int | None) -> None:
        """Show the heading above the first preset too."""
        super().watch_highlighted(highlighted)
        if highlighted == 1:
            self.scroll_home(animate=False)

    def _lay_out(self) -> list[Option]:
        found = [preset for preset in self._presets if matches(preset, self._query)]
        options = []
        self._rows = []
        for group, members in groupby(sorted(found, key=_place_in_list), key=lambda preset: preset.group):
            self._rows.append(None)
            options.append(_heading(printable(group) or UNGROUPED))
            for preset in members:
                self._rows.append(preset)
                options.append(Option(PresetLine(preset, self._places.get(preset.name))))
        return options or [_heading("no preset has all these words")]

    def _refill(self) -> None:
        before = self.chosen.name if self.chosen else ""
        with self.app.batch_update():
            self.set_options(self._lay_out())
            self._highlight(before)

    def _highlight(self, name: str) -> None:
        """Highlight the preset of this name, the first one where there is none of that name."""
        names = [preset.name if preset else "" for preset in self._rows]
        if names:
            self.highlighted = names.index(name) if name and name in names else 1


class PresetLine(Visual):
    """A preset on a line: whether its data is here, its title, and its name as far as there is room."""

    def __init__(self, preset: PresetEntry, place: DataPlace | None) -> None:
        self._preset = preset
        self._mark = DATA_SYMBOLS.get(place.state, NO_MARK) if place else NO_MARK

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """Textual's call for the line in `width` cells."""
        preset = self._preset
        title, name = preset_line(printable(preset.title), printable(preset.name), width - MARK_WIDTH)
        title_style = "$text-error" if preset.problem else ""
        content = Content.assemble(self._mark, " ", (title, title_style), (name, "dim"))
        return content.render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """It takes what there is."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """One line."""
        return 1


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
