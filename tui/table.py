"""Tables of text, measured in terminal cells: aligned, and fitted into the terminal's width."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, set_cell_size

GAP = "  "

Cut = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Column:
    """A column of a table that has to fit into a given width.

    `rank` says how much the column matters: of the columns with a rank, the one with the highest is dropped
    first; a column with rank 0 is never dropped. `least` is the width (cells) down to which the cells may be
    shortened, at their `cut`; 0 if they are not shortened.
    """

    heading: str
    right: bool = False
    rank: int = 0
    least: int = 0
    cut: Cut = "end"


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the heading and the rows as lines of at most `width` cells; None does not limit them.

    Columns are dropped by rank until the others fit at their least widths, and then shortened, the widest
    first. If even the columns without a rank do not fit, they are shortened below their least widths.
    """
    lines = [[column.heading for column in columns], *rows]
    if width is None:
        return _join(columns, lines)
    natural, least = _widths(columns, lines)
    kept = list(range(len(columns)))
    while _total(least[index] for index in kept) > width:
        droppable = [index for index in kept if columns[index].rank]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda index: columns[index].rank))
    widths = _shrink([natural[index] for index in kept], [least[index] for index in kept], width)
    widths = _shrink(widths, [1] * len(kept), width)
    shortened = [
        [shorten(line[index], room, columns[index].cut) for index, room in zip(kept, widths, strict=True)]
        for line in lines
    ]
    return [shorten(line, width) for line in _join([columns[index] for index in kept], shortened)]


def least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    """Return the least width (cells) at which `fit` keeps all columns at their least widths."""
    return _total(_widths(columns, [[column.heading for column in columns], *rows])[1])


def shorten(text: str, width: int, cut: Cut = "end") -> str:
    """Shorten `text` to at most `width` cells, with an ellipsis in place of what is left out."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    room = width - 1
    tail_room = {"start": room, "middle": (room + 1) // 2, "end": 0}[cut]
    tail = _take_last(text, tail_room).lstrip()
    return set_cell_size(text, room - tail_room).rstrip() + "…" + tail


def align(lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[list[str]]:
    """Pad every cell to its column's width; columns in `right` are flush right. Lines are equally long."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return [
        [
            padded(cell, width, column in right)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]


def _widths(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
    """Return the columns' natural and least widths."""
    natural = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    least = [min(n, column.least) if column.least else n for column, n in zip(columns, natural, strict=True)]
    return natural, least


def _join(columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> list[str]:
    right = [index for index, column in enumerate(columns) if column.right]
    return [GAP.join(line).rstrip() for line in align(lines, right)]


def _total(widths: Iterable[int]) -> int:
    """Return the width of a line with columns of these widths."""
    listed = list(widths)
    return sum(listed) + len(GAP) * (len(listed) - 1)


def _shrink(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Take cells from the widest columns, as far as their least widths allow, until a line has `width`."""
    found = list(widths)
    while _total(found) > width:
        shrinkable = [index for index in range(len(found)) if found[index] > least[index]]
        if not shrinkable:
            break
        found[max(shrinkable, key=lambda index: found[index])] -= 1
    return found


def _take_last(text: str, width: int) -> str:
    """Return as many of the last characters as fit into `width` cells."""
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= width:
        start -= 1
    return text[start:]


def padded(cell: str, width: int, flush_right: bool = False) -> str:
    """Pad a cell with blanks to `width` cells."""
    space = " " * (width - cell_len(cell))
    return space + cell if flush_right else cell + space
