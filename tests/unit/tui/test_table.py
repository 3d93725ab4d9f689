"""Tables fit into a width, measured in terminal cells."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from torchconsole.tui.table import Column, Cut, align, fit, shorten

COLUMNS = (
    Column("RUN", least=8, cut="middle"),
    Column("STEP", right=True, rank=1),
    Column("HOST", rank=2),
    Column("NOTE", least=6),
)
ROWS = [
    ("digits-mlp-20260102-030405", "1,380", "gpu-box", "all is well"),
    ("日本-20260102-030405", "7", "x", ""),
]


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    assert align([["a", "1"], ["日本", "22"]], right={1}) == [["a   ", " 1"], ["日本", "22"]]


@pytest.mark.parametrize(
    ("text", "width", "cut", "expected"),
    [
        ("digits", 6, "end", "digits"),
        ("digits", 5, "end", "digi…"),
        ("digits", 5, "start", "…gits"),
        ("digits-mlp", 7, "middle", "dig…mlp"),
        ("日本語", 5, "end", "日本…"),
        ("日本語", 4, "start", "…語"),
        ("two words", 5, "end", "two…"),
        ("digits", 1, "middle", "…"),
        ("digits", 0, "end", ""),
    ],
)
def test_a_text_is_shortened_to_a_width(text: str, width: int, cut: Cut, expected: str) -> None:
    assert shorten(text, width, cut) == expected


def test_without_a_width_nothing_is_left_out() -> None:
    heading, first, second = fit(COLUMNS, ROWS, None)
    assert heading.split() == ["RUN", "STEP", "HOST", "NOTE"]
    assert first.split(maxsplit=3) == list(ROWS[0])
    assert second.split() == ["日本-20260102-030405", "7", "x"]


def test_a_table_that_fits_is_not_changed() -> None:
    assert fit(COLUMNS, ROWS, 200) == fit(COLUMNS, ROWS, None)


def test_cells_are_shortened_before_a_column_is_dropped() -> None:
    _, first, _ = fit(COLUMNS, ROWS, 50)
    assert first == "digits-mlp…102-030405  1,380  gpu-box  all is well"


def test_the_column_with_the_highest_rank_is_dropped_first() -> None:
    assert [line.split()[1:2] for line in fit(COLUMNS, ROWS, 25)] == [["STEP"], ["1,380"], ["7"]]
    assert fit(COLUMNS, ROWS, 18) == ["RUN       NOTE", "dig…0405  all is…", "日…0405"]


@pytest.mark.parametrize("width", [*range(1, 60)])
def test_no_line_is_wider_than_the_width(width: int) -> None:
    assert all(cell_len(line) <= width for line in fit(COLUMNS, ROWS, width))


def test_a_table_without_rows_is_its_heading() -> None:
    assert fit(COLUMNS, [], 80) == ["RUN  STEP  HOST  NOTE"]
