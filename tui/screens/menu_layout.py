"""Where the parts of the menu are, in a terminal of any size. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OTHER_ROWS = 2
"""Rows besides the lists: the header and the keys."""

WIDEST_LISTS = 140


@dataclass(frozen=True)
class MenuLayout:
    """Sizes of the parts in cells; 0 for a part that is hidden."""

    preset_rows: int
    run_rows: int
    preset_columns: int
    run_columns: int
    boxed: bool
    has_preview_line: bool


def menu_layout(
    width: int,
    height: int,
    *,
    runs_have_focus: bool,
    has_previews: bool = True,
    has_runs: bool = True,
    is_searching: bool = False,
) -> MenuLayout:
    """Return the layout: at least half of the height goes to the list that has the focus.

    While there are no runs, the presets get what a line about that leaves. A tiny terminal shows the title
    alone of the other list. A small one shows the preview of the preset beside the list, and that of the run
    in one line. The line of a search takes one row of the lists.
    """
    stage = _stage(width, height)
    is_boxed, is_small = stage == "normal", stage == "small"
    has_line = is_small and has_previews
    room = max(2, height - OTHER_ROWS - has_line - is_searching)
    focused = max(1, room - 1) if stage == "tiny" else (room + 1) // 2
    presets, runs = (room - focused, focused) if runs_have_focus else (focused, room - focused)
    if not has_runs and stage != "tiny":
        runs = 3 if is_boxed else 2
        presets = room - runs
    columns = max(41, round(width * 0.345), width - WIDEST_LISTS) if is_boxed else 0
    beside = round(width * 0.46) if is_small and width >= 70 else columns
    if not has_previews:
        beside = columns = 0
    return MenuLayout(presets, runs, beside, columns, is_boxed, has_line)


def _stage(width: int, height: int) -> Literal["tiny", "small", "normal"]:
    if width >= 100 and height >= 30:
        return "normal"
    return "small" if width >= 60 and height >= 20 else "tiny"
