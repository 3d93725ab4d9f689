"""The panels about metrics: recent losses as sparklines, latest values, and the state of early stopping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from textual.app import ComposeResult
from textual.containers import Vertical

from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_metric, format_named_metric
from torchconsole.tui.state import ConsoleState
from torchconsole.tui.widgets.lines import CachedRender, Line, LineWidget, flow, line_width

_SHOWN_ELSEWHERE = {"train/loss", "val/loss", "lr", "samples_per_sec"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 6
_VALUE_WIDTH = 9
_FEW_EVALUATIONS_LEFT = 2


class MetricsPanel(Vertical, CachedRender):
    """Sparklines of the training and validation loss above the latest values of all other metrics."""

    BORDER_TITLE = " metrics "

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state
        self._recent = {label: Sparkline(label, label, id=f"recent-{label}") for label in ("train", "val")}
        self._latest = LatestMetrics(state)

    def compose(self) -> ComposeResult:
        """Training above validation, the rest below."""
        yield from self._recent.values()
        yield self._latest

    def redraw(self) -> None:
        """Draw the current state."""
        for label, sparkline in self._recent.items():
            series = self._state.history.get(f"{label}/loss")
            sparkline.show(series.values if series else np.empty(0))
        self._latest.redraw()


class LatestMetrics(LineWidget):
    """`val/accuracy 0.9833`."""

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """As many metrics on a line as fit."""
        metrics = self._state.run.metrics
        items = [_metric(name, value) for name, value in metrics.items() if name not in _SHOWN_ELSEWHERE]
        return flow(items, width)


def _metric(name: str, value: float | None) -> Line:
    text = format_named_metric(name, value)
    tone = {"NaN": "bad", "n/a": "muted"}.get(text, "strong")
    return [(f"{printable(name)} ", "muted"), (text, tone)]


class Sparkline(LineWidget):
    """`train ▇▅▃▂▁  0.3123`: one column per value, the newest at the right, scaled to the visible values."""

    def __init__(self, label: str, tone: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self._tone = tone
        self._values: NDArray[np.float64] = np.empty(0)

    def show(self, values: NDArray[np.float64]) -> None:
        """Draw the end of `values`, shape (N,); non-finite values are drawn as `!`."""
        self._values = values
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The bars; the label and the latest value are on the last row."""
        columns = width - _LABEL_WIDTH - _VALUE_WIDTH
        if columns < 1 or height < 1:
            return [[(self._label[:width], "muted")]]
        latest = format_metric(float(self._values[-1])) if len(self._values) else "-"
        bars = spark_rows(self._values[-columns:], height)
        return [
            [
                (f"{self._label if row == height - 1 else '':<{_LABEL_WIDTH}}", "muted"),
                (bars[row].ljust(columns), self._tone),
                (f"{latest if row == height - 1 else '':>{_VALUE_WIDTH}}", "strong"),
            ]
            for row in range(height)
        ]


def spark_rows(values: NDArray[np.float64], rows: int) -> list[str]:
    """Return bars for `values`, shape (N,): the lowest one eighth of a row high, the highest `rows` high."""
    finite = np.isfinite(values)
    if not finite.any():
        return [*[" " * len(values)] * (rows - 1), "!" * len(values)]
    scaled = np.where(finite, values, 0.0) / max(1.0, np.abs(values[finite]).max())
    low, high = scaled[finite].min(), scaled[finite].max()
    heights = (scaled - low) / (high - low) if high > low else np.full(len(values), 0.5)
    eighths = np.where(finite, 1 + np.rint(heights * (8 * rows - 1)), 0).astype(int)
    lines = []
    for row in range(rows):
        filled = np.clip(eighths - 8 * (rows - 1 - row), 0, 8)
        bars = (_BLOCKS[count] for count in filled)
        non_finite = "!" if row == rows - 1 else " "
        lines.append("".join(bar if ok else non_finite for bar, ok in zip(bars, finite, strict=True)))
    return lines


class EarlyStoppingPanel(LineWidget):
    """`3 of 7 ●●●○○○○  val/loss min` above `best 0.2103 at step 552 · to beat 0.2093`."""

    BORDER_TITLE = " early stopping "

    def __init__(self, state: ConsoleState) -> None:
        super().__init__()
        self._state = state

    def draw(self, width: int, height: int) -> list[Line]:
        """The evaluations without improvement, then the values; one line before the first evaluation."""
        info = self._state.run.early_stopping
        if info is None:
            is_used = self._state.run.config.get("early_stopping")
            return [[("no evaluation yet" if is_used else "not used by this preset", "muted")]]
        in_words = flow(_best_and_target(info, "at step", "to beat"), width)
        in_short = flow(_best_and_target(info, "@", "beat"), width)
        return [_counter(info, width), *(in_words if len(in_words) == len(in_short) else in_short)]


def _counter(info: EarlyStoppingInfo, width: int) -> Line:
    left = info.patience - info.counter
    tone = "bad" if left <= 0 else "warn" if left <= _FEW_EVALUATIONS_LEFT and info.counter else "good"
    count: Line = [(f"{info.counter:,} of {info.patience:,}", tone)]
    metric: Line = [(f"  {printable(info.monitor)} {info.mode}", "muted")]
    # The patience may be in the millions: compute the width before building a string of that many dots.
    if line_width([*count, *metric]) + 1 + max(info.counter, info.patience) > width:
        return [*count, *metric]
    return [*count, (f" {'●' * info.counter}{'○' * max(0, left)}", tone), *metric]


def _best_and_target(info: EarlyStoppingInfo, at: str, beat: str) -> list[Line]:
    if info.best is None:
        return [[("no evaluation yet", "muted")]]
    best: Line = [("best ", "muted"), (format_metric(info.best), "strong")]
    if info.best_step is not None:
        best.append((f" {at} {info.best_step:,}", "muted"))
    if info.target is None:
        return [best]
    return [best, [(f"{beat} ", "muted"), (format_metric(info.target), "strong")]]
