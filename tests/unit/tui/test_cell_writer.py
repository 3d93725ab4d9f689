"""The writer of cells: the terminal shows what Textual's own output would show, in fewer bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tests.support.cell_terminal import CellTerminal
from tests.support.textual_compat import part_of_screen, pieces_of, whole_screen
from torchconsole.tui.cell_writer import CellWriter

WIDTH, HEIGHT = 24, 4
TEXTS = [
    "a",
    "b",
    " ",
    "  ",
    "x" * 9,
    "⣿",
    "▁",
    "★",
    "界",
    "한글",
    "é",
    "e\u0301",
    "❤\ufe0f",
    "👍🏽",
    "👨‍👩‍👧",
    "\u200b",
]
COLORS = [None, "default", "red", "bright_blue", "color(214)", "#5fb8ec", "#111315"]

styles = st.builds(
    Style,
    color=st.sampled_from(COLORS),
    bgcolor=st.sampled_from(COLORS),
    **{
        name: st.sampled_from([None, None, None, True])
        for name in ("bold", "dim", "italic", "reverse", "strike")
    },
    underline=st.sampled_from([None, None, True]),
    underline2=st.sampled_from([None, None, None, None, True]),
)
segments = st.tuples(st.sampled_from(TEXTS), st.none() | styles).map(lambda each: Segment(*each))


def strips(width: int) -> st.SearchStrategy[Strip]:
    """Strips of so many cells."""
    return st.lists(segments, max_size=8).map(lambda parts: Strip(parts).adjust_cell_length(width))


@st.composite
def updates(draw: st.DrawFn) -> object:
    """An update of Textual: of the whole screen, or of spans of some lines."""
    if draw(st.integers(0, 4)) == 0:
        return whole_screen([draw(strips(WIDTH)) for _ in range(HEIGHT)], WIDTH)
    lines: list[list[Strip]] = []
    for _ in range(HEIGHT):
        cuts = sorted({0, WIDTH, *draw(st.lists(st.integers(1, WIDTH - 1), max_size=4))})
        lines.append([draw(strips(right - left)) for left, right in pairwise(cuts)])
    columns = st.integers(0, WIDTH)
    spans = [
        (y, min(pair), max(pair))
        for y in sorted(draw(st.sets(st.integers(0, HEIGHT - 1), min_size=1)))
        if (pair := draw(st.tuples(columns, columns)))[0] != pair[1]
    ]
    return part_of_screen(lines, spans or [(0, 0, WIDTH)])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    system=st.sampled_from([ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT, ColorSystem.STANDARD]),
    repeats=st.booleans(),
    sequence=st.lists(updates(), min_size=1, max_size=5),
)
def test_the_terminal_shows_what_textual_would_show(
    system: ColorSystem, repeats: bool, sequence: list[object]
) -> None:
    writer = CellWriter(system)
    writer.repeats = repeats
    console = Console(
        color_system={1: "standard", 2: "256", 3: "truecolor"}[system.value], force_terminal=True
    )
    ours, textuals = CellTerminal(WIDTH, HEIGHT), CellTerminal(WIDTH, HEIGHT)
    for update in sequence:
        textuals.feed(update.render_segments(console))
        ours.feed(writer.render(pieces_of(update), (WIDTH, HEIGHT)))
        # Nothing is written for a cell that no update has covered, so both show a "?" there.
        assert list(map(ours.seen, range(HEIGHT))) == list(map(textuals.seen, range(HEIGHT)))


def line(*parts: tuple[str, str] | str) -> Iterator[Segment]:
    """A line of texts, each with a style or plain."""
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        yield Segment(text, Style.parse(style))


def written(writer: CellWriter, *lines: Iterator[Segment], size: tuple[int, int] = (10, 2)) -> str:
    """What the writer writes for whole lines."""
    return writer.render(((y, 0, parts) for y, parts in enumerate(lines)), size)


def test_nothing_is_written_for_what_is_shown_already() -> None:
    writer = CellWriter()
    assert written(writer, line("one", ("two", "red")))
    assert written(writer, line("one", ("two", "red"))) == ""
    assert written(writer, line(("one", ""), ("t", "red"), ("wo", "red"))) == ""


def test_only_the_cells_that_differ_are_written() -> None:
    writer = CellWriter()
    written(writer, line("0123456789"))
    assert written(writer, line("01x3456789")) == "\x1b[1;3H\x1b[0mx"


def test_a_short_gap_is_written_again_and_a_long_one_jumped_over() -> None:
    writer = CellWriter()
    written(writer, line("0123456789"))
    assert written(writer, line("x12y456789")) == "\x1b[1H\x1b[0mx12y"
    assert written(writer, line("a12y45678b")) == "\x1b[1H\x1b[0ma\x1b[8Cb"


def test_colors_are_set_only_where_they_change() -> None:
    writer = CellWriter()
    assert written(writer, line(("a", "red on blue"), ("b", "green on blue"), (" ", "on blue"))) == (
        "\x1b[1H\x1b[0;31;44ma\x1b[32mb "
    )
    assert written(writer, line(("x", "bold red on blue"), (" ", "on blue"), ("y", "red on blue"))) == (
        "\x1b[1H\x1b[0;1;31;44mx \x1b[22my"
    )


def test_what_one_pen_draws_is_written_together() -> None:
    writer = CellWriter()
    one, other = "#5fb8ec on #111315", "#f2a020 on #111315"
    mixed = [line(("aa", one), ("bb", other), ("cc", one), ("dd", other)) for _ in range(2)]
    assert written(writer, *mixed) == (
        "\x1b[1H\x1b[0;38;2;95;184;236;48;2;17;19;21maa\x1b[2Ccc\x1b[2Haa\x1b[2Ccc"
        "\x1b[1;3H\x1b[38;2;242;160;32mbb\x1b[2Cdd\x1b[2;3Hbb\x1b[2Cdd"
    )


def test_in_16_colors_everything_is_written_in_its_order() -> None:
    writer = CellWriter(ColorSystem.STANDARD)
    assert written(writer, line(("a", "red"), ("b", "green"), ("c", "red"))) == (
        "\x1b[1H\x1b[0;31ma\x1b[32mb\x1b[31mc"
    )


def test_characters_are_repeated_by_a_code_where_that_is_shorter_and_the_terminal_knows_it() -> None:
    writer = CellWriter()
    writer.repeats = True
    text = f"{'─' * 12}+++++{'─' * 2}x{' ' * 8}y"
    assert written(writer, line(text), size=(40, 1)) == "\x1b[1H\x1b[0m─\x1b[11b+++++──x \x1b[7by"


def test_the_text_color_of_blanks_makes_no_difference_unless_they_are_reversed() -> None:
    writer = CellWriter()
    written(writer, line("one", ("   ", "red on black")))
    assert written(writer, line("one", ("   ", "on black"))) == ""
    assert written(writer, line("one", ("   ", "red on black reverse"))).endswith("   ")


def test_everything_is_written_after_a_resize_and_after_another_program_has_written() -> None:
    writer = CellWriter()
    first = written(writer, line("one"))
    assert written(writer, line("one"), size=(10, 3)) == first
    writer.clear()
    assert written(writer, line("one"), size=(10, 3)) == first


def test_a_wide_character_at_the_right_edge_that_has_no_room_becomes_a_blank() -> None:
    terminal = CellTerminal(10, 2)
    terminal.feed(written(CellWriter(), line("012345678界")))
    assert terminal.text().splitlines()[0] == "012345678"


def test_control_characters_are_not_written() -> None:
    assert written(CellWriter(), line("a\x1b[2Jb\tc\x07")) == "\x1b[1H\x1b[0ma[2Jbc"


def test_a_color_that_the_terminal_lacks_is_replaced() -> None:
    exact = [Segment("x", Style(color=Color.from_rgb(255, 0, 0)))]
    assert "38;2;255;0;0" in CellWriter(ColorSystem.TRUECOLOR).render([(0, 0, exact)], (9, 1))
    assert "38;5;" in CellWriter(ColorSystem.EIGHT_BIT).render([(0, 0, exact)], (9, 1))
    assert "\x1b[0;31m" in CellWriter(ColorSystem.STANDARD).render([(0, 0, exact)], (9, 1))
