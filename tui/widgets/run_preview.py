"""The menu's preview of the highlighted run: its monitored metric, and how it differs from its preset."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_duration, format_metric, format_number, format_percent
from torchconsole.tui.metric_direction import monitored_metric
from torchconsole.tui.preset_rows import training_seconds
from torchconsole.tui.run_listing import PROBLEMS, format_age, problem
from torchconsole.tui.run_rows import bar, status_look, status_word
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.frames import FramedLines, crop, framed, inner_size
from torchconsole.tui.widgets.lines import Line, line_width, wrap
from torchconsole.tui.widgets.preset_preview import short_path
from torchconsole.tui.widgets.small_charts import metric_chart

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.run_outline import RunOutline

LEAST_CHART, MOST_CHART = 4, 14
"""Rows of the chart."""

LONGEST_NOTE = 400
MOST_VALUE = 60

_EDGES = 9
"""Cells of the upper edge besides the name and the remark."""


class RunPreview(FramedLines):
    """A chart above the run's figures."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._record: RunRecord | None = None
        self._outline: RunOutline | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the outline of the run that is shown has been read."""
        return self._outline is not None

    def show(self, record: RunRecord | None, now: float) -> None:
        """Show a run. Its outline, if it has been read, stays until a newer one comes."""
        self._record, self.now = record, now
        if self._outline and (record is None or record.folder != self._outline.record.folder):
            self._outline = None
        self.redraw()

    def show_outline(self, outline: RunOutline) -> None:
        """Show what was read of the run, unless another one is shown by now."""
        if self._record and outline.record.folder == self._record.folder:
            self._outline = outline
            self.redraw()

    def about(self, width: int) -> list[Line]:
        """Return everything about the run."""
        record = self._record
        if record is None:
            return []
        place = printable(short_path(Path(record.folder)))
        lines: list[Line] = [
            *([(piece, "bold strong")] for piece in wrap(printable(record.name), width)),
            *([(piece, "faint")] for piece in wrap(place, width)),
            [],
        ]
        if record.status in PROBLEMS:
            return [*lines, *([(piece, "text")] for piece in wrap(problem(record), width))]
        return [*lines, *run_facts(record, self._outline, width, self.now)]

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame, the chart and the lines below it."""
        record = self._record
        inner, rows = inner_size(width, height, boxed=self.boxed)
        if record is None:
            return framed([], width, height, [], [], has_focus=False, boxed=self.boxed)
        word = status_word(record)
        sign, tone = status_look(word)
        name = printable(record.name[:200])
        remark = f"{sign} {word}" if cell_len(name) + cell_len(word) + 2 <= width - _EDGES else sign
        title: Line = [(shorten(name, width - _EDGES - cell_len(remark), "middle"), "bold strong")]
        body = self._body(record, inner - 2, rows)
        return framed(
            [[(" ", "text"), *line] for line in body],
            width, height, title, [(remark, tone)], has_focus=False, boxed=self.boxed,
        )  # fmt: skip

    def _body(self, record: RunRecord, width: int, rows: int) -> list[Line]:
        if record.status in PROBLEMS:
            return [[(piece, "text")] for piece in wrap(problem(record), width)]
        facts = run_facts(record, self._outline, width, self.now)
        chart_rows = min(max(MOST_CHART, rows * 2 // 3), rows - len(facts) - 1)
        if chart_rows < LEAST_CHART:
            return facts
        return [*metric_chart(self._outline, width, chart_rows), [], *facts]


def run_facts(record: RunRecord, outline: RunOutline | None, width: int, now: float) -> list[Line]:
    """Return the lines about a run that can be read."""
    lines = [line for line in (_values(outline), _best(record), _progress(record, width)) if line]
    if record.reason and record.status in ("failed", "lost", "interrupted"):
        lines += [[(piece, "bad")] for piece in wrap(printable(record.reason[:LONGEST_NOTE]), width)[:4]]
    if record.problem:
        lines += [
            [(piece, "attn")] for piece in wrap(f"! {printable(record.problem[:LONGEST_NOTE])}", width)[:2]
        ]
    if record.tags:
        lines.append([("tags  ", "muted"), (" ".join(map(printable, record.tags)), "steer")])
    if record.note:
        lines += [[(piece, "text")] for piece in wrap(printable(record.note[:LONGEST_NOTE]), width)[:3]]
    if outline is not None:
        lines += _processes(outline) + _changes(outline) + _settings(outline, record)
    lines.append(_times(record, outline, now))
    return [crop(line, width) for line in lines]


def format_setting(value: Any) -> str:
    """Format the value of a setting in a few cells; a key that is not set is `-`."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format_number(value, 4) if math.isfinite(value) else str(value)
    text = value if isinstance(value, str) else repr(value[:20] if isinstance(value, list) else value)
    return shorten(printable(text[: 4 * MOST_VALUE]), MOST_VALUE)


def _values(outline: RunOutline | None) -> Line:
    """Draw the latest values of the monitored metric of both splits."""
    if outline is None or outline.state is None:
        return []
    line: Line = []
    for name, sign, tone in ((outline.counterpart, "━", "train"), (outline.metric, "•", "val")):
        value = outline.state.metrics.get(name)
        if value is not None:
            split = name.partition("/")[0]
            line += [
                (f"{sign} ", tone),
                (f"{split} ", "muted"),
                (format_metric(value), f"bold {tone}"),
                ("  ", "text"),
            ]
    return line


def _best(record: RunRecord) -> Line:
    if not record.best:
        return []
    best = record.best
    return [
        ("★ ", "attn"),
        (f"{printable(best['metric'][:60])} ", "muted"),
        (format_metric(best["value"]), "bold strong"),
        (f" @ {best['step']:,}", "muted"),
    ]


def _progress(record: RunRecord, width: int) -> Line:
    tone = status_look(status_word(record))[1]
    total = f"/{record.total_epochs:,}" if record.total_epochs else ""
    start: Line = [("epoch ", "muted"), (f"{record.epoch:,}", "bold strong"), (f"{total}  ", "muted")]
    if record.progress is None:
        return [*start, (f"step {record.step:,}", "muted")]
    room = max(4, min(16, width - line_width(start) - 6))
    return [*start, *bar(record.progress, room, tone), (f" {format_percent(record.progress)}", "bold strong")]


def _processes(outline: RunOutline) -> list[Line]:
    """Draw how many processes train together, with their batch and lr."""
    state = outline.state
    if state is None or state.processes < 2:
        return []
    from torchconsole.tui.rank_texts import describe_batch, describe_lr

    line: Line = [("processes  ", "muted"), (f"{state.processes:,}", "bold strong")]
    for name, text in (("batch", describe_batch(state)), ("lr", describe_lr(state))):
        if text:
            line += [(f"  {name} ", "muted"), (text, "text")]
    return [line]


def _changes(outline: RunOutline) -> list[Line]:
    """Draw what people changed: how often each command was applied."""
    if outline.state is None or not outline.state.changes:
        return []
    from torchconsole.engine.protocol.commands import ChangeSetting
    from torchconsole.tui.run_log import command_name

    names = Counter(
        f"set {command.key}"
        if isinstance(command := applied.command, ChangeSetting)
        else command_name(command)
        for applied in outline.state.changes
    )
    texts = [f"{name}{f' x{count}' if count > 1 else ''}" for name, count in names.most_common(3)]
    return [[("changed  ", "muted"), ("◆ ", "steer"), (printable(", ".join(texts)), "text")]]


def _settings(outline: RunOutline, record: RunRecord) -> list[Line]:
    """Draw the settings that differ from those of the preset."""
    if outline.preset_problem:
        return [[(printable(outline.preset_problem), "faint")]]
    if outline.problem:
        return [[(printable(outline.problem), "bad")]]
    if not outline.settings:
        return (
            [[("settings  ", "muted"), (f"as in {printable(record.preset[:60])}", "faint")]]
            if record.preset
            else []
        )
    lines: list[Line] = []
    for key, before, now in outline.settings:
        value: Line = [(format_setting(now), "bold strong"), (f"  was {format_setting(before)}", "faint")]
        lines.append([(f"{printable(key[:80])} ", "muted"), *value])
    return lines


def _times(record: RunRecord, outline: RunOutline | None, now: float) -> Line:
    """Draw how long a live run will take, or an ended one took, where it is, and how old it is."""
    line: Line = []
    eta = outline.state.eta_seconds if outline and outline.state and record.is_live else None
    seconds = training_seconds(record)
    if eta is not None:
        line = [("ETA ", "muted"), (format_duration(eta), "bold strong"), ("  ", "text")]
    elif seconds is not None:
        line = [("took ", "muted"), (format_duration(seconds), "text"), ("  ", "text")]
    line += [(f"{format_age(now - record.created)} ago", "faint")]
    return [*line, (f" on {printable(record.host[:60])}", "faint")] if record.host else line


def line_preview(record: RunRecord, width: int) -> Line:
    """Return the preview in one line, for terminals without room for a pane."""
    sign, tone = status_look(status_word(record))
    line: Line = [
        (f"{sign} ", tone),
        (shorten(printable(record.name[:200]), width // 3), "strong"),
        ("  ", "text"),
    ]
    if record.status in PROBLEMS:
        return crop([*line, (problem(record), "muted")], width)
    metrics = record.details.get("metrics")
    metric = monitored_metric(record)
    shown = ((f"train/{metric.rpartition('/')[2]}", "━", "train"), (metric, "•", "val"))
    for name, dot, color in shown:
        value = metrics.get(name) if isinstance(metrics, dict) else None
        if isinstance(value, int | float):
            line += [(f"{dot} ", color), (format_metric(value), color), ("  ", "text")]
    parts = [_best(record)]
    if record.total_epochs:
        parts.append([(f"ep {record.epoch:,}/{record.total_epochs:,}", "muted")])
    for part in parts:
        if line_width(line) + line_width(part) <= width:
            line += [*part, ("  ", "text")]
    return crop(line, width)
