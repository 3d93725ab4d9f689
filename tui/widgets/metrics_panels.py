"""The metrics panel: every metric with its latest value, its best, its trend and a small curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from torchconsole.engine.text import printable
from torchconsole.tui.device_readings import WAIT_SHARE
from torchconsole.tui.formatting import format_named_metric, format_percent
from torchconsole.tui.line_speed import draws
from torchconsole.tui.metric_values import MetricValue, metric_values
from torchconsole.tui.screens.run_plan import Stage
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.table import shorten
from torchconsole.tui.widgets.early_stopping import stopping_summary
from torchconsole.tui.widgets.frames import crop, ends, fill, frame, rule, spark
from torchconsole.tui.widgets.lines import Line, LineWidget, line_width
from torchconsole.tui.widgets.waves import wave

ARROWS = {"up": "↑", "down": "↓", "flat": "→"}
TONES = {"train": "train", "val": "val", "other": "text"}
_DIM = {"train": "banddot", "val": "valdim", "other": "faint"}

_VALUE_WIDTH, _BEST_WIDTH = 7, 9
_SPARK_COLUMNS = 14
_WAVE_ROWS = (2, 1)
"""Rows below a validation metric, and below another one."""
_LARGE_WAVE_COLUMNS = 18
_LAG_FROM = 64


class MetricsPanel(LineWidget):
    """All metrics in a frame; from small on, the two most important ones and a summary of the rest."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self.stage: Stage = "normal"

    def draw(self, width: int, height: int) -> list[Line]:
        """As many metrics as there is room for, those with curves first."""
        metrics = metric_values(self._state.run, self._state.history)
        if self.stage == "tiny":
            return [crop(_tiny_line(_without_losses(metrics), width), width)]
        if self.stage == "small":
            return [crop(line, width) for line in _small_lines(self._state, metrics, width, height)]
        star: Line = [("★", "attn"), (" best", "faint")]
        large = self.stage == "large"
        losses = _losses(metrics)
        shown = metrics if large else [*(one for one in metrics if one not in losses), *losses]
        body = _large_body if large else _body
        lines = body(shown, width - 4, height - 2, has_waves=draws(self.app, "waves"))
        return frame(lines, width, height, [("metrics", "bold strong")], star)


def _losses(metrics: list[MetricValue]) -> list[MetricValue]:
    return [metric for metric in metrics if metric.name in ("train/loss", "val/loss")]


def _without_losses(metrics: list[MetricValue]) -> list[MetricValue]:
    """Leave out what the loss chart's legend shows, unless nothing else is left."""
    return [metric for metric in metrics if metric not in _losses(metrics)] or metrics


def metric_text(metric: MetricValue) -> str:
    """Return the latest value as text."""
    return format_named_metric(metric.name, metric.value)


def _value_span(metric: MetricValue, width: int = _VALUE_WIDTH) -> tuple[str, str]:
    text = metric_text(metric)
    is_broken = metric.value is not None and not math.isfinite(metric.value) and text != "n/a"
    tone = "bold bad" if is_broken else "muted" if text == "n/a" else f"bold {TONES[metric.split]}"
    return (f"{text:>{width}}", "bold strong" if tone == "bold text" else tone)


def _arrow_span(metric: MetricValue) -> tuple[str, str]:
    arrow = ARROWS.get(metric.trend or "", " ")
    improving = metric.is_improving
    return (arrow, "faint" if improving is None else "good" if improving else "attn")


def _best_spans(metric: MetricValue, width: int = _BEST_WIDTH - 2) -> Line:
    if metric.best is None:
        return [(" " * (width + 2), "text")]
    return [("★", "attn"), (f" {format_named_metric(metric.name, metric.best):>{width}}", "text")]


def _head(metric: MetricValue, width: int) -> Line:
    """`val/accuracy    0.9354 ↓  ★ 0.9426`."""
    right: Line = [_value_span(metric), (" ", "text"), _arrow_span(metric), ("  ", "text")]
    right += _best_spans(metric)
    return ends([(_label(metric, width - line_width(right) - 1), "muted")], right, width)


def _label(metric: MetricValue, width: int) -> str:
    """Return the name; where it is too long without its split, which the color of the value tells."""
    name = printable(metric.name)
    if cell_len(name) > width and metric.split != "other":
        name = name.partition("/")[2]
    return shorten(name, width, "middle")


def _body(metrics: list[MetricValue], width: int, height: int, *, has_waves: bool) -> list[Line]:
    """One line for each metric; with what is left of the rows, curves below them."""
    if not metrics:
        return [[("no metrics yet", "faint")]]
    if len(metrics) > height:
        rest = len(metrics) - height + 1
        more: Line = [(f"{rest} more: ", "faint"), ("m", "bold strong"), (" in the charts", "faint")]
        return [*(_head(metric, width) for metric in metrics[: height - 1]), crop(more, width)]
    waves = _wave_rows(metrics, height - len(metrics))
    lines: list[Line] = []
    for metric, rows in zip(metrics, waves, strict=True):
        lines += [_head(metric, width), *_wave_lines(metric, width, rows, has_waves)]
    return lines


def _wave_rows(metrics: list[MetricValue], spare: int) -> list[int]:
    """Give each curve its rows, from the first metric on, and what is left of them to the first again."""
    rows = [0] * len(metrics)
    for most in ((1, 1), _WAVE_ROWS, (3, 2), (4, 3)):
        for index, metric in enumerate(metrics):
            wanted = most[metric.split != "val"]
            if rows[index] < wanted and spare > 0:
                taken = min(spare, wanted - rows[index])
                rows[index] += taken
                spare -= taken
    return rows


def _wave_lines(metric: MetricValue, width: int, rows: int, has_waves: bool) -> list[Line]:
    """Return the curve of a metric; over a slow line a short one, in the first row."""
    if not rows:
        return []
    if not has_waves:
        blank: Line = [(" " * width, "text")]
        return [fill(_spark_spans(metric, min(_SPARK_COLUMNS, width)), width), *[blank] * (rows - 1)]
    count = len(metric.steps) if metric.split == "val" else _settled(metric.steps)
    drawn = wave(metric.steps[:count], metric.values[:count], width, rows, metric.best_step)
    tone = TONES[metric.split] if metric.split != "other" else "muted"
    lines: list[Line] = [[(row, tone)] for row in drawn.rows]
    if drawn.best:
        column, row = drawn.best
        text = drawn.rows[row]
        lines[row] = [(text[:column], tone), ("★", "attn"), (text[column + 1 :], tone)]
    return lines


def _settled(steps: NDArray[np.int64]) -> int:
    """Return how many of the steps a curve shows that is drawn anew only when the run is 1/16 longer."""
    if len(steps) < _LAG_FROM:
        return len(steps)
    grain = 1 << max(0, int(steps[-1]).bit_length() - 5)
    return int(np.searchsorted(steps, int(steps[-1]) // grain * grain, side="right"))


def _large_body(metrics: list[MetricValue], width: int, height: int, *, has_waves: bool) -> list[Line]:
    """Name, curve and values side by side: three rows for each metric while they fit, then one."""
    if not metrics:
        return [[("no metrics yet", "faint")]]
    rows = max(1, min(4, height // len(metrics)))
    if rows == 1:
        return _body(metrics, width, height, has_waves=has_waves)
    lines: list[Line] = []
    for metric in metrics[: height // rows]:
        right: Line = [_value_span(metric, 8), (" ", "text"), _arrow_span(metric), ("  ", "text")]
        right += _best_spans(metric)
        room = width - line_width(right) - 1
        columns = max(_LARGE_WAVE_COLUMNS, room // 2)
        names = room - columns - 1
        curve = _wave_lines(metric, columns, rows, has_waves)
        for row in range(rows):
            name = _label(metric, names) if row == 0 else ""
            left = fill([(name, "muted")], names + 1)
            lines.append([*left, *curve[row], *(right if row == 0 else [])])
    return lines


def _spark_spans(metric: MetricValue, columns: int = _SPARK_COLUMNS) -> Line:
    text = spark(metric.values[-columns:].tolist(), columns)
    split = metric.split
    blank = " " * (columns - len(text))
    return [(f"{blank}{text[:-1]}", _DIM[split]), (text[-1:], TONES[split] if split != "other" else "muted")]


def _small_lines(state: ConsoleState, metrics: list[MetricValue], width: int, height: int) -> list[Line]:
    """A rule, and metrics at the left of early stopping, the gradient norm and the wait for data."""
    shown = _without_losses(metrics)
    own = [metric for metric in shown if metric.split != "other"] or shown
    others = [metric for metric in shown if metric.split == "other" and metric not in own]
    right = [stopping_summary(state, width - 48), _other_line(state, others)]
    left_width = 44
    lines: list[Line] = [rule(width, [("metrics", "bold strong")])]
    for row in range(height - 1):
        left = _small_metric(own[row], left_width) if row < len(own) else []
        if not metrics and row == 0:
            left = [("no metrics yet", "faint")]
        rest = right[row] if row < len(right) else []
        lines.append([(" ", "text"), *fill(left, left_width), ("  ", "text"), *crop(rest, width - 48)])
    return lines


def _small_metric(metric: MetricValue, width: int) -> Line:
    """`val/accuracy 0.9354 ★ 0.9426 ▃▄▅▆▇`."""
    values: Line = [(" ", "text"), _value_span(metric, 6), (" ", "text"), *_best_spans(metric, 6)]
    values += [(" ", "text"), *_spark_spans(metric)]
    room = width - line_width(values)
    return [*fill([(_label(metric, room), "muted")], room), *values]


def _other_line(state: ConsoleState, others: list[MetricValue]) -> Line:
    line: Line = []
    for metric in others[:1]:
        name = "grad" if metric.name == "grad_norm" else printable(metric.name)
        line += [(f"{name} ", "muted"), _value_span(metric, 6), (" ", "text"), *_spark_spans(metric, 8)]
        line.append(("  ", "text"))
    wait = state.run.metrics.get("data_wait")
    if wait is not None:
        tone = "attn" if wait >= WAIT_SHARE else "text"
        line += [("wait ", "muted"), (f"{format_percent(wait):>4}", tone)]
    return line


def _tiny_line(metrics: list[MetricValue], width: int) -> Line:
    if not metrics:
        return [(" no metrics yet", "faint")]
    metric = metrics[0]
    values: Line = [(" ", "text"), _value_span(metric, 6), (" ", "text"), *_best_spans(metric, 6)]
    room = width - line_width(values) - 2
    columns = min(_SPARK_COLUMNS, max(0, room - 12))
    name = _label(metric, room - columns - 1)
    return ends([(f" {name}", "muted"), *values], _spark_spans(metric, columns), width - 1)
