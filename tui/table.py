"""Cells padded to columns, by the width that they take in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len


def align(lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[list[str]]:
    """Pad every cell to its column's width; columns in `right` are flush right. Lines are equally long."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return [
        [
            _padded(cell, width, column in right)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]


def _padded(cell: str, width: int, flush_right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if flush_right else cell + space
