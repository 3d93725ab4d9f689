"""An app with the user's settings: themes, keys, and signs in ASCII where the terminal needs them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from textual.app import App
from textual.dom import DOMNode
from textual.filter import ANSIToTruecolor, LineFilter, Monochrome, NoColor
from textual.signal import Signal
from textual.theme import BUILTIN_THEMES, Theme

from torchconsole.engine.config.user_config import user_config_file
from torchconsole.engine.errors import UserConfigError
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import cannot_write
from torchconsole.tui.line_filters import AsciiFilter, ReverseFilter
from torchconsole.tui.signs import ascii_encoding
from torchconsole.tui.terminal_background import Answer
from torchconsole.tui.theme import ANSI_THEME, DARK_THEME, LIGHT_THEME, depth_of, look_of, themes
from torchconsole.tui.user_config import AUTO, SETTINGS, UserConfig, load_config, save_settings
from torchconsole.tui.user_keys import key_named

Result = TypeVar("Result")

_COLORLESS, _REVERSE = ReverseFilter(has_color=False), ReverseFilter(has_color=True)


def config_of(app: App[Any]) -> UserConfig:
    """Return the user's settings in this app."""
    return app.config if isinstance(app, ThemedApp) else UserConfig()


def remember(app: App[Any], name: str, value: object) -> None:
    """Change a setting, by its field in UserConfig, and keep it for the next time."""
    if isinstance(app, ThemedApp):
        app.remember(name, value)


def on_setting_changed(node: DOMNode, *names: str, call: Callable[[], object]) -> None:
    """Call a function whenever one of these settings has changed, until the node is removed."""

    def react(name: str) -> None:
        if name in names:
            call()

    if isinstance(node.app, ThemedApp):
        node.app.setting_changed_signal.subscribe(node, react)


class ThemedApp(App[Result]):
    """Has our themes and, where there are enough colors for them, those of Textual."""

    CSS_PATH = Path(__file__).with_name("theme.tcss")

    def __init__(
        self, config: UserConfig | None = None, terminal: Answer | None = None, **options: Any
    ) -> None:
        """Use these settings, and remember changes of them; without any, use and keep the defaults.

        `terminal` is what the terminal says of itself.
        """
        super().__init__(**options)
        self.no_color = bool(os.environ.get("NO_COLOR"))  # an empty value means nothing, see no-color.org
        self.config = config or UserConfig()
        self._is_kept = self._remembers = config is not None
        self._unsaved: dict[str, object] = {}
        self._saving = asyncio.Lock()
        self._terminal = terminal or Answer()
        self._use_keys()
        self.setting_changed_signal: Signal[str] = Signal(self, "setting changed")
        """Published with the name of a setting that has changed."""
        self._set_signs()
        depth = depth_of(self)
        for own in themes(depth, dark=self.has_dark_background):
            self.register_theme(own)
        for name, offered in BUILTIN_THEMES.items():
            if offered.ansi or depth in ("16", "none"):
                self.unregister_theme(name)
        self.set_reactive(App.theme, self.theme_for(self.config.theme))
        self.stylesheet.set_variables(self.get_css_variables())

    def on_mount(self) -> None:
        """Report what is wrong in config.toml, and remember the theme that the user chooses."""
        self.theme_changed_signal.subscribe(self, self._on_theme_changed)
        if problems := self.config.problems:
            others, key = len(problems) - 1, key_named(self, "settings")
            more = f" ({others} more: {key} shows them)" if others else ""
            self.notify(printable(problems[0] + more), severity="warning", timeout=10, markup=False)

    def _set_signs(self) -> None:
        """Draw signs in Unicode or in ASCII, as the user wants it or the terminal needs it."""
        signs = self.config.signs
        encoding = None if signs == "unicode" else ascii_encoding()
        cells = self._terminal.sign_cells
        if encoding is None and (signs == "ascii" or (signs == AUTO and cells not in (None, 1))):
            encoding = "utf-8" if cells in (None, 1, 2) else "ascii"
        self.ascii_filter = AsciiFilter(encoding) if encoding else None

    @property
    def has_dark_background(self) -> bool | None:
        """Whether the terminal's own background is dark; None if it does not say."""
        return self._terminal.is_dark

    def theme_for(self, name: str) -> str:
        """Return the theme that this terminal can show for a name in config.toml: that one, or ours."""
        if name in self.available_themes:
            return name
        is_dark = BUILTIN_THEMES[name].dark if name in BUILTIN_THEMES else self.has_dark_background
        if is_dark is None and depth_of(self) == "16":  # its background is not painted
            return ANSI_THEME
        return LIGHT_THEME if is_dark is False else DARK_THEME

    def _on_theme_changed(self, theme: Theme) -> None:
        if theme.name != self.theme_for(self.config.theme):
            self.remember("theme", theme.name)

    def _use_keys(self) -> None:
        self.user_keys = self.config.keys
        self.set_keymap({name: ",".join(keys) for name, keys in self.user_keys.items()})

    def read_settings(self) -> None:
        """Use what config.toml says now: the user may have edited it."""
        if not self._is_kept or self._unsaved:
            return
        found = load_config(self.config)
        self.config.problems = found.problems
        self._remembers = True
        if found.keys != self.config.keys:
            self.config.keys = found.keys
            self._use_keys()
        for name in SETTINGS:
            self._change(name, getattr(found, name))

    def remember(self, name: str, value: object) -> None:
        """Change a setting, by its field in UserConfig, and write it into config.toml."""
        if self._change(name, value) and self._remembers:
            self._unsaved[name] = value
            self.run_worker(self._save(), group="settings")

    def _change(self, name: str, value: object) -> bool:
        """Change a setting and what depends on it. Return whether it had another value."""
        if getattr(self.config, name) == value:
            return False
        setattr(self.config, name, value)
        if name == "theme":
            self.theme = self.theme_for(self.config.theme)
        elif name == "signs":
            self._set_signs()
            self.refresh_css(animate=False)
        self.setting_changed_signal.publish(name)
        return True

    async def _save(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self.write_settings)

    def write_settings(self) -> None:
        """Write what has changed since the last time. After a failure warn once, and write no more."""
        unsaved, self._unsaved = self._unsaved, {}
        if not (unsaved and self._remembers):
            return
        try:
            save_settings(unsaved)
        except UserConfigError as error:
            self._give_up(f"settings are not remembered: {error}")
        except OSError as error:
            self._give_up(cannot_write(user_config_file(), error, "settings are not remembered"))

    def _give_up(self, reason: str) -> None:
        self._remembers = False
        self.call_later(partial(self.notify, printable(reason), severity="warning", markup=False))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return the variables that Textual's themes lack (called by Textual)."""
        return look_of(self).variables()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return the filters of all lines (called by Textual).

        Textual paints greys despite NO_COLOR, and keeps the first theme's filter until the theme changes.
        """
        filters = [one for one in super().get_line_filters() if not isinstance(one, Monochrome | NoColor)]
        if self.native_ansi_color:
            filters = [one for one in filters if not isinstance(one, ANSIToTruecolor)]
            filters.append(_COLORLESS if depth_of(self) == "none" else _REVERSE)
        own = getattr(self, "ascii_filter", None)
        return [*filters, own] if own else filters
