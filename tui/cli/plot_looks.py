"""How the figure of `torchconsole plot` looks: readable in grey, small, and by color-blind people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.xmargin": 0.02,
    "figure.constrained_layout.hspace": 0.06,
    "figure.constrained_layout.wspace": 0.06,
    "font.size": 8,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "torchconsole",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
}
"""Settings of matplotlib. Text stays text in SVG and PDF, and identifiers do not depend on chance."""

_BLUE, _VERMILION, _GREEN, _PINK, _ORANGE, _SKY, _BLACK = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
)  # fmt: skip
_RUN_COLORS = (_BLUE, _VERMILION, _GREEN, _PINK, _ORANGE, _SKY, _BLACK)
"""Color-blind people can tell them apart, too (Okabe and Ito, 2008)."""

_RUN_LINES = ("-", "--", "-.", ":")
_RUN_MARKERS = ("o", "s", "P", "X", "p")
"""They tell runs apart in grey. Stars, diamonds and triangles are marks."""

_SPLITS = {
    "train": ("training", _BLUE, ""),
    "val": ("validation", _VERMILION, "o"),
    "test": ("test", _GREEN, "s"),
}
_GREY, _DARK = "#777777", "#333333"


@dataclass(frozen=True)
class Look:
    """How a curve is drawn. `kind` says in the legend what it is; empty where its panel says it already."""

    kind: str
    color: str
    line: str = "-"
    marker: str = ""
    width: float = 1.2
    alpha: float = 1.0
    is_hollow: bool = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for a line of matplotlib."""
        return {
            "color": self.color,
            "linestyle": self.line,
            "marker": self.marker,
            "linewidth": self.width,
            "alpha": self.alpha,
            "markersize": 4,
            "markerfacecolor": "white" if self.is_hollow else self.color,
            "markeredgewidth": 0.8,
        }


@dataclass(frozen=True)
class Mark:
    """A sign at a step. `color` is that of a single run's; those of several runs have the run's color."""

    label: str
    marker: str
    color: str
    size: float

    def arguments(self, color: str) -> dict[str, Any]:
        """Return the arguments for a line of matplotlib that has marks alone."""
        return {
            "linestyle": "",
            "marker": self.marker,
            "markersize": self.size,
            "markerfacecolor": color,
            "markeredgecolor": color if self.marker == "x" else "black",
            "markeredgewidth": 1.2 if self.marker == "x" else 0.6,
        }


BEST = Mark("best", "*", "#f0e442", 10)
LR_CHANGE = Mark("lr change", "D", _PINK, 5)
OTHER_CHANGE = Mark("other command", "^", "white", 5.5)
NOT_FINITE = Mark("not finite", "x", _BLACK, 5)
TOO_LARGE = Mark("beyond 1e200", "+", _BLACK, 6)
MARKS = (BEST, LR_CHANGE, OTHER_CHANGE, NOT_FINITE, TOO_LARGE)
"""In the order of the legend."""


def look_of(metric: str, run: int, runs: int) -> Look:
    """Return the look of a metric of one of the runs.

    Colors of a single run tell training and evaluations apart; those of several tell the runs apart.
    """
    split, slash, name = metric.partition("/")
    is_average = name.startswith("ema_")
    kind, color, marker = _SPLITS.get(split if slash else "", ("", _DARK, ""))
    if is_average:
        kind, color = f"{kind}, EMA weights", _ORANGE
    look = Look(kind, color, "--" if is_average else "-", marker, is_hollow=is_average)
    if runs == 1:
        return look
    look = replace(look, color=run_color(run))
    if split == "train":
        return replace(look, width=0.7, alpha=0.8)
    marker = _RUN_MARKERS[run % len(_RUN_MARKERS)] if marker else ""
    return replace(look, line=_run_line(run), marker=marker, width=1.4 if marker else 1.2)


def run_look(run: int) -> Look:
    """Return the look of one of several runs in the legend."""
    return Look("", run_color(run), _run_line(run), _RUN_MARKERS[run % len(_RUN_MARKERS)])


def kind_look(look: Look) -> Look:
    """Return the look in the legend of what all runs draw in the same way, whatever their colors."""
    return replace(look, color=_GREY, line="-", marker=look.marker and "o")


def unsmoothed(look: Look) -> Look:
    """Return the look of the values behind their smoothed line."""
    return replace(look, width=0.6, alpha=0.35)


def run_color(run: int) -> str:
    """Return the color of one of several runs."""
    return _RUN_COLORS[run % len(_RUN_COLORS)]


def _run_line(run: int) -> str:
    return _RUN_LINES[run % len(_RUN_LINES)]
