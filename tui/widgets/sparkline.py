"""A labelled sparkline of a metric's latest values, in block characters over one row or several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchconsole.tui.formatting import format_metric
from torchconsole.tui.widgets.lines import Line, LineWidget

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 6
_VALUE_WIDTH = 9


class Sparkline(LineWidget):
    """`train ▇▅▃▂▁  0.3123`: one column a value, the newest at the right, scaled to what is shown."""

    def __init__(self, label: str, tone: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = label
        self._tone = tone
        self._values: NDArray[np.float64] = np.empty(0)

    def show(self, values: NDArray[np.float64]) -> None:
        """Draw the end of `values`, shape (N,); those that are not finite show as `!`."""
        self._values = values
        self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The label and the latest value stand on the last row."""
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
    """Bars for `values`, shape (N,): the lowest one eighth high, the highest filling all `rows`."""
    finite = np.isfinite(values)
    if not finite.any():
        return [*[" " * len(values)] * (rows - 1), "!" * len(values)]
    scaled = np.where(finite, values, 0.0) / max(1.0, np.abs(values[finite]).max())
    low, high = scaled[finite].min(), scaled[finite].max()
    part = (scaled - low) / (high - low) if high > low else np.full(len(values), 0.5)
    eighths = np.where(finite, 1 + np.rint(part * (8 * rows - 1)), 0).astype(int)
    lines = []
    for row in range(rows):
        filled = np.clip(eighths - 8 * (rows - 1 - row), 0, 8)
        bars = (_BLOCKS[count] for count in filled)
        broken = "!" if row == rows - 1 else " "
        lines.append("".join(bar if ok else broken for bar, ok in zip(bars, finite, strict=True)))
    return lines
