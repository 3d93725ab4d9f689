"""The units of the x axis: there and back, and what stands at the ticks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from torchconsole.engine.run.metrics_window import Moment
from torchconsole.tui.charts.gutter import x_labels
from torchconsole.tui.charts.units import unit_of
from torchconsole.tui.charts.x_axis import XAxis

START = 1_750_000_000.0
"""15:06:40 UTC."""

PAUSED = [
    Moment(1, 0, 0.0, START),
    Moment(2, 600, 600.0, START + 600),
    Moment(3, 601, 600.0, START + 4200),
    Moment(4, 1200, 1200.0, START + 4800),
]
"""A second a step, with a pause of an hour in the middle."""


@pytest.mark.parametrize("name", ["step", "epoch", "minutes", "clock"])
def test_steps_are_found_again(name: str) -> None:
    unit = unit_of(name, 23, PAUSED)
    assert unit.name == name
    steps = np.array([0.0, 1.0, 300.0, 599.0, 700.0, 1200.0, 2400.0])
    assert unit.to_steps(unit.of_steps(steps)) == pytest.approx(steps, abs=0.1)
    assert (np.diff(unit.of_steps(steps)) > 0).all()


def test_minutes_are_of_training_and_the_clock_shows_the_pause() -> None:
    at = np.array([600.0, 1200.0])
    assert unit_of("minutes", 23, PAUSED).of_steps(at).tolist() == pytest.approx([10, 20], abs=0.01)
    clock = unit_of("clock", 23, PAUSED).of_steps(at)
    assert clock[1] - clock[0] == pytest.approx(70, abs=0.01)


def test_what_is_not_known_is_shown_as_steps() -> None:
    assert unit_of("epoch", None, PAUSED).name == "step"
    assert unit_of("clock", 23, PAUSED[:1]).name == "step"
    assert unit_of("something", 23, PAUSED).name == "step"


def test_no_two_ticks_of_a_run_of_seconds_are_labelled_the_same() -> None:
    minutes = unit_of("minutes", 23, PAUSED)
    labels = [label for _, label in XAxis(0, 2.5 / 60, 60, minutes).ticks()]
    assert labels == ["0:00", "0:01", "0:02"]


def test_ticks_of_a_short_time_are_round_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    minutes = unit_of("minutes", 23, PAUSED)
    assert [label for _, label in XAxis(0, 1, 60, minutes).ticks()] == [
        "0:00",
        "0:15",
        "0:30",
        "0:45",
        "1:00",
    ]
    clock = unit_of("clock", 23, PAUSED)
    first, last = clock.of_steps(np.array([0.0, 40.0])).tolist()
    assert [label for _, label in XAxis(first, last, 60, clock).ticks()] == [
        "15:06:40",
        "15:06:50",
        "15:07:00",
        "15:07:10",
        "15:07:20",
    ]


def test_the_label_of_the_cursor_hides_no_part_of_another_one() -> None:
    axis = XAxis(0, 100, 80)
    texts = ["".join(text for text, _ in x_labels(axis, 0, cursor)) for cursor in (18, 20, 22, 24, 26, 30)]
    for text in texts:
        assert set(text.split()) <= {"0", "20", "40", "60", "80", "100", "18", "22", "24", "26", "30"}
    assert "20" in texts[1].split()
    assert "20" not in texts[2].split()
    assert "20" in texts[-1].split()


def test_ticks_are_round_in_each_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    epochs = unit_of("epoch", 23, PAUSED)
    assert [label for _, label in XAxis(0, 60, 80, epochs).ticks()] == ["0", "20", "40", "60"]
    clock = unit_of("clock", 23, PAUSED)
    first, last = clock.of_steps(np.array([0.0, 1200.0])).tolist()
    assert [label for _, label in XAxis(first, last, 60, clock).ticks()] == ["15:30", "16:00"]
    minutes = unit_of("minutes", 23, PAUSED)
    assert [label for _, label in XAxis(0, 20, 60, minutes).ticks()] == [
        "0:00",
        "5:00",
        "10:00",
        "15:00",
        "20:00",
    ]
