"""Finds changes of the lr by more than ten times, made at once or by several keys in a row."""

from __future__ import annotations

import math
from contextlib import suppress

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.lr_state import LearningRateCommand
from torchconsole.tui.state import ConsoleState

LARGE_FACTOR = 10.0

ROW_SECONDS = 15.0
"""Changes that follow each other faster than this count together."""


class LrGuard:
    """Remembers the lr before a row of changes."""

    def __init__(self) -> None:
        self._first_lr: float | None = None
        self._last_change = -math.inf
        self._asked_for: float | None = None

    def large_change(self, state: ConsoleState, command: LearningRateCommand) -> tuple[float, float] | None:
        """Return the lr before the row and after `command` if they differ by more than ten times.

        A command that the engine will reject is no change.
        """
        before = after = None
        with suppress(CommandRejectedError):
            before, after = state.lr_after().lr, state.lr_after(command).lr
        if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
            return None
        now = state.clock()
        if self._first_lr is None or now - self._last_change > ROW_SECONDS:
            self._first_lr = before
        self._last_change = now
        if not is_large(self._first_lr, after):
            return None
        self._asked_for = after
        return self._first_lr, after

    def confirm(self) -> None:
        """Note that the user wants the change that was found last."""
        self._first_lr = self._asked_for


def is_large(before: float, after: float) -> bool:
    """Return whether one lr is more than ten times the other, or only one of them is 0."""
    low, high = sorted((abs(before), abs(after)))
    return high > LARGE_FACTOR * low * (1 + 1e-9)
