"""Widgets drawn as lines of toned text, of which only the lines that changed are painted again.

A tone names a colour (`muted`, `good`, ...) whose looks theme.tcss gives. Text here is never markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from torchconsole.tui.widgets.cached_render import CachedRender

Part = tuple[str, str]
"""Text and its tone."""

Line = list[Part]

TONES = ("plain", "muted", "strong", "good", "warn", "bad", "badge", "key", "bar", "train", "val", "lr")
TONE_CLASSES = {f"tone--{tone}" for tone in TONES}


class Palette:
    """A widget's tones as its style sheet colours them. Textual works a style out anew for every refresh."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._styles: dict[str, Style] = {}

    def forget(self) -> None:
        """The style sheet or the theme has changed."""
        self._styles.clear()

    def strip(self, line: Line, width: int) -> Strip:
        """Paint one line, exactly `width` cells wide."""
        segments = [Segment(text, self._style(tone)) for text, tone in line if text]
        return Strip(segments).adjust_cell_length(width, self._style("plain"))

    def _style(self, tone: str) -> Style:
        if tone not in self._styles:
            self._styles[tone] = self._filtered(self._widget.get_component_rich_style(f"tone--{tone}"))
        return self._styles[tone]

    def _filtered(self, style: Style) -> Style:
        """The style as Textual's filters for this terminal leave it."""
        _, background = self._widget.background_colors
        segments = [Segment(" ", style)]
        for one in self._widget.get_line_filters():
            segments = one.apply(segments, background)
        return segments[0].style or style


def line_width(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


def elide(text: str, width: int) -> str:
    """Shorten `text` to at most `width` cells, an ellipsis for what is left out."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line; `right` is left out where both do not fit."""
    gap = width - line_width(left) - line_width(right)
    return [*left, (" " * gap, "plain"), *right] if gap >= 1 else left


def flow(items: Sequence[Line], width: int) -> list[Line]:
    """Put items one after the other, a dot between, as many on each line as fit."""
    lines: list[Line] = []
    for item in items:
        if lines and line_width(lines[-1]) + 3 + line_width(item) <= width:
            lines[-1] = [*lines[-1], (" · ", "muted"), *item]
        else:
            lines.append(list(item))
    return lines


class LineWidget(CachedRender):
    """A widget whose content is `draw(width, height)`; `redraw` repaints the lines that changed."""

    COMPONENT_CLASSES = TONE_CLASSES

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = []
        self._drawn_for: Size | None = None
        self._room = Size()
        self._palette = Palette(self)

    def draw(self, width: int, height: int) -> list[Line]:
        """What is to be seen in `width` x `height` cells; missing lines stay blank, surplus ones are cut."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again after the data changed."""
        if self._drawn_for != self.outer_size:
            self.refresh()
            return
        width, height = self._room
        before, self._lines = self._lines, self.draw(width, height)
        if len(before) != len(self._lines) and self.styles.auto_dimensions:
            self.refresh(layout=True)
            return
        rows = min(height, max(len(before), len(self._lines)))
        changed = [y for y in range(rows) if before[y : y + 1] != self._lines[y : y + 1]]
        if changed:
            self._repaint(changed)

    def _repaint(self, rows: Sequence[int]) -> None:
        """Paint these rows of the content anew, all others stay as they are."""
        kept, size = self._kept, self.outer_size
        self.refresh(*(Region(0, y, self._room.width, 1) for y in rows))
        if kept is None or kept[0].size != size:
            return
        gutter = self.gutter
        for y in rows:
            strip, row = self.render_line(y), gutter.top + y
            if gutter.width:
                edges = kept[1][row]
                left, right = edges.crop(0, gutter.left), edges.crop(size.width - gutter.right)
                strip = Strip.join([left, strip, right])
            kept[1][row] = strip
        self._kept = kept

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        if self._drawn_for != self.outer_size:
            self._drawn_for, self._room = self.outer_size, self.size
            self._lines = self.draw(*self._room)
        line = self._lines[y] if y < len(self._lines) else []
        return self._palette.strip(line, self._room.width)

    def notify_style_update(self) -> None:
        """Textual's call when a style may have changed."""
        self._palette.forget()
        self._drawn_for = None
        super().notify_style_update()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are to draw, where the style sheet says `height: auto`."""
        return max(1, len(self.draw(width, viewport.height)))
