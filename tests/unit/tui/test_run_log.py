"""The log: what recurs is thinned and counted, what was printed never pushes out the rest."""

from __future__ import annotations

import pytest

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.run_state import History, RunState, apply
from torchconsole.engine.run.metrics_window import Moment
from torchconsole.tui.run_log import LINES, RunLog, recorded_entries

NOON = 1_750_000_000.0


def evaluated(step: int, seconds: float) -> ev.EvaluationCompleted:
    """Return an evaluation some seconds after noon."""
    metrics = {"val/loss": 1 / step, "val/recall/cat": 0.5}
    return ev.EvaluationCompleted(step=step, epoch=1, metrics=metrics, seconds=0.1, time=NOON + seconds)


def saved(step: int, seconds: float) -> ev.CheckpointSaved:
    """Return a checkpoint some seconds after noon."""
    return ev.CheckpointSaved(step=step, epoch=1, name=f"step-{step}", reason="best", time=NOON + seconds)


def shown(log: RunLog) -> list[tuple[str, int | None, int]]:
    """Return kind, step and number of others of all entries."""
    return [(entry.kind, entry.step, entry.others) for entry in log.entries]


def test_one_entry_of_a_kind_in_five_seconds_and_the_others_are_counted() -> None:
    log = RunLog()
    for number in range(10):
        log.add(evaluated(number + 1, number * 0.5))
        log.add(saved(number + 1, number * 0.5))
    assert shown(log) == [("evaluated", 1, 0), ("saved", 1, 0)]
    log.add(ev.PauseRequested(time=NOON + 5.5))
    assert shown(log)[2:] == [("evaluated", 10, 8), ("saved", 10, 8)]
    log.add(evaluated(11, 6))
    assert len(log.entries) == 4


def test_what_was_held_back_is_shown_where_it_happened() -> None:
    log = RunLog()
    log.add(saved(1, 0))
    log.add(saved(2, 3))
    log.add(evaluated(3, 4))
    log.add(evaluated(4, 10))
    assert [entry.step for entry in log.entries] == [1, 2, 3, 4]
    times = [entry.time for entry in log.entries]
    assert times == sorted(times, key=lambda time: time or 0)


def test_the_last_ones_are_shown_when_the_run_ends() -> None:
    log = RunLog()
    for number in range(3):
        log.add(evaluated(number + 1, number * 0.1))
    log.add(ev.RunFinished(status="finished", reason="done", step=3, epoch=1, time=NOON + 1))
    assert shown(log) == [("evaluated", 1, 0), ("evaluated", 3, 1), ("end", None, 0)]


def test_values_of_single_classes_are_not_in_the_log() -> None:
    log = RunLog()
    log.add(evaluated(1, 0))
    assert log.entries[0].values == (("val/loss", "1.0000"),)


def test_what_the_training_prints_pushes_itself_out() -> None:
    log = RunLog()
    log.add(evaluated(1, 0))
    for number in range(2 * LINES):
        log.add(ev.LogWritten(level="output", message=str(number), time=NOON))
    assert len(log.entries) == LINES
    assert log.entries[0].kind == "evaluated"
    assert log.entries[-1].message == str(2 * LINES - 1)


def test_recorded_evaluations_have_the_time_of_their_step() -> None:
    history: History = {}
    state = RunState(name="x", folder="x", created=NOON, step=100, ended=NOON + 1000)
    for step in (10, 40, 60):
        apply(state, history, evaluated(step, 0))
    pause = ev.CommandApplied(id="1", command=PauseRun(), step=50, time=NOON + 50)
    state.changes = [pause]
    moments = [
        Moment(1, 10, 10.0, NOON + 10),
        Moment(2, 51, 51.0, NOON + 500),
        Moment(3, 100, 99.0, NOON + 549),
    ]
    entries = recorded_entries(state, history, NOON + 2000, moments)
    assert [(entry.kind, entry.time) for entry in entries if entry.step] == [
        ("evaluated", NOON + 10),
        ("evaluated", NOON + 40),
        ("change", NOON + 50),
        ("evaluated", pytest.approx(NOON + 509)),
    ]
    unknown = [entry.time for entry in recorded_entries(state, history, NOON) if entry.kind == "evaluated"]
    assert unknown == [None] * 3
