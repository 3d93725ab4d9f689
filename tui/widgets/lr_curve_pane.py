"""The lr over a run that does not exist yet, computed by a process with torch; see `launch.lr_curve`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.text import printable
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.single import draw_curves
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.widgets.chart import plot_style
from torchconsole.tui.widgets.frames import FramedLines, crop, framed, inner_size
from torchconsole.tui.widgets.lines import Line, wrap

_LEAST_PLOT_ROWS = 2


@dataclass(frozen=True)
class LrPart:
    """A part of the curve, of the first parameter group: what was, or what is to come."""

    steps: list[int]
    lrs: list[float]
    is_past: bool = False


class LrCurvePane(FramedLines):
    """Shows the curve, or why there is none. While another is computed, the last one stays."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: list[LrPart] = []
        self._problem = ""
        self._summary: list[str] = []
        self._is_computing = False

    def compute(self) -> None:
        """Show that another curve is being computed."""
        self._is_computing, self._problem = True, ""
        self.redraw()

    def show(self, parts: list[LrPart], *summary: str) -> None:
        """Show a curve; `summary` are remarks about it, of which the first is the most important."""
        self._parts, self._summary = parts, list(summary)
        self._problem, self._is_computing = "", False
        self.redraw()

    def show_preset(self, curve: LearningRateCurve) -> None:
        """Show the curve of a preset."""
        lrs = curve.lrs[0]
        epochs = -(-curve.total_steps // curve.steps_per_epoch)
        self.show(
            [LrPart(curve.steps, lrs)],
            f"{format_lr(lrs[0])} → {format_lr(lrs[-1])}",
            f"{curve.total_steps:,} steps in {epochs:,} {'epoch' if epochs == 1 else 'epochs'}",
            f"{curve.metric} is assumed to stay as it is" if curve.metric else "",
        )

    def explain(self, problem: str) -> None:
        """Show why there is no curve."""
        self._parts, self._problem, self._is_computing = [], problem, False
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Draw the frame, the curve, and below it where it leads."""
        inner, rows = inner_size(width, height, boxed=self.boxed)
        title: Line = [("lr", "bold strong")]
        if self._parts and self._summary:
            title.append((f"  {self._summary[0]}", "bold steer"))
        if self._is_computing:
            remark: Line = [("computing...", "faint")]
        else:
            remark = [(self._summary[1], "faint")] if self._parts and len(self._summary) > 1 else []
        body = self._body(inner, rows)
        return framed(body, width, height, title, remark, has_focus=False, boxed=self.boxed)

    def _body(self, width: int, rows: int) -> list[Line]:
        if not self._parts:
            text = self._problem or "computing the lr..."
            return [[(f" {piece}", "muted")] for piece in wrap(printable(text), max(1, width - 2))][:rows]
        notes: list[Line] = [
            crop([(f" {printable(note)}", "faint")], width) for note in self._summary[2:] if note
        ]
        if rows - len(notes) < _LEAST_PLOT_ROWS:
            notes = []
        curves = [
            Curve.of(
                "",
                "steer",
                np.array(part.steps, dtype=np.int64),
                np.array(part.lrs),
                "exact" if part.is_past or len(self._parts) == 1 else "plan",
            )
            for part in self._parts
            if part.steps
        ]
        plot = draw_curves(curves, width, rows - len(notes), exact=True, style=plot_style(self))
        return [*plot, *notes]
