"""The settings of the console, which are changed at once and kept in config.toml."""

from __future__ import annotations

from typing import cast

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from torchconsole.engine.config.user_config import user_config_file
from torchconsole.engine.text import printable
from torchconsole.tui.keys import EVERYWHERE, SETTINGS_KEYS, actions_of, bindings
from torchconsole.tui.keys import SETTINGS as SETTINGS_SECTION
from torchconsole.tui.screens.dialogs import TextScreen
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.table import shorten
from torchconsole.tui.theme import OWN_THEMES
from torchconsole.tui.themed_app import ThemedApp
from torchconsole.tui.user_config import AUTO, SETTINGS, Setting
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.lines import Line, line_width
from torchconsole.tui.widgets.list_pane import ListPane
from torchconsole.tui.widgets.preset_preview import short_path

_NAME_CELLS, _VALUE_CELLS = 20, 20
_NAMES = {"notify_terminal": "notifications", "pane": "open pane", "run_columns": "columns of runs"}
_OFF_AND_ON = {False: "off", True: "on"}


class SettingList(ListPane):
    """`theme   auto   what it means`: one setting a line; one that differs from its default is bright."""

    @property
    def setting(self) -> Setting:
        """The highlighted setting."""
        return list(SETTINGS.values())[self.highlighted]

    @property
    def console(self) -> ThemedApp[object]:
        """The app, whose settings these are."""
        return cast("ThemedApp[object]", self.app)

    def count(self) -> int:
        """Return the number of settings."""
        return len(SETTINGS)

    def title(self) -> Line:
        """Return the title."""
        return [("settings", "bold strong")]

    def remark(self) -> Line:
        """Return the path of the file."""
        return [(printable(short_path(user_config_file())), "faint")]

    def row(self, row: int, width: int) -> Line:
        """Return the name, the value and the meaning of a setting."""
        setting = list(SETTINGS.values())[row]
        value = getattr(self.console.config, setting.name)
        name = _NAMES.get(setting.name, setting.name.replace("_", " "))
        room = max(4, min(_VALUE_CELLS, width - _NAME_CELLS - 2))
        line: Line = [
            (f" {name:<{_NAME_CELLS}}", "muted"),
            (
                f"{shorten(printable(shown_value(value)), room - 2):<{room}}",
                "text" if value == setting.default else "bold strong",
            ),
        ]
        return [*line, (shorten(setting.meaning, max(0, width - line_width(line) - 1)), "faint")]

    def values(self, setting: Setting) -> list[object]:
        """Return what a setting can be; empty if it is a list of names that is typed."""
        if setting.name == "theme":
            offered = self.console.available_themes
            return [AUTO, *OWN_THEMES, *(name for name in offered if name not in OWN_THEMES)]
        if isinstance(setting.default, bool):
            return [True, False]
        return [] if isinstance(setting.default, list) else list(setting.choices)


class SettingsScreen(KeyedScreen):
    """A list in which every change is shown and kept at once."""

    SECTIONS = SETTINGS_KEYS
    BINDINGS = bindings(SETTINGS_SECTION, EVERYWHERE)

    def compose(self) -> ComposeResult:
        """Lay out the list and the keys."""
        cast("ThemedApp[object]", self.app).read_settings()
        yield SettingList()
        if problems := self._list_of_problems():
            yield VerticalScroll(Static(problems, markup=False), id="problems", can_focus=False)
        actions = [action for action in actions_of(*SETTINGS_KEYS) if action.config_name != "next"]
        yield ActionBar(actions, [("keys: [keys] in the same file", "faint")], {"leave": "back"})

    def _list_of_problems(self) -> str:
        """Return what is wrong in config.toml, without its path; the console uses the rest."""
        config = cast("ThemedApp[object]", self.app).config
        problems = (each.removeprefix(f"{user_config_file()}: ") for each in config.problems)
        return "\n".join(printable(f"! {problem}") for problem in problems)

    def on_mount(self) -> None:
        """Give the focus to the list."""
        self._list.focus()

    def on_resize(self, event: Resize) -> None:
        """Draw the whole frame where there is room for it."""
        self._list.boxed = event.size.width >= 100 and event.size.height >= 30
        self._list.redraw()

    @on(SettingList.Chosen)
    def choose(self) -> None:
        """Change the setting on a double click."""
        self.action_change(1)

    def action_change(self, step: int) -> None:
        """Give the highlighted setting its next or previous value, or ask for one."""
        setting = self._list.setting
        values = self._list.values(setting)
        if not values:
            self._ask(setting)
            return
        value = getattr(self._list.console.config, setting.name)
        position = values.index(value) if value in values else -1
        self._set(setting, values[(position + step) % len(values)])

    def action_reset(self) -> None:
        """Give the highlighted setting its default."""
        self._set(self._list.setting, self._list.setting.default)

    def action_next(self) -> None:
        """There is only one list."""

    def action_leave(self) -> None:
        """Go back."""
        self.app.pop_screen()

    @property
    def _list(self) -> SettingList:
        return self.query_one(SettingList)

    def _set(self, setting: Setting, value: object) -> None:
        self._list.console.remember(setting.name, value)
        self._list.redraw()

    def _ask(self, setting: Setting) -> None:
        """Ask for a list of names."""

        def on_answer(text: str | None) -> None:
            try:
                if text is not None:
                    self._set(setting, setting.check(text.split()))
            except ValueError as error:
                self.notify(printable(f"{error}"), title=setting.key, severity="error", markup=False)

        names = " ".join(getattr(self._list.console.config, setting.name))
        example = " ".join(map(str, setting.choices)) or "names, separated by blanks"
        self.app.push_screen(TextScreen(setting.meaning, names, example), on_answer)


def shown_value(value: object) -> str:
    """Return a value as a word: `on`, `off`, `0.99`, or names with blanks between them."""
    if isinstance(value, bool):
        return _OFF_AND_ON[value]
    if isinstance(value, list):
        return " ".join(value) or AUTO
    return "off" if value == 0.0 else str(value)
