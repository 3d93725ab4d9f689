"""Over SSH a whole screen is written as the lines that the terminal does not show yet."""

from __future__ import annotations

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from torchconsole.tui.line_diff import LineDiff

WIDTH = 6


def screen(*lines: str) -> LayoutUpdate:
    """An update of the whole screen."""
    strips = [[Strip([Segment(line.ljust(WIDTH))])] for line in lines]
    return LayoutUpdate(list(strips), Region(0, 0, WIDTH, len(lines)))


def written(terminal: LineDiff, update: CompositorUpdate) -> list[str]:
    """The lines that an update writes."""
    news = terminal.news(update)
    assert isinstance(news, CompositorUpdate)
    text = news.render_segments(Console())
    return [line for line in ("one", "two", "three") if line in text]


def test_only_lines_that_differ_are_written() -> None:
    terminal = LineDiff()
    assert written(terminal, screen("one", "two")) == ["one", "two"]
    assert written(terminal, screen("one", "two")) == []
    assert written(terminal, screen("one", "three")) == ["three"]


def test_a_line_that_was_painted_in_part_is_written_again() -> None:
    terminal = LineDiff()
    written(terminal, screen("one", "two"))
    part = ChopsUpdate([{0: Strip([Segment("x")])}, {}], [(0, 0, 1)], [[1], []])
    assert terminal.news(part) is part
    assert written(terminal, screen("one", "two")) == ["one"]


def test_all_is_written_after_another_size_and_after_somebody_else_has_written() -> None:
    terminal = LineDiff()
    written(terminal, screen("one", "two"))
    assert written(terminal, screen("one", "two", "three")) == ["one", "two", "three"]
    terminal.forget()
    assert written(terminal, screen("one", "two", "three")) == ["one", "two", "three"]


def test_the_ink_of_a_blank_is_not_seen_and_a_reversed_one_is() -> None:
    def blank(style: Style) -> LayoutUpdate:
        return LayoutUpdate([[Strip([Segment("one"), Segment("   ", style)])]], Region(0, 0, WIDTH, 1))

    terminal = LineDiff()
    written(terminal, blank(Style(color="red", bgcolor="black")))
    assert written(terminal, blank(Style(bgcolor="black"))) == []
    assert written(terminal, blank(Style(color="red", bgcolor="black", reverse=True))) == ["one"]
