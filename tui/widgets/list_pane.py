"""A framed list of which one row is highlighted: keys, mouse, scrolling. Draws only the visible rows."""

from __future__ import annotations

from dataclasses import dataclass

from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.message import Message

from torchconsole.tui.keys import LISTS, bindings
from torchconsole.tui.widgets.frames import FramedLines, crop, framed, inner_size
from torchconsole.tui.widgets.lines import Line, line_width

WHEEL_ROWS = 3


class ListPane(FramedLines, can_focus=True):
    """Subclasses say how many rows there are and draw one; the first lines may be a heading that stays.

    A click highlights a row; a double click chooses it.
    """

    BINDINGS = bindings(LISTS)

    @dataclass
    class Highlighted(Message):
        """Another row is highlighted, or the same row shows something else now."""

        pane: ListPane

        @property
        def control(self) -> ListPane:
            """The pane, for selectors."""
            return self.pane

    @dataclass
    class Chosen(Message):
        """The user has chosen the highlighted row."""

        pane: ListPane

        @property
        def control(self) -> ListPane:
            """The pane, for selectors."""
            return self.pane

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.highlighted = 0
        self._offset = 0
        self._page = 1

    def count(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def can_highlight(self, row: int) -> bool:
        """Whether a row is an entry, and not a heading between entries."""
        return True

    def row(self, row: int, width: int) -> Line:
        """Return a row, `width` cells wide, without its highlight."""
        raise NotImplementedError

    def heading(self, width: int) -> list[Line]:
        """Return the lines that stay above the rows."""
        return []

    def on_heading_click(self, x: int, width: int) -> None:
        """React to a click on the heading, at column `x` of `width`."""

    def title(self) -> Line:
        """Return the title."""
        return []

    def remark(self) -> Line:
        """Return what is at the right of the title."""
        return []

    def empty(self) -> str:
        """Return what is shown if there are no rows."""
        return ""

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame, the heading and the visible rows."""
        inner, rows = inner_size(width, height, boxed=self.boxed)
        if rows <= 0:
            return framed([], width, height, self.title(), self.remark(), has_focus=False, boxed=False)
        heading = self.heading(inner) if self.count() else []
        self._page = max(1, rows - len(heading))
        self._show_highlighted()
        body = [*heading, *(self._drawn(row, inner) for row in self._visible())]
        if not self.count():
            body = [crop([(self.empty(), "faint")], inner)]
        return framed(
            body, width, height, self.title(), self.remark(), has_focus=self.has_focus, boxed=self.boxed
        )

    def highlight(self, row: int) -> None:
        """Highlight a row, or the nearest that can be highlighted."""
        last = self.count() - 1
        row = max(0, min(row, last))
        forward = row >= self.highlighted
        for step in (1, -1) if forward else (-1, 1):
            found = row
            while 0 <= found <= last and not self.can_highlight(found):
                found += step
            if 0 <= found <= last:
                break
        else:
            found = row
        self.highlighted = max(0, found)
        if self._offset_follows():
            self._offset = 0
        self.redraw()
        self.post_message(self.Highlighted(self))

    def step(self, rows: int) -> None:
        """Move the highlight by some rows."""
        if self.count():
            self.highlight(self.highlighted + rows)

    def text_to_copy(self) -> str:
        """Return the text of the highlighted row."""
        row = self.row(self.highlighted, self.size.width) if self.count() else []
        return "".join(text for text, _ in row).strip()

    def action_list_down(self) -> None:
        """Move the highlight down."""
        self.step(1)

    def action_list_up(self) -> None:
        """Move the highlight up."""
        self.step(-1)

    def action_list_first(self) -> None:
        """Highlight the first row."""
        self.highlight(0)

    def action_list_last(self) -> None:
        """Highlight the last row."""
        self.highlight(self.count() - 1)

    def action_list_half_down(self) -> None:
        """Move the highlight down by half a page."""
        self.step(max(1, self._page // 2))

    def action_list_half_up(self) -> None:
        """Move the highlight up by half a page."""
        self.step(-max(1, self._page // 2))

    def action_page_down(self) -> None:
        """Move the highlight down by a page."""
        self.step(self._page)

    def action_page_up(self) -> None:
        """Move the highlight up by a page."""
        self.step(-self._page)

    def on_click(self, event: Click) -> None:
        """Highlight the row under the pointer; a double click chooses it."""
        line = event.y - 1
        inner, _ = inner_size(self.size.width, self.size.height, boxed=self.boxed)
        heading = len(self.heading(inner)) if self.count() else 0
        if 0 <= line < heading:
            self.on_heading_click(event.x - (1 if self.boxed else 0), inner)
            return
        row = self._offset + line - heading
        is_row = heading <= line < heading + self._page and row < self.count()
        if is_row and self.can_highlight(row):
            self.highlight(row)
            if event.chain == 2:
                self.post_message(self.Chosen(self))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Move the highlight down."""
        event.stop()
        self.step(WHEEL_ROWS)

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Move the highlight up."""
        event.stop()
        self.step(-WHEEL_ROWS)

    def on_focus(self) -> None:
        """Draw the frame of the focus."""
        self.redraw()

    def on_blur(self) -> None:
        """Draw the frame without the focus."""
        self.redraw()

    def _visible(self) -> range:
        return range(self._offset, min(self.count(), self._offset + self._page))

    def _show_highlighted(self) -> None:
        """Scroll so that the highlighted row is visible."""
        self._offset = min(self._offset, self.highlighted)
        self._offset = max(self._offset, self.highlighted - self._page + 1)
        self._offset = max(0, min(self._offset, self.count() - self._page))

    def _offset_follows(self) -> bool:
        """Whether all rows above the highlighted one are headings, which then are shown too."""
        return not any(map(self.can_highlight, range(self.highlighted)))

    def _drawn(self, row: int, width: int) -> Line:
        """Return a row with its highlight, and an arrow at its end where more rows follow or precede."""
        line = self.row(row, width)
        visible = self._visible()
        more = ""
        if row == visible[-1] and visible[-1] + 1 < self.count():
            more = "▼"
        elif row == visible[0] and visible[0] > 0:
            more = "▲"
        if more:
            line = crop(line, width - 1)
            line = [*line, (" " * (width - 1 - line_width(line)), "text"), (more, "faint")]
        if row != self.highlighted:
            return line
        line = [*line, (" " * max(0, width - line_width(line)), "text")]
        first, *rest = line
        edge = [("▌", "train" if self.has_focus else "muted"), (first[0][1:], first[1])]
        return [(text, on_select(tone)) for text, tone in (*edge, *rest)]


def on_select(tone: str) -> str:
    """Return the tone of a span in the highlighted row, whose text is bold."""
    if " on " in tone:
        return tone
    return "bold strong on select" if tone in ("text", "strong") else f"{tone} on select"
