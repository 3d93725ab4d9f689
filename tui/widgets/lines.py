"""Widgets drawn as lines of colored text, of which only the lines that changed are repainted.

A tone names a color (`muted`, `bold good`, `train on band`, ...); see `tui/theme.py`. Text is never parsed as
markup, and what may control the terminal is escaped, wherever the text comes from.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Self

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.color import Color
from textual.events import Click
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from torchconsole.engine.text import printable
from torchconsole.tui.keys import run_action
from torchconsole.tui.line_filters import AsciiFilter
from torchconsole.tui.picture_cells import is_pixel, pixel_style
from torchconsole.tui.theme import look_of
from torchconsole.tui.user_keys import Hint

Span = tuple[str, str]
"""Text and its tone."""

Line = list[Span]


def line_width(line: Line) -> int:
    """Return the number of cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


async def click_hint(widget: Widget, line: Line, x: int) -> None:
    """Do the action of the hint that is at column `x` of a widget's line, if there is one."""
    hint: Hint | None = None
    edge = 0
    for (before, _), (text, _) in zip([("", ""), *line], line, strict=False):
        hint = text if isinstance(text, Hint) else before if isinstance(before, Hint) else None
        edge += cell_len(text)
        if x < edge:
            break
    if hint is not None and x < edge:
        await run_action(widget.screen, hint.action)


def wrap(text: str, width: int) -> list[str]:
    """Break `text` between words into pieces of at most `width` cells; an empty text is one empty piece."""
    room = max(1, width)
    pieces = textwrap.wrap(text, room, replace_whitespace=False) or [""]
    return [part for piece in pieces for part in (chop_cells(piece, room) or [""])]


def spread(left: Line, right: Line, width: int) -> Line:
    """Put `left` and `right` at the two ends of a line; `right` is left out if both do not fit."""
    gap = width - line_width(left) - line_width(right)
    return [*left, (" " * gap, "text"), *right] if gap >= 1 else left


def flow(items: Sequence[Line], width: int) -> list[Line]:
    """Put items one after the other, separated by dots, as many on each line as fit."""
    lines: list[Line] = []
    for item in items:
        if lines and line_width(lines[-1]) + 3 + line_width(item) <= width:
            lines[-1] = [*lines[-1], (" · ", "muted"), *item]
        else:
            lines.append(list(item))
    return lines


class Palette:
    """The styles of a widget's tones, cached, on the background that the style sheet gives the widget."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._styles: dict[str, Style] = {}
        self._background = Color(0, 0, 0)
        self._ascii: AsciiFilter | None = None

    def clear(self) -> None:
        """Drop the cached styles, because the style sheet or the theme has changed."""
        self._styles.clear()
        self._ascii = None

    def strip(self, line: Line, width: int) -> Strip:
        """Render one line, exactly `width` cells wide. Raises KeyError for an unknown tone."""
        blank = self._style("text")
        segments = [Segment(self._text(text, tone), self._style(tone)) for text, tone in line if text]
        strip = Strip(segments).adjust_cell_length(width, blank)
        return strip.apply_filter(self._ascii, self._background) if self._ascii else strip

    def _text(self, text: str, tone: str) -> str:
        """Escape a text. In ASCII, the empty part of a meter must differ from the full one by its sign."""
        shown = printable(text)
        return shown.replace("━", "·") if self._ascii and tone == "meterdim" else shown

    def _style(self, tone: str) -> Style:
        if is_pixel(tone):  # too many to keep them all
            return pixel_style(tone, indexed=look_of(self._widget.app).depth == "256")
        if tone not in self._styles:
            self._styles[tone] = self._build(tone)
        return self._styles[tone]

    def _build(self, tone: str) -> Style:
        """Put a tone on the widget's background, and apply Textual's filters for this terminal."""
        self._background = self._widget.background_colors[1]
        style = Style(bgcolor=self._background.rich_color) + look_of(self._widget.app).style(tone)
        segments = [Segment(" ", style)]
        for line_filter in self._widget.get_line_filters():
            if isinstance(line_filter, AsciiFilter):
                self._ascii = line_filter
            segments = line_filter.apply(segments, self._background)
        return segments[0].style or style


class CachedRender(Widget):
    """A widget that caches its rendered lines: Textual asks every visible widget for them in each frame.

    They are rendered again after a `refresh`, or when another part of the widget becomes visible. Name this
    class last among the bases: Textual inherits the style sheet of the first base only.
    """

    _rendered: tuple[Region, list[Strip]] | None = None

    def refresh(self, *regions: Region, **options: Any) -> Self:
        """Drop the cached lines (called by Textual whenever the appearance changes)."""
        self._rendered = None
        return super().refresh(*regions, **options)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines inside `crop` (called by Textual)."""
        if self._rendered is None or self._rendered[0] != crop:
            self._rendered = crop, super().render_lines(crop)
        return self._rendered[1]


class LineWidget(CachedRender):
    """A widget whose content is `draw(width, height)`; `redraw` repaints the lines that changed."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._drawn_for: Size | None = None
        self._content_size = Size()
        self._palette = Palette(self)

    def draw(self, width: int, height: int) -> list[Line]:
        """Return the content for `width` x `height` cells; missing lines stay blank, extra ones are cut."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again after the data changed."""
        if self._drawn_for != self.outer_size:
            self.refresh()
            return
        width, height = self._content_size
        before, self._lines = self._lines, self.draw(width, height)
        if len(before) != len(self._lines) and self.styles.auto_dimensions:
            self.refresh(layout=True)
            return
        rows = min(height, max(len(before), len(self._lines)))
        changed = [y for y in range(rows) if before[y : y + 1] != self._lines[y : y + 1]]
        if changed:
            self._repaint(changed)

    def _repaint(self, rows: Sequence[int]) -> None:
        """Render these rows of the content again and keep all others in the cache."""
        rendered, size = self._rendered, self.outer_size
        self.refresh(*(Region(0, y, self._content_size.width, 1) for y in rows))
        if rendered is None or rendered[0].size != size:
            return
        strips, gutter = rendered[1], self.gutter
        for y in rows:
            strip, row = self.render_line(y), gutter.top + y
            if gutter.width:
                edges = strips[row]
                left, right = edges.crop(0, gutter.left), edges.crop(size.width - gutter.right)
                strip = Strip.join([left, strip, right])
            strips[row] = strip
        self._rendered = rendered

    def render_line(self, y: int) -> Strip:
        """Return one line of the content (called by Textual)."""
        if self._drawn_for != self.outer_size:
            self._drawn_for, self._content_size = self.outer_size, self.size
            self._lines = self.draw(*self._content_size)
        line = self._lines[y] if y < len(self._lines) else []
        return self._palette.strip(line, self._content_size.width)

    @on(Click)
    async def do_hint(self, event: Click) -> None:
        """Do what the hint under the mouse pointer is for, besides what `on_click` of a subclass does."""
        place = event.get_content_offset(self)
        if place is not None and place.y < len(self._lines):
            await click_hint(self, self._lines[place.y], place.x)

    def notify_style_update(self) -> None:
        """Draw again with the new styles (called by Textual when a style may have changed)."""
        self._palette.clear()
        self._drawn_for = None
        super().notify_style_update()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines to draw, for `height: auto` (called by Textual)."""
        return max(1, len(self.draw(width, viewport.height)))
