"""Draws compared runs: their curves, a table of values, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchconsole.engine.text import printable
from torchconsole.tui.compare_charts import run_tone, shown_groups
from torchconsole.tui.compare_view import CompareView, statistics_at
from torchconsole.tui.comparison import ComparedRun, SeedGroup
from torchconsole.tui.formatting import format_duration, format_metric
from torchconsole.tui.metric_direction import is_higher_better
from torchconsole.tui.run_rows import fitting, short_metric, status_look, status_word
from torchconsole.tui.table import padded, shorten
from torchconsole.tui.widgets.frames import crop
from torchconsole.tui.widgets.lines import Line, line_width
from torchconsole.tui.widgets.run_preview import format_setting

START, GAP = 6, 2
RANKS = (0, 4, 1, 2, 5, 6, 3, 7)
"""Of the columns name, status, value, best, its step, second metric, distance, time: see `fitting`."""

FIRST_NUMBER = 2
"""The first column that is flush right."""

KEY_WIDTH, LEAST_VALUE = 26, 8


def draw_runs(view: CompareView, width: int) -> list[Line]:
    """Draw a row for each run, and one for each group of runs that differ in the seed alone."""
    rows = [_headings(view), *(_cells(view, index) for index in range(len(view.comparison.runs)))]
    natural = [max(map(line_width, column)) for column in zip(*rows, strict=True)]
    layout = fitting(natural, RANKS, width - START - 1, lambda index: GAP)
    lines = [_table_row([(" " * START, "text")], rows[0], layout)]
    for index, cells in enumerate(rows[1:]):
        tone = "faint" if index in view.hidden else run_tone(index)
        start: Line = [(" ━━ ", tone), (f"{index + 1} ", "faint")]
        if problem := view.comparison.runs[index].problem:
            # The name of the run is there already; its folder would leave no room for the reason.
            reason = printable(problem).replace(f"{view.comparison.runs[index].record.folder}/", "")
            lines.append([*_table_row(start, cells, layout[:1]), (f"  {reason}", "bad")])
        else:
            lines.append(_table_row(start, cells, layout))
    return [
        crop(line, width) for line in (*lines, *(_group_line(view, group) for group in shown_groups(view)))
    ]


def _headings(view: CompareView) -> list[Line]:
    at = "now" if view.cursor is None else f"at {_position(view)}"
    second = _second_metric(view)
    names = ["", "status", at, f"★ {short_metric(view.metric)}", "@ step"]
    names += [f"★ {short_metric(second)}" if second else "", "to best", "time"]
    return [[(shorten(printable(name), 24), "faint")] if name else [] for name in names]


def _cells(view: CompareView, index: int) -> list[Line]:
    """Return the cells of a run, in the order of the headings."""
    run = view.comparison.runs[index]
    tone = "faint" if index in view.hidden else run_tone(index)
    name: Line = [(printable(run.record.name[:200]), "bold strong" if index == view.reference else "text")]
    word = status_word(run.record)
    sign, status_tone = status_look(word)
    status: Line = [(f"{sign} {word}", status_tone)]
    if run.problem:
        return [name, *([[]] * (len(RANKS) - 1))]
    value = run.final(view.metric) if view.cursor is None else _at_cursor(view, run)
    best = run.best(view.metric)
    second = _second_metric(view)
    other = run.best(second) if second else None
    seconds = run.state.active_seconds if run.state else None
    return [
        name,
        status,
        [("-", "faint")] if value is None else [(format_metric(value), tone)],
        [(format_metric(best[1]), f"bold {tone}")] if best else [],
        [(f"{best[0]:,}", "muted")] if best else [],
        [(format_metric(other[1]), "text")] if other else [],
        _to_best(view, best),
        [(format_duration(seconds), "muted")] if seconds else [],
    ]


def _to_best(view: CompareView, best: tuple[int, float] | None) -> Line:
    """Return the distance to the best of all runs."""
    found = [each[1] for run in view.comparison.runs if (each := run.best(view.metric))]
    if best is None or not found:
        return []
    higher = is_higher_better(view.comparison.runs[0].record, view.metric)
    champion = max(found) if higher else min(found)
    if best[1] == champion:
        return [("best", "bold good")]
    return [(f"{best[1] - champion:+.4g}", "muted")]


def _second_metric(view: CompareView) -> str:
    """Return the first other metric of the evaluations; empty without one."""
    names = (name for name in view.comparison.metrics if name.startswith("val/") and name != view.metric)
    return next(names, "")


def _position(view: CompareView) -> str:
    if view.cursor is None:
        return ""
    unit = view.x_unit
    return unit.format_exact(float(unit.of_steps(np.array([view.cursor]))[0]))


def _at_cursor(view: CompareView, run: ComparedRun) -> float | None:
    return None if view.cursor is None else run.value_at(view.metric, view.step_of(run, view.cursor))


def _table_row(start: Line, cells: Sequence[Line], layout: Sequence[tuple[int, int]]) -> Line:
    line = list(start)
    for index, room in layout:
        cell = cells[index]
        if index == 0 and cell:
            cell = [(shorten(cell[0][0], room, "middle"), cell[0][1])]
        blank = (" " * max(0, room - line_width(cell)), "text")
        line += [(" " * GAP, "text")] if index else []
        line += [*cell, blank] if index < FIRST_NUMBER else [blank, *cell]
    return line


def _group_line(view: CompareView, group: SeedGroup) -> Line:
    """Draw mean and range of runs that differ in the seed alone."""
    runs = view.comparison.runs
    bests = group.statistics([best[1] if (best := run.best(view.metric)) else None for run in runs])
    now = group.statistics(
        [run.final(view.metric) for run in runs]
        if view.cursor is None
        else statistics_at(view, group.members, view.cursor)
    )
    numbers = ", ".join(str(index + 1) for index in group.members)
    line: Line = [(" ▒▒ ", run_tone(group.members[0])), (f"{numbers}: same but the seed  ", "muted")]
    for name, found in (("now" if view.cursor is None else "here", now), ("best", bests)):
        if found:
            mean, low, high = map(format_metric, found)
            line += [(f"{name} ", "faint"), (mean, "bold strong"), (f" ({low} to {high})  ", "muted")]
    return line


def draw_settings(view: CompareView, width: int) -> list[Line]:
    """Draw the settings that differ, or all: a column for each shown run.

    What differs from the reference is bold in the run's color.
    """
    shown = [index for index in view.shown if view.comparison.runs[index].settings]
    if not shown:
        return [crop([(" no run's settings can be read", "faint")], width)]
    keys = view.comparison.differing
    if view.all_settings:
        keys = list(dict.fromkeys(key for run in view.comparison.runs for key in run.settings))
    if not keys:
        return [crop([(" the settings are the same", "faint")], width)]
    key_width = min(max(map(len, keys)) + 1, max(KEY_WIDTH, width // 4), width // 2)
    room = max(LEAST_VALUE, (width - key_width - 1) // len(shown) - 2)
    count = max(1, min(len(shown), (width - key_width - 1) // (LEAST_VALUE + 2)))
    hidden = len(shown) - count
    shown = shown[:count]
    label = f" {count} of {count + hidden} runs fit" if hidden else ""
    head: Line = [(padded(label, key_width + 1), "faint")]
    for index in shown:
        name = shorten(printable(view.comparison.runs[index].record.name), room - 2, "middle")
        head += [("━ ", run_tone(index)), (padded(name, room), "text")]
    lines = [crop(head, width)]
    reference = view.comparison.runs[view.reference]
    for key in keys:
        name = padded(shorten(printable(key), key_width - 1, "start"), key_width)
        line: Line = [(" ", "text"), (name, "muted")]
        for index in shown:
            value = padded(shorten(_setting(view, index, key), room), room + 2)
            line.append((value, _value_tone(view, reference, index, key)))
        lines.append(crop(line, width))
    return [*lines, *_changes(view, shown, key_width, room, width)]


def _setting(view: CompareView, index: int, key: str) -> str:
    return format_setting(view.comparison.runs[index].settings.get(key))


def _value_tone(view: CompareView, reference: ComparedRun, index: int, key: str) -> str:
    if index == view.reference:
        return "text"
    same = format_setting(reference.settings.get(key)) == _setting(view, index, key)
    return "faint" if same else f"bold {run_tone(index)}"


def _changes(view: CompareView, shown: Sequence[int], key_width: int, room: int, width: int) -> list[Line]:
    """Draw how often people changed each run, if they did."""
    counts = [len(state.changes) if (state := view.comparison.runs[index].state) else 0 for index in shown]
    if not any(counts):
        return []
    line: Line = [(" ", "text"), (padded("changed by hand", key_width), "muted")]
    for count in counts:
        line += [("◆ " if count else "  ", "steer"), (padded(str(count or ""), room), "text")]
    return [crop(line, width)]
