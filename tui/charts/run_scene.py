"""What the charts of a run show: which metrics share a chart, how each is drawn, and the marks below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol.buckets import Rows, join
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.panels import Mark, Panel
from torchconsole.tui.charts.x_axis import XAxis, stage_end
from torchconsole.tui.formatting import format_lr, format_number
from torchconsole.tui.lr_preview import LrPreview
from torchconsole.tui.metric_values import metric_values
from torchconsole.tui.run_log import describe_effect
from torchconsole.tui.state import ConsoleState

SPLITS = ("train", "val", "test")
SMOOTHINGS = (0.0, 0.9, 0.99)

_TONES = {"train": "train", "val": "val", "test": "good", "lr": "steer"}
_EMA_TONE, _OTHER_TONE = "valdim", "muted"
_EMA = "ema_"
_UNCHARTED = frozenset({"samples_per_sec", "data_wait"})
"""Metrics that have no chart unless they are chosen."""

_UNITS = {"data_wait": "share of the time spent waiting for batches", "samples_per_sec": "samples a second"}

_PENDING_DIGITS = 2


@dataclass(frozen=True)
class ChartSettings:
    """What a user has chosen for all charts. `metrics`: those that are shown; empty for the usual ones.

    `first` is the chart that gets most of the room. `detail` has more rows than the history for a part of it.
    """

    smoothing: float = 0.9
    log: frozenset[str] = frozenset({"loss"})
    metrics: Sequence[str] = ()
    first: str = "loss"
    detail: Mapping[str, Rows] = field(default_factory=dict)


def group_of(metric: str) -> str:
    """Return the chart of a metric: those of one name share one, whatever their split."""
    split, slash, name = metric.partition("/")
    return (name if slash and split in SPLITS else metric).removeprefix(_EMA)


def groups_of(metrics: Sequence[str]) -> dict[str, list[str]]:
    """Return charts and their metrics: loss first, lr last, train before val."""
    groups: dict[str, list[str]] = {}
    for metric in sorted(metrics, key=_order):
        groups.setdefault(group_of(metric), []).append(metric)
    return groups


def _order(metric: str) -> tuple[int, bool, str, bool, int, str]:
    split, _, name = metric.partition("/")
    group = group_of(metric)
    rank = 0 if group == "loss" else 3 if group == "lr" else 1 if split in SPLITS else 2
    return rank, group in _UNCHARTED, group, name.startswith(_EMA), (*SPLITS, split).index(split), metric


def usual_groups(metrics: Sequence[str]) -> list[str]:
    """Return the charts that are shown unless others are chosen: loss, one of quality, gradients, lr."""
    groups = groups_of(metrics)
    evaluated = [name for name, own in groups.items() if name != "loss" and any("val/" in one for one in own)]
    chosen = ["loss", *sorted(evaluated, key=lambda name: name != "accuracy")[:1], "grad_norm", "lr"]
    return [name for name in chosen if name in groups]


def shown_metrics(state: ConsoleState, settings: ChartSettings) -> list[str]:
    """Return the metrics that have a curve, in the order of their charts."""
    metrics = list(state.history)
    chosen = set(settings.metrics) & set(metrics)
    usual = set(usual_groups(metrics))
    groups = groups_of(metrics)
    names = [name for own in groups.values() for name in own]
    return [name for name in names if (name in chosen if chosen else group_of(name) in usual)]


def run_panels(state: ConsoleState, settings: ChartSettings) -> list[Panel]:
    """Return the charts of a run from top to bottom."""
    groups = groups_of(shown_metrics(state, settings))
    bests = {metric.name: metric.best_step for metric in metric_values(state.run, state.history)}
    names = sorted(groups, key=lambda name: name != settings.first)
    panels = [_panel(state, name, groups[name], settings, bests) for name in names]
    return [panel for panel in panels if panel.curves] or [Panel("loss", (), "loss" in settings.log)]


def _panel(
    state: ConsoleState,
    name: str,
    metrics: Sequence[str],
    settings: ChartSettings,
    bests: Mapping[str, int | None],
) -> Panel:
    is_log = name in settings.log
    if name == "lr":
        return Panel(
            "lr",
            lr_curves(state),
            is_log,
            is_exact=True,
            note=_lr_note(state),
            short_note=_short_lr_remark(state),
            format_value=format_lr,
        )
    curves = [
        _with_detail(
            metric_curve(state, metric, settings.smoothing, bests.get(metric)), settings.detail.get(metric)
        )
        for metric in metrics
    ]
    unit = state.run.loss_unit if name == "loss" else _UNITS.get(name, "")
    note: Line = [(f"  {unit}", "muted")] if unit else []
    return Panel(
        name.replace("_", " "), [curve for curve in curves if len(curve.rows.steps)], is_log, note=note
    )


def _with_detail(curve: Curve, detail: Rows | None) -> Curve:
    """Return a curve with more rows for a part of it."""
    if detail is None or not len(detail.steps):
        return curve
    rows = curve.rows
    before = rows.take(rows.steps < detail.steps[0])
    after = rows.take(rows.steps > detail.steps[-1])
    return replace(curve, rows=join([before, detail, after]))


def metric_curve(state: ConsoleState, metric: str, smoothing: float, best: int | None = None) -> Curve:
    """Return the curve of a metric: evaluations as marks, others as a smoothed line on a band."""
    split, slash, name = metric.partition("/")
    is_evaluation = split == "val" and bool(slash)
    tone = _TONES.get(split if slash else metric, _OTHER_TONE)
    return Curve(
        label=_label(split, name) if slash and split in SPLITS else "",
        tone=_EMA_TONE if name.startswith(_EMA) else tone,
        rows=state.history[metric].rows,
        kind="evaluations" if is_evaluation else "exact" if metric == "lr" else "line",
        has_band=not is_evaluation and metric != "lr",
        smoothing=smoothing,
        best=best,
    )


def _label(split: str, name: str) -> str:
    return "ema" if name.startswith(_EMA) else split


def lr_curves(state: ConsoleState) -> list[Curve]:
    """Return the lr's history up to the lr in force, which a command may have changed, and its plan."""
    series, run = state.history.get("lr"), state.run
    if not series:
        return []
    lr = float(series.values[-1]) if run.lr is None else run.lr
    now = Rows.single(np.array([max(run.step, int(series.steps[-1]))]), np.array([lr]))
    past = Curve("", "steer", join([series.rows, now]), "exact")
    return [past, *(curve_ahead(run, state.lr_preview, "", "steer") if run.is_live else [])]


def curve_ahead(run: RunState, preview: LrPreview, label: str, tone: str) -> list[Curve]:
    """Return the lr ahead, joined to the last step; empty if the engine has not reported it yet."""
    if preview.lr is None or not len(preview.steps):
        return []
    steps = np.append(run.step, preview.steps)
    return [Curve.of(label, tone, steps, np.append(preview.lr, preview.values), "plan")]


def _lr_note(state: ConsoleState) -> Line:
    """Whether the lr is held or scaled, a pending lr in few digits, and where the plan leads."""
    run, preview = state.run, state.lr_preview
    note: Line = _lr_remarks(state)
    if run.is_live and preview.lr is not None and len(preview.steps):
        metric = run.schedule.metric if run.schedule and run.lr_held is None else None
        last, end = format_lr(float(preview.values[-1])), f"{int(preview.steps[-1]):,}"
        ahead = f"depends on {metric}, at most {last}" if metric else f"to {last} at {end}"
        note += [("  ┄", "steer"), (f" {ahead}", "muted")]
    return note


def _lr_remarks(state: ConsoleState) -> Line:
    run = state.run
    remarks: Line = []
    if run.lr_held is not None:
        remarks.append((" held", "attn"))
    elif run.lr_scale != 1.0:
        remarks.append((f"  schedule x{format_number(run.lr_scale)}", "muted"))
    if (pending := state.pending_lr) is not None:
        remarks.append((f" → {format_number(pending, _PENDING_DIGITS)} pending", "attn"))
    return remarks


def _short_lr_remark(state: ConsoleState) -> Line:
    """Return the most important remark in a few characters."""
    if (pending := state.pending_lr) is not None:
        return [(f"→{format_number(pending, _PENDING_DIGITS)}", "attn")]
    return [("held", "attn")] if state.run.lr_held is not None else []


def run_axis(state: ConsoleState, columns: int = 1) -> XAxis:
    """Return the x axis of a whole run: in stages while it is live, and up to its last step then."""
    run, last = state.run, last_step(state)
    return XAxis(0, stage_end(last, run.total_steps) if run.is_live else max(1, last), columns)


def last_step(state: ConsoleState) -> int:
    """Return the last step of a run so far."""
    return max([state.run.step, *(int(series.steps[-1]) for series in state.history.values() if len(series))])


def run_marks(run: RunState) -> list[Mark]:
    """Return the changes, saves, resumes and the best evaluation of a run."""
    marks = [
        Mark(applied.step, "◆", "steer", describe_effect(applied))
        for applied in run.changes
        if not isinstance(applied.command, (*cmd.UNCHANGING, cmd.RollBack))
    ]
    for mark in run.marks:
        if mark.kind == "saved":
            marks.append(Mark(mark.step, "▼", "muted", "checkpoint saved"))
        else:
            how = "rolled back to" if mark.rolled_back else "resumed from"
            marks.append(Mark(mark.step, "↺", "good", f"{how} step {mark.step:,}"))
    if run.best is not None:
        text = f"best {run.best.metric} {format_number(run.best.value, 4)}"
        marks.append(Mark(run.best.step, "★", "attn", text))
    return sorted(marks, key=lambda mark: mark.step)
