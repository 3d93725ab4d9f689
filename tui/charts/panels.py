"""A chart's content: curves that share a y axis, and what has happened to the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torchconsole.tui.charts.canvas import Line
from torchconsole.tui.charts.curves import Curve
from torchconsole.tui.formatting import format_metric


@dataclass(frozen=True)
class Mark:
    """Something that happened at a step; the cursor shows `text`."""

    step: int
    sign: str
    tone: str
    text: str = ""


@dataclass(frozen=True)
class Panel:
    """One chart. `is_exact`: nothing is clipped, and its axis begins at 0, as for the lr.

    `note` is at the end of the legend. Without room for one, `short_note` is left of the plot.
    """

    title: str
    curves: Sequence[Curve]
    is_log: bool = False
    is_exact: bool = False
    note: Line = field(default_factory=list)
    short_note: Line = field(default_factory=list)
    format_value: Callable[[float], str] = format_metric
