"""A scrolling pane of colored lines under an optional fixed heading; only visible lines are rendered."""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from torchconsole.tui.widgets.lines import TONE_CLASSES, CachedRender, Line, Palette


class ScrolledLines(ScrollView, CachedRender, can_focus=True):
    """Subclasses implement `source()`, `body(width)` and, if they have one, `heading(width)`.

    With FOLLOWS_END the pane stays at its end, in any size, until the user scrolls up.
    """

    COMPONENT_CLASSES = TONE_CLASSES
    FOLLOWS_END = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._palette = Palette(self)
        self._laid_out_for: tuple[object, int] = (self, 0)
        self._end = 0
        self._heading: list[Line] = []
        self._body: list[Line] = []

    def source(self) -> object:
        """Return the object that the lines are made from; another object means another layout."""
        raise NotImplementedError

    def heading(self, width: int) -> list[Line]:
        """Return the lines that stay at the top; none by default."""
        return []

    def body(self, width: int) -> list[Line]:
        """Return the lines that scroll."""
        raise NotImplementedError

    def extent(self, width: int) -> int:
        """Return the columns of the longest line, for a pane that scrolls sideways; `width` by default."""
        return width

    def paint(self, line: Line, width: int) -> Strip:
        """Render the visible part of a line."""
        return self._palette.strip(line, width)

    def redraw(self) -> None:
        """Lay the lines out again if their source or the width has changed."""
        width = self._text_width
        if width < 1:
            return
        at_end = self.scroll_offset.y >= min(self._end, self.max_scroll_y)
        source, previous_width = self._laid_out_for
        if source is not self.source() or previous_width != width:
            self._lay_out(width)
        self._end = self.max_scroll_y
        if at_end and self.FOLLOWS_END and self.scroll_offset.y != self._end:
            self.scroll_to(y=self._end, animate=False, force=True)

    @property
    def _text_width(self) -> int:
        """All columns but one, so that the scrollbar does not touch the text."""
        return self.scrollable_content_region.width - 1

    def _lay_out(self, width: int) -> None:
        self._laid_out_for = (self.source(), width)
        self._heading, self._body = self.heading(width), self.body(width)
        self.virtual_size = Size(self.extent(width), len(self._heading) + len(self._body))
        self.refresh(Region(0, 0, self.size.width, self.size.height))

    def on_resize(self) -> None:
        """The lines depend on the width, the visible ones on the height."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """Return one visible line (called by Textual)."""
        width = self.scrollable_content_region.width
        if y < len(self._heading):
            return self.paint(self._heading[y], width)
        row = y - len(self._heading) + self.scroll_offset.y
        return self.paint(self._body[row] if row < len(self._body) else [], width)

    def notify_style_update(self) -> None:
        """Use the new styles (called by Textual when a style may have changed)."""
        self._palette.clear()
        super().notify_style_update()
