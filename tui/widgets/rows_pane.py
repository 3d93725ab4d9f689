"""A pane of entries below each other: one is highlighted, words are searched, and the newest is followed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from textual.events import Click
from textual.geometry import Region
from textual.strip import Strip

from torchconsole.tui.keys import PANE_LISTS, bindings
from torchconsole.tui.pane_search import Query, marked
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.frames import crop, rule
from torchconsole.tui.widgets.lines import Line, click_hint, line_width, wrap
from torchconsole.tui.widgets.list_pane import on_select
from torchconsole.tui.widgets.scrolled_lines import ScrolledLines

Row = TypeVar("Row")


class RowsPane(ScrolledLines, Generic[Row]):
    """Subclasses say what the rows are, how one is drawn, and which text of it is searched.

    The highlight is shown while the pane has the focus. The pane follows its last row if FOLLOWS_END, until
    the highlight is moved or the view is scrolled.
    """

    BINDINGS = bindings(PANE_LISTS)
    FILTERS: Sequence[str] = ()
    FILTER_EXAMPLES: Sequence[str] = ()
    """Names that a search may use as `name:value`."""

    def __init__(self, state: ConsoleState, id: str) -> None:
        super().__init__(id=id)
        self._state = state
        self.query_text = ""
        self.highlighted = 0
        self._query = Query()
        self._rows: list[Row] = []
        self._starts: list[int] = []
        self._framed: tuple[Hashable, ...] = ()

    # What a subclass says.

    def rows(self) -> Sequence[Row]:
        """Return all rows."""
        raise NotImplementedError

    def row_lines(self, row: Row, width: int) -> list[Line]:
        """Return the lines of a row, at least one."""
        raise NotImplementedError

    def text_of(self, row: Row) -> str:
        """Return what is searched in a row, and copied."""
        raise NotImplementedError

    def passes(self, row: Row, name: str, value: str) -> bool:
        """Whether a row passes the filter `name:value`."""
        return True

    def title(self) -> Line:
        """Return the title in the frame."""
        raise NotImplementedError

    def remark(self) -> Line:
        """Return what is at the right of the title."""
        return []

    def empty(self) -> str:
        """Return what is shown without rows."""
        return ""

    # How it is laid out.

    def body(self, width: int) -> list[Line]:
        """Return the lines of the rows that pass the filters."""
        last = self._row_at(self.highlighted)
        keeps_newest = self.keeps_newest
        filters = self._query.filters
        self._rows = [
            row for row in self.rows() if all(self.passes(row, name, value) for name, value in filters)
        ]
        self._starts, lines = [], list[Line]()
        for row in self._rows:
            self._starts.append(len(lines))
            lines += self.row_lines(row, width)
        self._restore_highlight(last, keeps_newest=keeps_newest)
        if not self._rows:
            lines = [[(piece, "faint")] for piece in wrap(self.why_empty(), width)]
        return lines

    def why_empty(self) -> str:
        """Return what is shown without rows, or without any that match."""
        is_filtered = self._query.filters and self.rows()
        return f"nothing matches {self.query_text}" if is_filtered else self.empty()

    def _restore_highlight(self, row: Row | None, *, keeps_newest: bool) -> None:
        count = len(self._rows)
        if row is not None and not keeps_newest:
            same = (index for index, other in enumerate(self._rows) if other is row or other == row)
            self.highlighted = next(same, self.highlighted)
        elif keeps_newest:
            self.highlighted = self.newest
        self.highlighted = max(0, min(self.highlighted, count - 1))

    def _row_at(self, index: int) -> Row | None:
        return self._rows[index] if 0 <= index < len(self._rows) else None

    @property
    def highlighted_row(self) -> Row | None:
        """The highlighted row; None without rows."""
        return self._row_at(self.highlighted)

    def redraw(self) -> None:
        """Lay out and draw what has changed, and the frame."""
        super().redraw()
        title = tuple(self.title()), tuple(self.remark()), self.query_text, self.has_focus
        if title != self._framed:
            self._framed = title
            self.refresh()

    @property
    def follows(self) -> bool:
        """Whether the pane shows new rows as they come."""
        return self.FOLLOWS_END and self.highlighted >= len(self._rows) - 1

    @property
    def keeps_newest(self) -> bool:
        """Whether the newest row is highlighted, and stays so."""
        return self.follows

    @property
    def newest(self) -> int:
        """The place of the newest row."""
        return len(self._rows) - 1

    def paint_body(self, index: int, line: Line, width: int) -> Line:
        """Return a line as it is drawn: with what was searched, and the highlight."""
        if self._query.words:
            line = marked(line, self._query.words)
        if not (self.has_focus and self._starts and self._is_highlighted(index)):
            return line
        filled = [*line, (" " * max(0, width - line_width(line)), "text")]
        return [(text, on_select(tone)) for text, tone in filled]

    def _is_highlighted(self, index: int) -> bool:
        first = self._starts[self.highlighted]
        after = self.highlighted + 1
        end = self._starts[after] if after < len(self._starts) else len(self._body)
        return first <= index < end

    def render_line(self, y: int) -> Strip:
        """Return one visible line (called by Textual)."""
        width = self.scrollable_content_region.width
        if y < len(self._heading):
            return self.paint(self._heading[y], width)
        row = y - len(self._heading) + self.scroll_offset.y
        if row >= len(self._body):
            return self.paint([], width)
        return self.paint(self.paint_body(row, self._body[row], width), width)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines inside `crop`, with our own title in the upper edge (called by Textual)."""
        strips = super().render_lines(crop)
        width = self.outer_size.width
        if crop.y == 0 and strips and self.styles.border_top[0] and width > 4:
            strip = self._palette.strip(self._edge(width), width)
            return [strip.crop(crop.x, crop.right), *strips[1:]]
        return strips

    def _edge(self, width: int) -> Line:
        edges = "╭╮" if self.styles.border_left[0] else "──"
        title = crop(self.title(), max(0, width - 6))
        remark = self._search_remark() or self.remark()
        return rule(width, title, remark, edges, "muted" if self.has_focus else "rule")

    def _search_remark(self) -> Line:
        if not self.query_text:
            return []
        words: Line = [("/", "faint"), (self.query_text, "attn")]
        if not self._query.words:
            return [*words, (f"  {len(self._rows):,} shown", "faint")]
        found = self._matches()
        at = f"{found.index(self.highlighted) + 1} of " if self.highlighted in found else ""
        keys = f"{key_named(self.app, 'next_match')} {key_named(self.app, 'previous_match')}"
        return [*words, (f"  {at}{len(found):,}  ", "faint"), (keys, "muted")]

    # What the keys do.

    def search(self, text: str) -> None:
        """Filter and mark what `text` asks for, and go to the next match; an empty text ends the search."""
        self.query_text, self._query = text, Query.of(text, self.FILTERS)
        self._laid_out_for = (self, 0)
        self.redraw()
        if self._query.words and self._matches():
            self._go_to_match(forward=True, here=True)

    def action_search(self) -> None:
        """Ask what to search."""
        from torchconsole.tui.screens.pane_search import PaneSearchScreen

        self.app.push_screen(PaneSearchScreen(self))

    def action_next_match(self) -> None:
        """Go to the next row that matches."""
        self._go_to_match(forward=True)

    def action_previous_match(self) -> None:
        """Go to the row before that matches."""
        self._go_to_match(forward=False)

    def _matches(self) -> list[int]:
        words = self._query.words
        return [index for index, row in enumerate(self._rows) if words in self.text_of(row).casefold()]

    def _go_to_match(self, *, forward: bool, here: bool = False) -> None:
        found = self._matches() if self._query.words else []
        if not found:
            return
        if forward:
            after = [index for index in found if index > self.highlighted - here]
            self.highlight(after[0] if after else found[0])
        else:
            before = [index for index in found if index < self.highlighted]
            self.highlight(before[-1] if before else found[-1])

    def highlight(self, index: int) -> None:
        """Highlight a row and scroll it into view."""
        if not self._rows:
            return
        self.highlighted = max(0, min(index, len(self._rows) - 1))
        first = self._starts[self.highlighted]
        after = self.highlighted + 1
        end = self._starts[after] if after < len(self._starts) else len(self._body)
        shown = max(1, self._page)
        top = self.scroll_offset.y
        if first < top or end - first >= shown:
            top = first
        elif end > top + shown:
            top = end - shown
        self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self.refresh()

    @property
    def _page(self) -> int:
        """The rows of the body that are visible."""
        return self.scrollable_content_region.height - len(self._heading)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Keep the highlight in view when the wheel or the scrollbar moves it."""
        super().watch_scroll_y(old_value, new_value)
        if not self._starts:
            return
        top, bottom = int(new_value), int(new_value) + max(1, self._page)
        if self.FOLLOWS_END and new_value >= self.max_scroll_y and new_value > old_value:
            self.highlighted = len(self._rows) - 1
            return
        while self.highlighted > 0 and self._starts[self.highlighted] >= bottom:
            self.highlighted -= 1
        while self.highlighted < len(self._rows) - 1 and self._starts[self.highlighted + 1] <= top:
            self.highlighted += 1

    def action_list_down(self) -> None:
        """Highlight the next row."""
        self.highlight(self.highlighted + 1)

    def action_list_up(self) -> None:
        """Highlight the row before."""
        self.highlight(self.highlighted - 1)

    def action_list_first(self) -> None:
        """Highlight the first row."""
        self.highlight(0)

    def action_list_last(self) -> None:
        """Highlight the last row, and follow."""
        self.highlight(len(self._rows) - 1)

    def action_list_half_down(self) -> None:
        """Go down by half of what is shown."""
        self._go_by_lines(max(1, self._page // 2))

    def action_list_half_up(self) -> None:
        """Go up by half of what is shown."""
        self._go_by_lines(-max(1, self._page // 2))

    def action_page_down(self) -> None:
        """Go down by what is shown."""
        self._go_by_lines(max(1, self._page))

    def action_page_up(self) -> None:
        """Go up by what is shown."""
        self._go_by_lines(-max(1, self._page))

    def _go_by_lines(self, count: int) -> None:
        """Highlight the row that is `count` lines away, at least the next one."""
        if not self._starts:
            return
        wanted = self._starts[self.highlighted] + count
        index = self.highlighted
        step = 1 if count > 0 else -1
        while 0 <= index + step < len(self._starts) and (
            self._starts[index + step] <= wanted if step > 0 else self._starts[index + step] >= wanted
        ):
            index += step
        self.highlight(index if index != self.highlighted else self.highlighted + step)

    async def on_click(self, event: Click) -> None:
        """Highlight the row under the pointer; a double click chooses it. In the title, a hint is clicked."""
        if event.y == 0 and self.styles.border_top[0]:
            await click_hint(self, self._edge(self.outer_size.width), event.x)
            return
        line = event.get_content_offset(self)
        if line is None or line.y < len(self._heading) or not self._starts:
            return
        wanted = line.y - len(self._heading) + self.scroll_offset.y
        if wanted >= len(self._body):
            return
        self.highlighted = max(i for i, start in enumerate(self._starts) if start <= wanted)
        self.refresh()
        if event.chain == 2:
            self.action_choose()

    def action_choose(self) -> None:
        """Act on the highlighted row; most panes have nothing to do."""

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show the highlight with the focus only."""
        super().watch_has_focus(has_focus)
        self.refresh()

    def text_to_copy(self) -> str:
        """Return the text of the highlighted row."""
        row = self.highlighted_row
        return "" if row is None else self.text_of(row)
