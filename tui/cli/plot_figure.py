"""Draws the figure of `torchconsole plot` with matplotlib, without a display and without chance."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.buckets import Floats
from torchconsole.engine.text import printable
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.cli.plot_looks import (
    BEST,
    LR_CHANGE,
    MARKS,
    NOT_FINITE,
    OTHER_CHANGE,
    STYLE,
    TOO_LARGE,
    Look,
    Mark,
    kind_look,
    look_of,
    run_color,
    run_look,
    unsmoothed,
)
from torchconsole.tui.cli.plot_panels import (
    Panels,
    PlottedRun,
    first_nonfinite,
    first_too_large,
    needs_log_axis,
    smoothed,
    trace,
)
from torchconsole.tui.formatting import format_count
from torchconsole.tui.table import shorten

_WITHOUT_DATE: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

_WIDTH, _ROW_HEIGHT, _LEGEND_HEIGHT = 7.0, 2.2, 0.17
_SINGLE_SIZE = (5.0, 3.2)
"""Sizes in inches."""

_CELLS_PER_INCH, _NAME_CELLS, _SAMPLE_CELLS = 14, 40, 8
"""Characters in an inch of the legend, those of a name, and the room of a sample."""

_MARKED_VALUES = 12
"""Evaluations of a curve that have a marker."""

_LABELS = {"lr": "Learning rate", "grad_norm": "Gradient norm", "samples_per_sec": "Samples per second"}
_X_LABELS = {"step": "Step", "epoch": "Epoch", "minutes": "Training time (minutes)"}
_ABBREVIATIONS = (
    "auc",
    "auroc",
    "cer",
    "f1",
    "iou",
    "mae",
    "mape",
    "mse",
    "nll",
    "psnr",
    "r2",
    "rmse",
    "wer",
)
_WRITTEN_OUT = 100_000
"""Steps from which on the x axis says 200k instead of 200,000."""


def import_figure() -> tuple[Any, Any, Any]:
    """Import matplotlib's style, Figure and Line2D, which need no display.

    Raises TorchconsoleError with the install command without matplotlib.
    """
    # That of a notebook or of a desktop may not be installed here, and importing matplotlib would fail.
    os.environ["MPLBACKEND"] = "agg"
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise TorchconsoleError("plot requires matplotlib: pip install 'torchconsole[plot]'") from error
    return style, Figure, Line2D


def save_figure(figure: Any, path: Path, form: str) -> None:
    """Write a figure as png, svg or pdf; the same runs give the same bytes. Raises OSError."""
    style, _, _ = import_figure()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        # Of a name in letters that the font lacks: it has boxes in their place.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(path, format=form, metadata=_WITHOUT_DATE[form])


def draw_figure(runs: Sequence[PlottedRun], panels: Panels, smoothing: float | None) -> Any:
    """Return matplotlib's Figure of runs, with one legend for all panels.

    Its lines are labelled with the metrics and marks that they show. smoothing: see `PlottedRun.curve`.
    """
    style, figure_type, _ = import_figure()
    rows = _mosaic(len(panels))
    width, height = _SINGLE_SIZE if len(panels) == 1 else (_WIDTH, _ROW_HEIGHT * len(rows))
    drawing = _Drawing(runs, smoothing)
    with style.context(["default", STYLE]):
        figure = figure_type(layout="constrained")
        axes = figure.subplot_mosaic(rows, sharex=True)
        for number, (name, metrics) in enumerate(panels.items()):
            drawing.draw_panel(axes[number], name, metrics, has_changes=number == 0 or name == "lr")
        for number in rows[-1]:
            axes[number].set_xlabel(_X_LABELS[runs[0].unit.name])
        _format_x(axes[0], runs[0].unit.name)
        legend_lines = drawing.add_legend(figure, int(width * _CELLS_PER_INCH))
    figure.set_size_inches(width, height + _LEGEND_HEIGHT * legend_lines)
    return figure


class _Drawing:
    """Draws panels, and collects what the legend has to explain."""

    def __init__(self, runs: Sequence[PlottedRun], smoothing: float | None) -> None:
        self._runs = runs
        self._smoothing = smoothing
        self._bests = [run.bests() for run in runs]
        self._named: dict[str, dict[str, Any]] = {}
        self._kinds: dict[str, dict[str, Any]] = {}
        self._marks: dict[Mark, dict[str, Any]] = {}

    def draw_panel(self, axes: Any, name: str, metrics: Sequence[str], *, has_changes: bool) -> None:
        """Draw the curves of some metrics of all runs, and their marks."""
        drawn = []
        for index, run in enumerate(self._runs):
            lines = []
            for metric in metrics:
                curve = run.curve(metric, self._smoothing)
                if curve is not None:
                    drawn.append(curve)
                    lines.append(self._draw_curve(axes, index, metric, curve))
            if lines:
                self._draw_changes(axes, index, lines[0], has_signs=has_changes)
        if needs_log_axis(name, drawn):
            axes.set_yscale("log")
        elif name == "lr":
            axes.set_ylim(bottom=0)
        axes.set_ylabel(_label(name, self._runs), parse_math=False)

    def add_legend(self, figure: Any, room: int) -> int:
        """Add the legend below the panels, `room` characters wide. Return how many lines it has."""
        _, _, line_type = import_figure()
        marks = [(mark.label, self._marks[mark]) for mark in MARKS if mark in self._marks]
        entries = [*self._named.items(), *self._kinds.items(), *marks]
        labels = [shorten(label, _NAME_CELLS, "middle") for label, _ in entries]
        cells = [len(label) + _SAMPLE_CELLS for label in labels]
        columns = len(labels) if sum(cells) <= room else max(1, room // max(cells))
        handles = [line_type([], [], **arguments) for _, arguments in entries]
        legend = figure.legend(handles, [" "] * len(labels), loc="outside lower center", ncols=columns)
        # As labels of handles, those that begin with an underscore would be left out.
        for text, label in zip(legend.get_texts(), labels, strict=True):
            text.set_parse_math(False)
            text.set_text(label)
        return -(-len(labels) // columns)

    def _draw_curve(self, axes: Any, index: int, metric: str, curve: Curve) -> tuple[Floats, Floats]:
        """Draw a metric of a run, and return the points of its line, which are not those of the x axis."""
        look = look_of(metric, index, len(self._runs))
        points = smoothed(curve) if curve.smoothing else trace(curve)
        kind = f"{look.kind}, smoothed" if curve.smoothing and look.kind else look.kind
        if curve.smoothing and len(self._runs) == 1:
            self._plot(axes, index, metric, trace(curve), unsmoothed(look), look.kind)
        self._plot(axes, index, metric, points, look, kind)
        if len(self._runs) > 1:
            self._named[self._runs[index].name] = run_look(index).arguments()
        if metric in self._bests[index]:
            step, value = self._bests[index][metric]
            self._mark(axes, index, BEST, np.array([step]), np.array([value]))
        at_top = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        for mark, found in ((NOT_FINITE, first_nonfinite(curve)), (TOO_LARGE, first_too_large(curve))):
            self._mark(axes, index, mark, np.array(found), np.ones(len(found)), **at_top)
        return points

    def _plot(
        self, axes: Any, index: int, metric: str, points: tuple[Floats, Floats], look: Look, kind: str
    ) -> None:
        steps, values = points
        every = max(1, len(steps) // _MARKED_VALUES)
        # Those of several runs do not cover each other.
        first = every * index // len(self._runs)
        x = self._runs[index].unit.of_steps(steps)
        axes.plot(x, values, label=metric, markevery=(first, every), **look.arguments())
        if kind:
            self._kinds[kind] = (look if len(self._runs) == 1 else kind_look(look)).arguments()

    def _draw_changes(self, axes: Any, index: int, points: tuple[Floats, Floats], *, has_signs: bool) -> None:
        """Draw the changes of a run: signs on its line, and lines through all panels of a single run."""
        run = self._runs[index]
        steps, values = points
        is_finite = np.isfinite(values)
        for mark, found in ((OTHER_CHANGE, run.other_changes()), (LR_CHANGE, run.lr_changes())):
            at = np.array(found, dtype=np.float64)
            if len(self._runs) == 1:
                for x in run.unit.of_steps(at):
                    axes.axvline(x, color="#c0c0c0", linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
            if has_signs and is_finite.any():
                before = np.searchsorted(steps[is_finite], at, side="right") - 1
                self._mark(axes, index, mark, at, values[is_finite][np.maximum(before, 0)])

    def _mark(self, axes: Any, index: int, mark: Mark, steps: Floats, values: Floats, **where: Any) -> None:
        if not len(steps):
            return
        is_single = len(self._runs) == 1
        color = mark.color if is_single else run_color(index)
        x = self._runs[index].unit.of_steps(steps)
        axes.plot(x, values, label=mark.label, zorder=4, **mark.arguments(color), **where)
        self._marks[mark] = mark.arguments(mark.color if is_single else "#aaaaaa")


def _mosaic(count: int) -> list[list[int]]:
    """Return which panel is in each cell of two columns: of an odd number, the first has two rows."""
    if count < 3:
        return [list(range(count))]
    first = [[0, 1], [0, 2]] if count % 2 else [[0, 1]]
    start = 1 + first[-1][-1]
    return first + [[number, number + 1] for number in range(start, count, 2)]


def _format_x(axes: Any, unit: str) -> None:
    """Label the x axis of all panels with round numbers."""
    axes.locator_params(axis="x", nbins=6, integer=unit == "step")
    if unit == "step":
        is_long = axes.get_xlim()[1] >= _WRITTEN_OUT
        axes.xaxis.set_major_formatter(lambda x, _: format_count(x) if is_long else f"{x:,.0f}")


def _label(name: str, runs: Sequence[PlottedRun]) -> str:
    """Return the label of a panel's y axis, with the unit of the loss if all runs have the same."""
    words = [word.upper() if word in _ABBREVIATIONS else word for word in printable(name).split("_")]
    text = " ".join(words)
    units = {run.state.loss_unit for run in runs}
    unit = units.pop() if name == "loss" and len(units) == 1 else ""
    return _LABELS.get(name, text[:1].upper() + text[1:]) + (f" ({unit})" if unit else "")
