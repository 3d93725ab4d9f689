"""Where each part of the run screen is, in a terminal of any size; `run_layout.py` puts it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.geometry import Region

Stage = Literal["line", "tiny", "small", "normal", "large"]
"""How much room there is. `line`: one line that says how the run is."""

LEAST_WIDTH, LEAST_HEIGHT = 40, 6
"""Columns and rows below which one line is all that is shown."""

SMALL, NORMAL, LARGE = (60, 20), (100, 30), (160, 50)
"""Columns and rows from which a stage begins."""

RIGHT_NORMAL, RIGHT_LARGE = 38, 62
"""Columns of the panels to the right of the charts."""

LOG_ROWS, LARGE_LOG_ROWS, TRACEBACK_ROWS = 5, 8, 14
LOSS_STRIP_ROWS = 8
"""Rows of the charts below an open pane, with the frame."""

LEAST_PANE_ROWS = 8
STOPPING_ROWS = 5
LEAST_METRICS_ROWS = 6
LEAST_CHART_ROWS = 3


@dataclass(frozen=True)
class Contents:
    """What is to be shown. `device_rows` are the rows that the device panel needs, with its frame.

    `pane` is the open pane; `charts` is none of them. `pane_rows` are the rows that it needs, with its frame;
    0 if it takes what there is. `banner_rows` are the rows of the banner, wrapped.
    """

    pane: str = "charts"
    enlarged: bool = False
    pane_rows: int = 0
    banner_rows: int = 0
    has_stopping: bool = True
    device_rows: int = 11
    has_failed: bool = False


Rooms = dict[str, Region]
"""Name of a part -> its place. A part without a place is hidden."""


def stage_of(width: int, height: int) -> Stage:
    """Return the stage of a terminal of this size."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return "line"
    stage: Stage = "tiny"
    larger: tuple[tuple[tuple[int, int], Stage], ...] = (
        (SMALL, "small"),
        (NORMAL, "normal"),
        (LARGE, "large"),
    )
    for (columns, rows), name in larger:
        if width >= columns and height >= rows:
            stage = name
    return stage


def plan(width: int, height: int, contents: Contents) -> Rooms:
    """Return the place of every part that is shown."""
    stage = stage_of(width, height)
    if stage == "line":
        return {"line": Region(0, 0, width, height)}
    if stage == "tiny":
        rooms = _tiny(width, height, contents)
    elif stage == "small":
        rooms = _small(width, height, contents)
    else:
        rooms = _framed(width, height, contents, is_large=stage == "large")
    return {name: room for name, room in rooms.items() if room.area}


def _tiny(width: int, height: int, contents: Contents) -> Rooms:
    """Two header lines, the loss, a metric, a line for the rest or a message, the keys."""
    rooms = {"header": Region(0, 0, width, 2), "keys": Region(0, height - 1, width, 1)}
    top, bottom = _below_banner(rooms, width, 2, height - 1, contents)
    bottom -= 1
    rooms["message"] = Region(0, bottom, width, 1)
    if contents.pane != "charts":
        rooms["pane"] = Region(0, top, width, bottom - top)
        return rooms
    if height >= 10 and bottom - top > LEAST_CHART_ROWS and not contents.enlarged:
        bottom -= 1
        rooms["metrics"] = Region(0, bottom, width, 1)
    rooms["charts"] = Region(0, top, width, bottom - top)
    return rooms


def _small(width: int, height: int, contents: Contents) -> Rooms:
    """The charts in full width; below them metrics, and a line for the device or a message.

    More rows give more metrics and a log.
    """
    rooms = {"header": Region(0, 0, width, 1), "keys": Region(0, height - 1, width, 1)}
    top, bottom = _below_banner(rooms, width, 1, height - 1, contents)
    bottom -= 1
    rooms["message"] = Region(0, bottom, width, 1)
    if contents.pane != "charts":
        rooms["pane"] = Region(0, top, width, bottom - top)
        return rooms
    spare = bottom - top - 21
    metrics = 3 + max(0, min(3, spare // 3))
    log = TRACEBACK_ROWS if contents.has_failed and spare >= 12 else LOG_ROWS - 1 if spare >= 8 else 0
    if bottom - top - metrics < LEAST_CHART_ROWS:
        metrics = 0
    if contents.enlarged:
        metrics = log = 0
    for name, rows in (("metrics", metrics), ("log", log)):
        if rows:
            rooms[name] = Region(0, bottom - rows, width, rows)
            bottom -= rows
    rooms["charts"] = Region(0, top, width, bottom - top)
    return rooms


def _framed(width: int, height: int, contents: Contents, *, is_large: bool) -> Rooms:
    """A line of tabs or a message; charts at the left, panels at the right, the log below.

    An open pane takes their place, above a strip of the charts.
    """
    rooms = {
        "header": Region(0, 0, width, 1),
        "message": Region(0, 1, width, 1),
        "keys": Region(0, height - 1, width, 1),
    }
    top, bottom = _below_banner(rooms, width, 2, height - 1, contents)
    if contents.pane != "charts":
        strip = 0 if contents.enlarged or contents.pane == "device" else LOSS_STRIP_ROWS
        if bottom - top < strip + 10:
            strip = 0
        if strip and contents.pane_rows:
            strip = max(strip, bottom - top - max(LEAST_PANE_ROWS, contents.pane_rows))
        rooms["pane"] = Region(0, top, width, bottom - top - strip)
        if strip:
            rooms["charts"] = Region(0, bottom - strip, width, strip)
        return rooms
    if contents.enlarged:
        rooms["charts"] = Region(0, top, width, bottom - top)
        return rooms
    right = RIGHT_LARGE if is_large else RIGHT_NORMAL
    left = width - right
    log = LARGE_LOG_ROWS if is_large else LOG_ROWS
    if contents.has_failed:
        log = max(log, min(TRACEBACK_ROWS, (bottom - top) // 2))
    if bottom - top - log < 2 * LEAST_CHART_ROWS:
        log = 0
    rooms["charts"] = Region(0, top, left, bottom - top - log)
    if log:
        rooms["log"] = Region(0, bottom - log, left if is_large else width, log)
    _stack_panels(rooms, left, right, top, bottom if is_large else bottom - log, contents, is_large)
    return rooms


def _stack_panels(
    rooms: Rooms, left: int, right: int, top: int, bottom: int, contents: Contents, is_large: bool
) -> None:
    """Put the panels of the right column one below the other; the metrics get what the others leave."""
    rows = bottom - top
    fixed: list[tuple[str, int]] = []
    if is_large:
        fixed = [("classes", 8), ("checkpoints", LARGE_LOG_ROWS)]
    device = contents.device_rows
    stopping = STOPPING_ROWS if contents.has_stopping else 0
    while fixed and rows - stopping - device - sum(count for _, count in fixed) < LEAST_METRICS_ROWS:
        fixed.pop(0)
    rest = rows - stopping - sum(count for _, count in fixed)
    if stopping and rest < LEAST_METRICS_ROWS + 4:
        rest, stopping = rest + stopping, 0
    if rest - device < LEAST_METRICS_ROWS:
        device = max(4, rest - LEAST_METRICS_ROWS)
    stack = [("metrics", rest - device), ("stopping", stopping), ("device", device), *fixed]
    y = top
    for name, count in stack:
        if count >= 3:
            rooms[name] = Region(left, y, right, count)
        y += count


def _below_banner(rooms: Rooms, width: int, top: int, bottom: int, contents: Contents) -> tuple[int, int]:
    """Place the banner, if there is one. Return the rows that are left, as their first and their end."""
    room = bottom - top - LEAST_CHART_ROWS
    # A banner that leaves no room for the charts gets the rows of the metrics too: its remedy matters more.
    rows = (
        contents.banner_rows if contents.banner_rows <= room else min(contents.banner_rows, bottom - top - 1)
    )
    if rows:
        rooms["banner"] = Region(0, top, width, rows)
    return top + rows, bottom
