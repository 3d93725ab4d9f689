"""The menu's list of presets: grouped by task, searched, with a mark that shows where their data is."""

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
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import line_width
from torchconsole.tui.widgets.preset_preview import DATA_SYMBOLS

if TYPE_CHECKING:
    from textual.css.styles import RulesMap

    from torchconsole.engine.config.data_location import DataLocation

UNGROUPED = "Your own"
"""Heading for presets without a group. All presets that ship have one."""

MIN_NAME_WIDTH = 6
NO_MARK = (" ", "")
MARK_WIDTH = 2


class PresetList(OptionList):
    """Titles under the headings of their groups, with the names of the presets at the right."""

    BORDER_TITLE = " presets "

    def __init__(self, presets: Iterable[PresetEntry]) -> None:
        self._presets = list(presets)
        self._locations: Mapping[str, DataLocation] = {}
        self._query = ""
        self._rows: list[PresetEntry | None] = []
        super().__init__(*self._build_options())

    def on_mount(self) -> None:
        """Highlight the first preset."""
        self._highlight("")

    @property
    def highlighted_preset(self) -> PresetEntry | None:
        """The highlighted preset; None without one."""
        return None if self.highlighted is None else self._rows[self.highlighted]

    @property
    def highlighted_location(self) -> DataLocation | None:
        """Where the highlighted preset's data is; None while unknown."""
        return self._locations.get(self.highlighted_preset.name) if self.highlighted_preset else None

    def show(self, presets: Iterable[PresetEntry], locations: Mapping[str, DataLocation]) -> None:
        """List these presets. `locations` says by preset name where the data is."""
        self._presets, self._locations = list(presets), locations
        self._rebuild()

    def search(self, query: str) -> None:
        """List only the presets that match every word of `query`."""
        self._query = query
        self._rebuild()

    def watch_highlighted(self, highlighted: int | None) -> None:
        """Scroll to the heading above the first preset, too."""
        super().watch_highlighted(highlighted)
        if highlighted == 1:
            self.scroll_home(animate=False)

    def _build_options(self) -> list[Option]:
        found = [preset for preset in self._presets if matches(preset, self._query)]
        options = []
        self._rows = []
        for group, members in groupby(sorted(found, key=_sort_key), key=lambda preset: preset.group):
            self._rows.append(None)
            options.append(_heading(printable(group) or UNGROUPED))
            for preset in members:
                self._rows.append(preset)
                options.append(Option(PresetLine(preset, self._locations.get(preset.name))))
        return options or [_heading("no preset matches")]

    def _rebuild(self) -> None:
        name = self.highlighted_preset.name if self.highlighted_preset else ""
        with self.app.batch_update():
            self.set_options(self._build_options())
            self._highlight(name)

    def _highlight(self, name: str) -> None:
        """Highlight the preset with this name, or else the first one."""
        names = [preset.name if preset else "" for preset in self._rows]
        if names:
            self.highlighted = names.index(name) if name and name in names else 1


class PresetLine(Visual):
    """One line for a preset: the mark for its data, its title, and its name if there is room."""

    def __init__(self, preset: PresetEntry, location: DataLocation | None) -> None:
        self._preset = preset
        self._mark = DATA_SYMBOLS.get(location.state, NO_MARK) if location else NO_MARK

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """Return the line, `width` cells wide (called by Textual)."""
        preset = self._preset
        title, name = preset_line(printable(preset.title), printable(preset.name), width - MARK_WIDTH)
        title_style = "$text-error" if preset.problem else ""
        content = Content.assemble(self._mark, " ", (title, title_style), (name, "dim"))
        return content.render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """Return the whole width (called by Textual)."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """Return one line (called by Textual)."""
        return 1


def matches(preset: PresetEntry, query: str) -> bool:
    """Return whether the preset's name, title, description, group or needs have every word of the query."""
    searched = (preset.name, preset.title, preset.description, preset.group, preset.needs)
    text = "\n".join(searched).casefold()
    return all(word in text for word in query.casefold().split())


def preset_line(title: str, name: str, width: int) -> tuple[str, str]:
    """Fit title and name into `width` cells, at its two ends. The name is shortened first, or left out."""
    title = shorten(title, width)
    room = width - line_width([(title, "")]) - 1
    if room < min(MIN_NAME_WIDTH, line_width([(name, "")])):
        return title, ""
    name = shorten(name, room)
    return title, " " * (room + 1 - line_width([(name, "")])) + name


def _sort_key(preset: PresetEntry) -> tuple[bool, str, bool, str]:
    """Sort by group, and in each group the presets that run on any machine first."""
    return bool(preset.group), preset.group, not preset.bundled, preset.name


def _heading(text: str) -> Option:
    return Option(Content.styled(text, "bold dim"), disabled=True)
