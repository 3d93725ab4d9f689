"""A scrolling pane of toned lines under an optional fixed heading; only visible lines are painted."""

from __future__ import annotations

import textwrap

from rich.cells import chop_cells
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from torchconsole.tui.widgets.cached_render import CachedRender
from torchconsole.tui.widgets.lines import TONE_CLASSES, Line, Palette


class ScrolledLines(ScrollView, CachedRender, can_focus=True):
    """Subclasses give `source()`, `body(width)`, and `heading(width)` where they have one.

    A pane that follows its end keeps doing so until it is scrolled up; it shows the end in any size.
    """

    COMPONENT_CLASSES = TONE_CLASSES
    FOLLOWS_END = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._palette = Palette(self)
        self._drawn: tuple[object, int] = (self, 0)
        self._end = 0
        self._heading: list[Line] = []
        self._body: list[Line] = []

    def source(self) -> object:
        """What the lines are made from; the pane is laid out anew when this is another object."""
        raise NotImplementedError

    def heading(self, width: int) -> list[Line]:
        """Lines that stay at the top; none unless a subclass says otherwise."""
        return []

    def body(self, width: int) -> list[Line]:
        """The lines that scroll."""
        raise NotImplementedError

    def extent(self, width: int) -> int:
        """Columns of the longest line, for a pane that scrolls sideways; by default no line has more."""
        return width

    def paint(self, line: Line, width: int) -> Strip:
        """What is seen of a line."""
        return self._palette.strip(line, width)

    def redraw(self) -> None:
        """Lay the lines out anew if their source or the width is another one than before."""
        width = self._text_width
        if width < 1:
            return
        at_end = self.scroll_offset.y >= min(self._end, self.max_scroll_y)
        source, drawn_width = self._drawn
        if source is not self.source() or drawn_width != width:
            self._lay_out(width)
        self._end = self.max_scroll_y
        if at_end and self.FOLLOWS_END and self.scroll_offset.y != self._end:
            self.scroll_to(y=self._end, animate=False, force=True)

    @property
    def _text_width(self) -> int:
        """All columns but one, so that the scrollbar does not touch the text."""
        return self.scrollable_content_region.width - 1

    def _lay_out(self, width: int) -> None:
        self._drawn = (self.source(), width)
        self._heading, self._body = self.heading(width), self.body(width)
        self.virtual_size = Size(self.extent(width), len(self._heading) + len(self._body))
        self.refresh(Region(0, 0, self.size.width, self.size.height))

    def on_resize(self) -> None:
        """The lines depend on the width, what is seen of them on the height."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        width = self.scrollable_content_region.width
        if y < len(self._heading):
            return self.paint(self._heading[y], width)
        row = y - len(self._heading) + self.scroll_offset.y
        return self.paint(self._body[row] if row < len(self._body) else [], width)

    def notify_style_update(self) -> None:
        """Textual's call when a style may have changed."""
        self._palette.forget()
        super().notify_style_update()


def wrap(text: str, width: int) -> list[str]:
    """Break `text` between words into pieces of at most `width` cells; an empty text is one empty piece."""
    room = max(1, width)
    pieces = textwrap.wrap(text, room, replace_whitespace=False) or [""]
    return [part for piece in pieces for part in (chop_cells(piece, room) or [""])]
