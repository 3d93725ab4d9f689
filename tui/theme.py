"""Themes: what a tone looks like in a theme and in as many colors as the terminal has.

A tone is the name of a color (`muted`), or two of them (`train on band`, `ink on good`), and may begin with
`bold `. No other module names a color; theme.tcss uses the variables `$tone-NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from torchconsole.tui.derived_palette import derived_colors
from torchconsole.tui.palette import DARK, LIGHT, ON_EITHER, Shade, indexed_hex

if TYPE_CHECKING:
    from textual.app import App

Depth = Literal["truecolor", "256", "16", "none"]

DARK_THEME, LIGHT_THEME, ANSI_THEME = "torchconsole-dark", "torchconsole-light", "ansi"
OWN_THEMES = (DARK_THEME, LIGHT_THEME, ANSI_THEME)

_TERMINAL_OWN = "ansi_default"
_ANSI_NAMES = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")

REVERSE = 7
"""The ANSI color that, as a background, stands for reverse; see `tui/line_filters.py`."""

_SURFACES = ("bg", "surface", "raised", "future", "band", "gridband", "meterdim")
"""Backgrounds that are left out where they cannot be painted. Others are shown as reverse."""

_GREYS = ("grid", "gridband", "rule", "faint", "muted", "meterdim", "meterhist")
_DIM = frozenset((*_GREYS, "banddot", "valdim", "steerdim", "gooddim"))
_BOLD = frozenset(("strong", "attn", "bad"))
"""Without color, or on an unknown background, these are dim or bold; the others are plain."""


class Look:
    """The colors of a theme in a terminal of some depth. `colors`: name -> CSS color.

    `dark` is None for 16 colors on a background of which nobody knows whether it is dark.
    """

    def __init__(self, colors: Mapping[str, str], depth: Depth, *, dark: bool | None) -> None:
        self.colors = colors
        self.depth = depth
        self.dark = dark
        self._styles: dict[str, Style] = {}

    @property
    def paints_backgrounds(self) -> bool:
        """Whether tinted backgrounds (bands, heat maps, shades) can be shown."""
        return self.depth in ("truecolor", "256")

    def style(self, tone: str) -> Style:
        """Return the style of a tone. A tone without `on` has no background. Raises KeyError."""
        if tone not in self._styles:
            self._styles[tone] = self._build(tone)
        return self._styles[tone]

    def variables(self) -> dict[str, str]:
        """Return the variables of the style sheet: the colors, and what depends on the depth."""
        dim = "dim" if self.depth == "none" or self.dark is None else "none"
        colors = {f"tone-{name}": color for name, color in self.colors.items()}
        shade = f"{self.colors['bg']} 60%" if self.paints_backgrounds else "transparent"
        return {**colors, "shade": shade, "muted-style": dim}

    def _build(self, tone: str) -> Style:
        is_bold = tone.startswith("bold ")
        foreground, _, background = tone.removeprefix("bold ").partition(" on ")
        style = Style(bold=True) if is_bold else Style()
        if self.depth == "none":
            return style + self._colorless(foreground, background)
        if background == "select" and not self.paints_backgrounds:
            return style + Style(reverse=True)
        if self.dark is None:
            return style + self._on_either(foreground, background)
        color = self._rich(foreground)
        if not background or (background in _SURFACES and not self.paints_backgrounds):
            return style + Style(color=color)
        return style + Style(color=color, bgcolor=self._rich(background))

    def _colorless(self, foreground: str, background: str) -> Style:
        for name in (foreground, background or foreground):
            self._rich(name)
        if background and background not in _SURFACES and not background.startswith(("heat", "err")):
            return Style(reverse=True)
        return Style(dim=foreground in _DIM or None, bold=foreground in _BOLD or None)

    def _on_either(self, foreground: str, background: str) -> Style:
        """A painted background is reverse, so that its letters have the terminal's own background."""
        color = self._rich(foreground)
        if background and background not in _SURFACES:
            return Style(color=self._rich(background), reverse=True)
        return Style(color=color, dim=foreground in _DIM or None, bold=foreground in _BOLD or None)

    def _rich(self, name: str) -> RichColor:
        return Color.parse(self.colors[name]).rich_color


def depth_of(app: App[Any]) -> Depth:
    """Return how many colors the app's terminal has, from COLORTERM, TERM and NO_COLOR."""
    system = app.console.color_system
    if app.no_color or system is None:
        return "none"
    depths: dict[str, Depth] = {"truecolor": "truecolor", "256": "256"}
    return depths.get(system, "16")


def look_of(app: App[Any]) -> Look:
    """Return the look of an app's theme in its terminal."""
    theme, depth = app.current_theme, depth_of(app)
    if theme.name in (DARK_THEME, LIGHT_THEME):
        return own_look(theme.dark, depth)
    if theme.name == ANSI_THEME:
        return _ansi_look(getattr(app, "has_dark_background", None), depth)
    if theme.ansi or depth in ("16", "none"):
        return own_look(theme.dark, "none" if depth == "none" else "16")
    return _derived_look(theme.name, depth, app)


def paints(app: App[Any]) -> bool:
    """Whether an app's terminal shows all signs and tints; else ASCII characters stand for them."""
    return look_of(app).paints_backgrounds and getattr(app, "ascii_filter", None) is None


def themes(depth: Depth, *, dark: bool | None) -> list[Theme]:
    """Return our themes for a terminal of this depth. `dark` is its own background, None if unknown."""
    return [
        _theme(DARK_THEME, own_look(True, depth)),
        _theme(LIGHT_THEME, own_look(False, depth)),
        _theme(ANSI_THEME, _ansi_look(dark, depth)),
    ]


def _ansi_look(dark: bool | None, depth: Depth) -> Look:
    return own_look(dark is not False, "none") if depth == "none" else own_look(dark, "16")


@lru_cache
def own_look(dark: bool | None, depth: Depth) -> Look:
    """Return the look of our dark or light theme; for None one of 16 colors, readable on both backgrounds."""
    if dark is None:
        colors = {
            name: _TERMINAL_OWN if number is None else _ansi(number) for name, number in ON_EITHER.items()
        }
        return Look({**colors, "select": _ansi(REVERSE)}, depth, dark=None)
    colors = {name: _css(shade, depth) for name, shade in (DARK if dark else LIGHT).items()}
    if depth in ("16", "none"):
        colors["select"] = _ansi(REVERSE)
    return Look(colors, depth, dark=dark)


_derived: dict[tuple[str, Depth], Look] = {}


def _derived_look(name: str, depth: Depth, app: App[Any]) -> Look:
    """Return the look of one of Textual's themes."""
    if (name, depth) not in _derived:
        theme = app.current_theme
        _derived[name, depth] = Look(derived_colors(theme), depth, dark=theme.dark)
    return _derived[name, depth]


def _css(shade: Shade, depth: Depth) -> str:
    if depth == "truecolor":
        return shade.hex
    if depth == "256":
        return indexed_hex(shade.index)
    return _TERMINAL_OWN if depth == "none" or shade.ansi is None else _ansi(shade.ansi)


def _ansi(number: int) -> str:
    return f"ansi_{'bright_' if number > 7 else ''}{_ANSI_NAMES[number % 8]}"


def _theme(name: str, look: Look) -> Theme:
    """Return Textual's theme for a look of ours: its own widgets take their colors from it."""
    color = look.colors
    return Theme(
        name=name,
        dark=look.dark is not False,
        ansi=not look.paints_backgrounds,
        primary=color["train"],
        secondary=color["steer"],
        accent=color["train"],
        warning=color["attn"],
        error=color["bad"],
        success=color["good"],
        foreground=color["text"],
        background=color["bg"],
        surface=color["surface"],
        panel=color["raised"],
        boost=color["raised"],
        variables={
            "ansi-background": color["bg"],
            "ansi-foreground": color["text"],
            "text": color["text"],
            "text-muted": color["muted"],
            "text-disabled": color["faint"],
            "foreground-muted": color["muted"],
            "block-cursor-background": color["select"],
            "block-cursor-foreground": color["strong"],
            "block-cursor-text-style": "bold",
            "block-cursor-blurred-background": color["select"],
            "block-cursor-blurred-foreground": color["text"],
            "block-hover-background": color["raised"],
            "border": color["muted"],
            "border-blurred": color["rule"],
            "input-selection-background": color["select"],
            "input-cursor-background": color["text"] if look.paints_backgrounds else color["select"],
            "input-cursor-foreground": color["bg"],
            "input-cursor-text-style": "none",
            "scrollbar": color["rule"],
            "scrollbar-hover": color["muted"],
            "scrollbar-active": color["muted"],
            "scrollbar-background": color["bg"],
            "scrollbar-background-hover": color["bg"],
            "scrollbar-background-active": color["bg"],
            "scrollbar-corner-color": color["bg"],
        },
    )
