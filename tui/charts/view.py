"""Which part of a run the charts show, and where the cursor is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torchconsole.tui.charts.x_axis import XAxis

_LEAST_STEPS = 8
_FOLLOWED_SHARE = 0.25
_FOLLOW_PARTS = 8
"""A window that follows the run moves by this part of its width, so that most steps do not redraw it."""


@dataclass
class ChartView:
    """A window of steps, None for the whole run; the cursor's step, None without one.

    `whole` is always the x axis of the whole run in steps, `last` the last step so far.
    """

    window: tuple[float, float] | None = None
    cursor: float | None = None
    is_following: bool = False

    def steps(self, whole: XAxis, last: int) -> tuple[float, float]:
        """Return the first and the last step that are shown."""
        if self.window is None:
            return whole.start, whole.end
        first, end = self.window
        if not self.is_following:
            return first, end
        width = end - first
        grain = width / _FOLLOW_PARTS
        end = max(width, math.ceil((last + 1e-9) / grain) * grain)
        return end - width, end

    def zoom(self, factor: float, whole: XAxis, last: int, at: float | None = None) -> None:
        """Multiply the width of the window, around a step: by default the cursor's, else the middle."""
        first, end = self.steps(whole, last)
        span = whole.end - whole.start
        width = max(min(float(_LEAST_STEPS), span), (end - first) * factor)
        if width >= span * (1 - 1e-9):
            self.show_all()
            return
        center = next((step for step in (at, self.cursor) if step is not None and first <= step <= end), None)
        if center is None:
            center = end if self.is_following else (first + end) / 2
        start = center - (center - first) * width / (end - first)
        self._show(start, width, whole)

    def pan(self, share: float, whole: XAxis, last: int) -> None:
        """Move the window by a share of its width; that ends following."""
        first, end = self.steps(whole, last)
        if self.window is not None:
            self.is_following = False
            self._show(first + share * (end - first), end - first, whole)

    def center(self, step: float, whole: XAxis, last: int) -> None:
        """Move the window, if there is one, so that a step is in its middle; that ends following."""
        first, end = self.steps(whole, last)
        if self.window is not None:
            self.is_following = False
            self._show(step - (end - first) / 2, end - first, whole)

    def show_all(self) -> None:
        """Show the whole run."""
        self.window, self.is_following = None, False

    def follow(self, whole: XAxis, last: int) -> None:
        """Keep the newest steps in sight: in a window of this width, or in the last quarter of the run."""
        first, end = self.steps(whole, last)
        width = end - first if self.window is not None else (end - first) * _FOLLOWED_SHARE
        width = max(width, min(float(_LEAST_STEPS), whole.end - whole.start))
        self.window, self.is_following, self.cursor = (last - width, float(last)), True, None

    def place_cursor(self, step: float, whole: XAxis, last: int) -> None:
        """Put the cursor at a step, at most the last one, and move the window so that it is in it."""
        self.cursor = float(min(max(round(step), math.ceil(whole.start)), max(last, 0)))
        first, end = self.steps(whole, last)
        if self.window is not None and not first <= self.cursor <= end:
            self.is_following = False
            start = self.cursor if self.cursor < first else self.cursor - (end - first)
            self._show(start, end - first, whole)

    def move_cursor(self, columns: int, x: XAxis, whole: XAxis, last: int) -> None:
        """Move the cursor by columns of the axis that is drawn, and by a step at least."""
        if self.cursor is None:
            first, end = self.steps(whole, last)
            self.place_cursor(min(last, end) if last >= first else end, whole, last)
            return
        step = x.step_at(x.column_of(self.cursor) + columns)
        least = self.cursor + (1 if columns > 0 else -1)
        self.place_cursor(max(step, least) if columns > 0 else min(step, least), whole, last)

    def _show(self, start: float, width: float, whole: XAxis) -> None:
        start = min(max(start, whole.start), whole.end - width)
        self.window = (start, start + width)
