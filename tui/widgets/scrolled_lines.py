"""A scrolling pane of colored lines under an optional fixed heading; only visible lines are rendered."""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from torchconsole.tui.keys import LISTS, bindings
from torchconsole.tui.widgets.lines import CachedRender, Line, Palette


class ScrolledLines(ScrollView, CachedRender, can_focus=True):
    """Subclasses implement `source()`, `body(width)` and, if they have one, `heading(width)`.

    With FOLLOWS_END the pane stays at its end, in any size, until the user scrolls up.
    """

    BINDINGS = bindings(LISTS)
    FOLLOWS_END = False

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._palette = Palette(self)
        self._laid_out_for: tuple[object, int] = (self, 0)
        self._end = 0
        self._heading: list[Line] = []
        self._body: list[Line] = []

    def source(self) -> object:
        """Return the object that the lines are made from; another object means another layout.

        Of a tuple it is the parts that count.
        """
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

    @property
    def follows(self) -> bool:
        """Whether the pane stays at its end, if it is there."""
        return self.FOLLOWS_END

    def redraw(self) -> None:
        """Lay the lines out again if their source or the width has changed."""
        width = self._text_width
        if width < 1:
            return
        at_end = self.scroll_offset.y >= min(self._end, self.max_scroll_y)
        source, previous_width = self._laid_out_for
        if not _is_same(source, self.source()) or previous_width != width:
            self._lay_out(width)
        self._end = self.max_scroll_y
        if at_end and self.follows and self.scroll_offset.y != self._end:
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

    def text_to_copy(self) -> str:
        """Return the text of the lines that are shown."""
        first = self.scroll_offset.y
        shown = self._body[first : first + max(0, self.size.height - len(self._heading))]
        return "\n".join("".join(text for text, _ in line).rstrip() for line in shown).strip("\n")

    action_list_down = ScrollView.action_scroll_down
    action_list_up = ScrollView.action_scroll_up
    action_list_first = ScrollView.action_scroll_home
    action_list_last = ScrollView.action_scroll_end

    def action_list_half_down(self) -> None:
        """Scroll down by half of what is shown."""
        self.scroll_relative(y=max(1, self.size.height // 2), animate=False)

    def action_list_half_up(self) -> None:
        """Scroll up by half of what is shown."""
        self.scroll_relative(y=-max(1, self.size.height // 2), animate=False)

    def notify_style_update(self) -> None:
        """Use the new styles (called by Textual when a style may have changed)."""
        self._palette.clear()
        super().notify_style_update()


def _is_same(before: object, now: object) -> bool:
    return before is now or (isinstance(before, tuple) and isinstance(now, tuple) and before == now)
