"""The line above a chart: its title, and the name and value of each curve."""

from __future__ import annotations

import math

import numpy as np

from torchconsole.tui.charts.canvas import Line, cut
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.charts.panels import Panel
from torchconsole.tui.charts.readout import value_at
from torchconsole.tui.formatting import format_number


def legend(panel: Panel, width: int, *, has_names: bool, at: float | None = None) -> Line:
    """Return a panel's title, and each curve's sample, name and value: the latest one, or that at a step."""
    line: Line = [(panel.title, "bold strong")]
    for curve in panel.curves:
        value = curve.last if at is None else value_at(curve, at)
        if curve.kind == "plan" or value is None:
            continue
        sample = "•" if curve.kind == "evaluations" else "━"
        name = f" {curve.label}" if has_names and curve.label else ""
        tone = f"bold {curve.tone}" if math.isfinite(value) else "bad"
        if curve.label or curve.kind == "evaluations":
            line += [("  ", "text"), (sample, curve.tone), (f"{name} ", "muted")]
        else:
            line.append((" ", "text"))
        line.append((panel.format_value(value), tone))
        if (
            at is None
            and curve.best is not None
            and len(here := np.flatnonzero(curve.rows.steps == curve.best))
        ):
            best = float(curve.rows.values[here[0]])
            line += [("  ", "text"), ("★", "attn"), (f" {panel.format_value(best)}", "bold text")]
    found = [first for curve in panel.curves if (first := first_nonfinite(curve))]
    if found:
        step, text = min(found)
        line += [("  ", "text"), (f" {text} @ step {step:,} ", "bold ink on bad")]
    return cut([*line, *panel.note], width)


def first_nonfinite(curve: Curve) -> tuple[int, str] | None:
    """Return the step and the text of a curve's first value that is not finite; None if all are."""
    rows = curve.nonfinite
    return (int(rows.steps[0]), format_number(rows.values[0])) if len(rows.steps) else None
