"""How fast the line to the terminal is, and what is left out on a slow one."""

from __future__ import annotations

import pytest

from torchconsole.tui.line_speed import LIMITS, MEASURED_BYTES, PROBE_SECONDS, QUESTION, LineSpeed

LARGE = "x" * 12_000


class Line:
    """A line of some speed (bytes per second) and delay, with a terminal that answers."""

    def __init__(self, speed: float) -> None:
        self.speed, self.delay, self.now = speed, 0.3, 100.0
        self.measured = LineSpeed()
        self.measured.is_asking = True

    def write(self, text: str) -> bool:
        """Write an update and wait for the answers. Return whether something else is left out."""
        written = self.measured.wrap(text, self.now)
        assert written.endswith(text) or written == f"{QUESTION}{written[4:-4]}{QUESTION}"
        changes = False
        for part in written.split(QUESTION)[1:-1]:
            self.now += self.delay
            changes |= self.measured.answered(self.now)
            self.now += len(part) / self.speed
            changes |= self.measured.answered(self.now)
        return changes

    @property
    def left_out(self) -> list[str]:
        """What is not drawn."""
        return [part for part in LIMITS if not self.measured.draws(part)]


@pytest.mark.parametrize(("speed", "count"), [(1e6, 0), (45e3, 1), (20.1e3, 4), (12e3, 6), (2e3, 7)])
def test_the_slower_the_line_the_more_is_left_out_in_a_fixed_order(speed: float, count: int) -> None:
    line = Line(speed)
    assert line.write(LARGE) == (count > 0)
    assert line.left_out == list(LIMITS)[:count]


def test_everything_is_drawn_again_when_the_line_is_fast_again() -> None:
    line = Line(8e3)
    line.write(LARGE)
    line.speed = 1e6
    assert line.write(LARGE)
    assert line.left_out == []


def test_a_line_near_a_limit_does_not_go_back_and_forth() -> None:
    line = Line(19e3)
    line.write(LARGE)
    before = line.left_out
    for speed in (21e3, 24e3, 19.5e3, 28e3):
        line.speed = speed
        assert not line.write(LARGE)
    assert line.left_out == before


def test_small_updates_are_measured_only_after_a_minute_on_a_slow_line() -> None:
    line = Line(8e3)
    line.write(LARGE)
    line.speed = 1e6
    assert line.measured.wrap("small", line.now + 1) == "small"
    line.now += PROBE_SECONDS
    padded = line.measured.wrap("small", line.now)
    assert padded.startswith(QUESTION)
    assert padded.endswith(f"small{QUESTION}")
    assert len(padded) > MEASURED_BYTES
    line.measured.answered(line.now)
    assert line.measured.answered(line.now + 0.01)
    assert line.left_out == []


def test_a_short_delay_is_no_reason_to_leave_anything_out() -> None:
    line = Line(25e3)  # a busy computer: 0.12 seconds
    assert not line.write("x" * MEASURED_BYTES)
    assert line.left_out == []


def test_a_line_that_stalls_is_slow_before_it_has_answered() -> None:
    line = Line(1e6)
    assert line.measured.wrap(LARGE, 10.0) != LARGE
    assert not line.measured.look(12.0)
    assert line.measured.look(13.5)
    assert line.left_out == list(LIMITS)
    assert line.measured.wrap(LARGE, 14.0) == LARGE
    line.measured.answered(20.0)
    assert line.measured.answered(20.01)
    assert line.left_out == []


def test_a_terminal_that_has_answered_nothing_is_asked_nothing() -> None:
    measured = LineSpeed()
    assert measured.wrap(LARGE, 0) == LARGE
    assert not measured.answered(1)
    assert not measured.is_waiting
