"""How fast the line to the terminal is, and what is left out on a slow one.

The terminal answers a question (DSR) as soon as it has read it. So the time between its answers to a question
before a large update and to one behind it is the time that the line takes for the update, however long its
delay is and whatever is buffered on the way.
"""

from __future__ import annotations

import random
from typing import Any

from textual.app import App

QUESTION = "\x1b[5n"

LIMITS = {
    "vertical grid": 50.0,
    "grid lines": 40.0,
    "truecolor": 30.0,
    "device history": 25.0,
    "future": 20.0,
    "waves": 15.0,
    "band": 10.0,
}
"""What is left out, in this order, and on lines slower than how many kB/s."""

RECOVERY = 1.5
"""A line must be faster than a limit by this factor before a part is drawn again."""

MEASURED_BYTES = 3000
"""Only updates of this size are measured: a smaller one says more about delays than about speed."""

SLOW_SECONDS = 0.15
"""An update that is there sooner is no reason to leave anything out: a busy computer is late as well."""

STALLED_SECONDS = 3.0
PROBE_SECONDS = 60.0
"""After this time a line that was slow is measured again, by padding an update if none is large."""


class LineSpeed:
    """Measures the line. `answered` is called by the thread that reads from the terminal."""

    def __init__(self) -> None:
        self.sent = 0
        """Bytes of all updates so far."""
        self.is_asking = False
        """Whether questions may be asked: only to a terminal that has answered one before."""
        self._left_out = 0
        self._size = 0
        self._asked_at = self._measured_at = 0.0
        self._answers: list[float] = []

    def draws(self, part: str) -> bool:
        """Return whether the line is fast enough for a part, one of LIMITS."""
        return list(LIMITS).index(part) >= self._left_out

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self._size > 0

    def wrap(self, text: str, now: float) -> str:
        """Return what to write for an update: the text, and questions if it is measured."""
        size = len(text.encode(errors="replace"))
        self.sent += size
        if not self.is_asking or self.is_waiting:
            return text
        if size < MEASURED_BYTES:
            if not self._left_out or now - self._measured_at < PROBE_SECONDS:
                return text
            padding = _padding(MEASURED_BYTES)
            text, size = padding + text, size + len(padding)
        self._answers, self._asked_at, self._size = [], now, size
        return QUESTION + text + QUESTION

    def answered(self, now: float) -> bool:
        """Note an answer of the terminal. Return whether something else is left out from now on."""
        if not self.is_waiting:
            return False
        self._answers.append(now)
        return len(self._answers) == 2 and self._measured(now - self._answers[0], now, is_over=True)

    def look(self, now: float) -> bool:
        """Note the time while no answer comes. Return whether something else is left out from now on."""
        seconds = now - self._asked_at
        return self.is_waiting and seconds > STALLED_SECONDS and self._measured(seconds, now, is_over=False)

    def forget(self) -> None:
        """Expect no more answers: they would be read by another program."""
        self._size = 0

    def _measured(self, seconds: float, now: float, *, is_over: bool) -> bool:
        speed = self._size / 1000 / max(seconds, 1e-6)
        before = self._left_out
        slow = _slower_than(speed)
        if slow > before and seconds >= SLOW_SECONDS:
            self._left_out = slow
        elif is_over:
            self._left_out = min(before, _slower_than(speed / RECOVERY))
        if is_over:
            self._size, self._measured_at = 0, now
        return self._left_out != before


def draws(app: App[Any], part: str) -> bool:
    """Return whether the line to an app's terminal is fast enough for a part, one of LIMITS."""
    speed = getattr(app, "line_speed", None)
    return not isinstance(speed, LineSpeed) or speed.draws(part)


def bytes_sent(app: App[Any]) -> int:
    """Return how many bytes of updates an app has sent to its terminal so far."""
    speed = getattr(app, "line_speed", None)
    return speed.sent if isinstance(speed, LineSpeed) else 0


def _slower_than(speed: float) -> int:
    return sum(speed < limit for limit in LIMITS.values())


def _padding(size: int) -> str:
    """Return moves of the cursor, which compress badly. The update behind them moves it anyway."""
    text = ""
    while len(text) < size:
        text += f"\x1b[{random.randint(1, 99)};{random.randint(1, 99)}H"
    return text
