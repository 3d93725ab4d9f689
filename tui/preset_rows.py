"""The rows of the menu's list of presets: the state of their data, and what runs of them have reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric
from torchconsole.tui.metric_direction import is_higher_better, monitored_metric
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.lines import Line, line_width

if TYPE_CHECKING:
    from torchconsole.engine.config.data_location import DataLocation
    from torchconsole.engine.config.preset_index import PresetEntry
    from torchconsole.engine.run.record import RunRecord

UNGROUPED = "Your own"
"""Heading for presets without a group. All presets that ship have one."""

LEAST_TITLE = 10
MARGIN = 4

PRESET_ORDERS = ("group", "name", "runs")
"""How the presets are sorted: in groups, by their names, or those with the most runs first."""

_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class PresetFigures:
    """What the runs of a preset have reached: the best value of the metric that most of them monitor.

    `seconds` is the training time of the run with the best value; None if it is not known.
    """

    runs: int
    live: int
    metric: str = ""
    best: float | None = None
    seconds: float | None = None


def figures_by_preset(records: Iterable[RunRecord]) -> dict[str, PresetFigures]:
    """Return the figures of each preset that has runs, by its name."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.preset:
            found.setdefault(record.preset, []).append(record)
    return {name: _figures(runs) for name, runs in found.items()}


def grouped(presets: Iterable[PresetEntry]) -> list[PresetEntry | str]:
    """Return the presets in the order of the menu, with the heading of each group before its presets."""
    rows: list[PresetEntry | str] = []
    for group, members in groupby(sorted(presets, key=_sort_key), key=lambda preset: preset.group):
        rows += [group or UNGROUPED, *members]
    return rows


def ordered_presets(
    presets: Iterable[PresetEntry], order: str, figures: Mapping[str, PresetFigures], *, is_reversed: bool
) -> list[PresetEntry | str]:
    """Return the presets in one of PRESET_ORDERS; groups keep their headings."""
    if order == "group":
        rows = grouped(presets)
        if not is_reversed:
            return rows
        starts = [index for index, row in enumerate(rows) if isinstance(row, str)]
        groups = [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]
        return [row for group in reversed(groups) for row in (group[0], *reversed(group[1:]))]

    def key(preset: PresetEntry) -> tuple[int, str]:
        found = figures.get(preset.name)
        return (-found.runs if found and order == "runs" else 0, preset.name)

    return [*sorted(presets, key=key, reverse=is_reversed)]


def matching_presets(presets: Iterable[PresetEntry], query: str) -> list[PresetEntry]:
    """Return the presets with every word of a query in name, title, description, group or needs."""
    words = query.casefold().split()
    return [preset for preset in presets if all(word in _searched_text(preset) for word in words)]


def data_look(preset: PresetEntry, place: DataLocation | None) -> tuple[str, str, str]:
    """Return the sign and the tone for the state of a preset's data, and what it needs, if it does."""
    if preset.problem:
        return "✗", "bad", "no such file" if preset.script else "cannot be read"
    if preset.script:
        return "●", "good", "" if preset.needs else "a program"
    state = place.state if place else "unknown"
    if state == "here":
        return "●", "good", ""
    if state == "download":
        return "○", "attn", "downloads"
    if state == "missing":
        return "○", "faint", "not found" if place and place.path else "needs a path"
    return " ", "text", ""


def preset_row(
    preset: PresetEntry,
    place: DataLocation | None,
    figures: PresetFigures | None,
    width: int,
    name_width: int,
) -> Line:
    """Draw a preset: sign, name, title, and at the right the best value and the time of its runs.

    Without runs there is what it needs instead, if the title leaves room for that. Then the title gives way
    first, the time next, and the value last; the star of the value needs room beside the whole title.
    """
    sign, tone, needed = data_look(preset, place)
    is_dim = tone == "faint"
    name = shorten(printable(preset.name), min(name_width, width - MARGIN - 1))
    line: Line = [("  ", "text"), (f"{sign} ", tone), (name, "faint" if is_dim else "text")]
    value, time = _shown_figures(figures)
    right: Line = [(value, "text"), (time, "muted")] if value else []
    if needed or not right:
        right = [(needed or shorten(printable(preset.needs), width // 3), "faint")]
    start = MARGIN + name_width + 2
    title_cells = max(LEAST_TITLE, cell_len(printable(preset.title)))
    is_tight = width - 1 - start - line_width(right) - 2 < title_cells <= width - 1 - start
    if is_tight and not value and not needed:
        right = []  # the preview tells what it needs
    star: Line = [("★ ", "attn")] if value and not needed else []
    if title_cells <= width - 1 - start - line_width([*star, *right]) - 2:
        right = [*star, *right]
    room = width - 1 - line_width(line) - line_width(right) - 2
    if room < 0 and len(right) > 1:
        right = right[:1]
    if width - 1 - line_width(line) - line_width(right) < 2:
        right = []
    title_room = width - 1 - start - line_width(right) - 2
    if title_room >= LEAST_TITLE:
        gap = " " * (start - line_width(line))
        title = shorten(printable(preset.title), title_room)
        line += [(gap, "text"), (title, "faint" if is_dim else "bad" if preset.problem else "muted")]
    return [*line, (" " * (width - 1 - line_width(line) - line_width(right)), "text"), *right]


def format_time(seconds: float) -> str:
    """Format a training time in its largest unit: 0.4 s, 13 s, 3 min, 2 h."""
    for size, unit in _TIME_UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 1 else f"{seconds:.0f} s"


def _shown_figures(figures: PresetFigures | None) -> tuple[str, str]:
    """Return the best value and the time, with a fixed width."""
    if figures is None or figures.best is None:
        return "", ""
    time = format_time(figures.seconds) if figures.seconds else ""
    return format_metric(figures.best), f"{time:>8}"


def _figures(runs: Sequence[RunRecord]) -> PresetFigures:
    live = sum(run.is_live for run in runs)
    reached = [run for run in runs if run.best]
    if not reached:
        return PresetFigures(len(runs), live)
    metrics = [monitored_metric(run) for run in reached]
    metric = max(dict.fromkeys(metrics), key=metrics.count)
    having = [run for run in reached if monitored_metric(run) == metric]
    best = (max if is_higher_better(having[0], metric) else min)(having, key=_best_value)
    return PresetFigures(len(runs), live, metric, _best_value(best), training_seconds(best))


def _best_value(run: RunRecord) -> float:
    return run.best["value"] if run.best else 0.0


def training_seconds(run: RunRecord) -> float | None:
    """Return how long a run has trained; None if its record does not tell."""
    seconds = run.details.get("active_seconds")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e12:
        return float(seconds)
    return None


def _searched_text(preset: PresetEntry) -> str:
    searched = (preset.name, preset.title, preset.description, preset.group, preset.needs)
    return "\n".join(searched).casefold()


def _sort_key(preset: PresetEntry) -> tuple[bool, str, bool, str]:
    """Sort by group, and in each group the presets that run on any machine first."""
    return bool(preset.group), preset.group, not preset.bundled, preset.name
