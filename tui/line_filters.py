"""Filters of every line that is drawn: signs in ASCII, and reverse where backgrounds cannot be painted."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from torchconsole.tui.signs import drawn_in_ascii, stand_in
from torchconsole.tui.theme import REVERSE

_DEFAULT = RichColor.default()
_REVERSED = Style(color=_DEFAULT, bgcolor=_DEFAULT, reverse=True)
_COLORLESS = Style(color=_DEFAULT, bgcolor=_DEFAULT)


class AsciiFilter(LineFilter):
    """Replaces the signs of the console, and what `encoding` lacks by a question mark for each cell."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding
        self._replaced = lru_cache(8192)(self._replace)

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace the text of segments (called by Textual)."""
        return [
            segment if segment.text.isascii() else Segment(self._replaced(segment.text), segment.style, None)
            for segment in segments
        ]

    def _replace(self, text: str) -> str:
        return "".join(char if char.isascii() else self._char(char) for char in text)

    def _char(self, char: str) -> str:
        if sign := stand_in(char):
            return sign
        try:
            char.encode(self._encoding)
        except (UnicodeError, LookupError):
            return drawn_in_ascii(char)
        return char


class ReverseFilter(LineFilter):
    """Reverses what is on the background REVERSE, since Textual drops `reverse` from most styles.

    Without `has_color`, all other colors become the terminal's own, and every other background is reversed.
    """

    def __init__(self, *, has_color: bool) -> None:
        super().__init__()
        self._filtered = lru_cache(1024)(self._reversed if has_color else self._colorless)

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace the styles of segments (called by Textual)."""
        return [Segment(text, style and self._filtered(style), control) for text, style, control in segments]

    def _reversed(self, style: Style) -> Style:
        is_marked = style.bgcolor is not None and style.bgcolor.number == REVERSE
        return style + _REVERSED if is_marked else style

    def _colorless(self, style: Style) -> Style:
        has_background = style.bgcolor is not None and not style.bgcolor.is_default
        return style + (_REVERSED if has_background else _COLORLESS)
