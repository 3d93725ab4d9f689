"""Spares the line to a distant terminal what it shows already.

Textual draws a whole screen twice for each dialog that opens or ends: 30 kB in a terminal of 120x40.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip


class LineDiff:
    """Remembers the lines that whole screens have left in the terminal."""

    def __init__(self) -> None:
        self._region = Region()
        self._shown: dict[int, str] = {}

    def forget(self) -> None:
        """Something else has written to the terminal."""
        self._shown.clear()

    def news(self, update: RenderableType | None) -> RenderableType | None:
        """What is new to the terminal in an update: of a whole screen only the lines that differ."""
        if isinstance(update, LayoutUpdate):
            if update.region != self._region:
                self.forget()
            self._region = update.region
            return _ChangedLines(update, self._shown)
        if isinstance(update, ChopsUpdate):
            for y, _, _ in update.spans:
                self._shown.pop(y, None)
        return update


class _ChangedLines(LayoutUpdate):
    """The lines of a screen that are not in `shown`, and are once they are written."""

    def __init__(self, update: LayoutUpdate, shown: dict[int, str]) -> None:
        super().__init__(update.strips, update.region)
        self._shown = shown

    def render_segments(self, console: Console) -> str:
        """Textual's call: what is to be written to the terminal."""
        written = []
        for y, strips in enumerate(self.strips, self.region.y):
            line = Strip(map(_seen, Strip.join(list(strips)))).simplify().render(console)
            if self._shown.get(y) != line:
                self._shown[y] = line
                written.append(Control.move_to(self.region.x, y).segment.text + line)
        return "".join(written)


def _seen(segment: Segment) -> Segment:
    """What there is to see: of a blank its background alone, whatever the colour of letters there."""
    text, style, _ = segment
    if style is None or text.strip(" ") or style.reverse or style.underline or style.strike:
        return Segment(text, style and style.clear_meta_and_links())
    return Segment(text, Style(bgcolor=style.bgcolor))
