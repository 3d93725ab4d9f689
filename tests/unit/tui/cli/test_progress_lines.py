"""The lines of a headless run, event by event."""

from __future__ import annotations

import json

import pytest

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, RollBack
from torchconsole.engine.protocol.info import EarlyStoppingInfo
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.cli.progress_lines import ProgressJson, ProgressLines


def lines_of(state: RunState, *events: ev.Event) -> list[str]:
    lines = ProgressLines(state)
    return [line for event in events if (line := lines.line_for(event)) is not None]


@pytest.fixture
def state() -> RunState:
    return RunState(name="run", folder="/runs/run", config={"early_stopping": {"patience": 7}})


STARTED = ev.RunStarted(steps_per_epoch=23, total_epochs=60, total_steps=1380)
METRICS = ev.MetricsLogged(
    step=23,
    epoch=1,
    active_seconds=1.0,
    series={
        "train/loss": Points.of([23], [1.5]),
        "lr": Points.of([23], [0.0015]),
        "samples_per_sec": Points.of([23], [12345.6]),
    },
)
EPOCH = ev.EpochCompleted(step=23, epoch=1, metrics={"train/loss": 1.9}, seconds=0.1)
EVALUATION = ev.EvaluationCompleted(
    step=23, epoch=1, metrics={"val/loss": 1.25, "val/accuracy": 0.75}, seconds=0.01
)
STOP_SIGNALS = ev.EarlyStoppingUpdated(
    step=23,
    early_stopping=EarlyStoppingInfo(monitor="val/loss", mode="min", patience=7, min_delta=0, counter=2),
)


EPOCH_LINE = (
    "epoch  1/60  step    23  train/loss 1.9000     val/loss 1.2500     val/accuracy 0.7500     lr 0.0015  "
    "   12,346 samples/s  without improvement 2/7  ETA 0:59"
)


def test_an_epoch_is_one_line_with_everything_on_it(state: RunState) -> None:
    assert lines_of(state, STARTED, METRICS, EPOCH, EVALUATION, STOP_SIGNALS) == [EPOCH_LINE]


def test_the_best_evaluation_has_a_mark_and_its_columns_stay(state: RunState) -> None:
    best = STOP_SIGNALS.model_copy(deep=True)
    best.early_stopping.best_step = 23
    (line,) = lines_of(state, STARTED, METRICS, EPOCH, EVALUATION, best)
    assert line == EPOCH_LINE.replace("val/loss 1.2500 ", "val/loss 1.2500★")


def test_a_line_that_is_too_long_for_the_terminal_loses_its_last_parts(state: RunState) -> None:
    lines = ProgressLines(state)
    lines.width = 80
    for event in (STARTED, METRICS, EPOCH, EVALUATION):
        lines.line_for(event)
    assert lines.line_for(STOP_SIGNALS) == (
        "epoch  1/60  step    23  train/loss 1.9000     val/loss 1.2500     ETA 0:59"
    )


def test_the_last_line_has_no_time_left(state: RunState) -> None:
    end = ev.RunStarted(steps_per_epoch=23, total_epochs=1, total_steps=23)
    (line,) = lines_of(state, end, METRICS, EPOCH, EVALUATION, STOP_SIGNALS)
    assert line.endswith("without improvement 2/7")


def test_the_lines_as_json(state: RunState) -> None:
    lines = ProgressJson(state)
    events = (ev.PhaseChanged(phase="loading data"), STARTED, METRICS, EPOCH, EVALUATION, STOP_SIGNALS)
    found = [json.loads(line) for event in events if (line := lines.line_for(event))]
    assert found[0] == {"type": "phase", "message": "loading data"}
    assert found[1] == {
        "type": "epoch", "epoch": 1, "epochs": 60, "step": 23, "steps": 1380,
        "metrics": {"train/loss": 1.9, "val/loss": 1.25, "val/accuracy": 0.75},
        "lr": 0.0015, "samples_per_sec": 12345.6, "is_best": False, "eta_seconds": 59.0,
    }  # fmt: skip


def test_a_resume_has_no_line_before_its_first_evaluation(state: RunState) -> None:
    assert lines_of(state, STOP_SIGNALS, STARTED) == []


def trained(epoch: int, step: int, at: float) -> ev.MetricsLogged:
    series = {"train/loss": Points.of([step], [2.0 / step]), "steps_per_sec": Points.of([step], [31.4])}
    return ev.MetricsLogged(step=step, epoch=epoch, active_seconds=at, time=100 + at, series=series)


def test_a_program_without_evaluations_has_a_line_for_each_epoch_and_at_its_end(state: RunState) -> None:
    state.config = {"script": {}}
    ended = ev.RunFinished(status="finished", reason="the program has ended")
    steps = [trained(1, 1, 0), trained(1, 2, 0.5), trained(2, 4, 1.2), trained(3, 5, 1.5), trained(3, 8, 3)]
    assert lines_of(state, ev.RunStarted(), *steps, ended) == [
        "epoch 1  step 1  train/loss 2.0000          31 steps/s",
        "epoch 2  step 4  train/loss 0.5000          31 steps/s",
        "epoch 3  step 8  train/loss 0.2500          31 steps/s",
        "epoch 3  step 8  train/loss 0.2500          31 steps/s",
    ]


def test_a_long_epoch_has_a_line_every_thirty_seconds(state: RunState) -> None:
    steps = [trained(1, step, 10.0 * step) for step in range(1, 9)]
    lines = lines_of(state, STARTED, *steps)
    assert [line.split("train/loss")[0].split() for line in lines] == [
        ["epoch", "1/60", "step", step] for step in ("4", "7")
    ]


def test_a_line_between_evaluations_leaves_their_metrics_out(state: RunState) -> None:
    state.config = {"script": {}}
    evaluation = ev.EvaluationCompleted(step=4, epoch=1, metrics={"val/loss": 1.0}, seconds=0.1, time=105)
    lines = ProgressJson(state)
    steps = [trained(1, 2, 0), trained(1, 4, 4), evaluation, trained(2, 9, 6), trained(2, 30, 40)]
    found = [json.loads(line) for event in steps if (line := lines.line_for(event))]
    assert [(line["type"], line["step"], sorted(line["metrics"])) for line in found] == [
        ("training", 2, ["train/loss"]),
        ("epoch", 4, ["train/loss", "val/loss"]),
        ("training", 30, ["train/loss"]),
    ]
    assert found[-1]["steps_per_sec"] == 31.4


def test_an_lr_of_another_epoch_is_left_out(state: RunState) -> None:
    """Metrics that wait to be sent may be merged into those that follow an evaluation."""
    later = EPOCH.model_copy(update={"step": 46, "epoch": 2})
    line = lines_of(state, STARTED, METRICS, EPOCH, EVALUATION, STOP_SIGNALS, later, STOP_SIGNALS)[-1]
    assert "step    46" in line
    assert "lr" not in line
    assert line.index("samples/s") == EPOCH_LINE.index("samples/s")


def test_without_early_stopping_the_line_comes_with_the_evaluation(state: RunState) -> None:
    state.config = {}
    (line,) = lines_of(state, STARTED, METRICS, EPOCH, EVALUATION)
    assert line.endswith("samples/s  ETA 0:59")
    assert "val/loss 1.2500★ " in line


def test_slow_phases_are_printed_until_the_training_begins(state: RunState) -> None:
    saving = ev.PhaseChanged(phase="saving")
    assert lines_of(state, ev.PhaseChanged(phase="loading data"), STARTED, METRICS, saving) == [
        "loading data"
    ]


def test_the_progress_of_a_phase_is_printed_every_ten_seconds(state: RunState) -> None:
    seconds = [0.5 * number for number in range(60)]
    counted = [
        ev.PhaseChanged(phase="decoding samples", done=round(20 * at), total=600, began=100.0, time=100 + at)
        for at in seconds
    ]
    assert lines_of(state, *counted, ev.PhaseChanged(phase="first batch", time=130.0)) == [
        "decoding samples: 0 of 600",
        "decoding samples: 200 of 600, ETA 0:20",
        "decoding samples: 400 of 600, ETA 0:10",
        "first batch",
    ]


def test_a_value_that_is_missing_is_named(state: RunState) -> None:
    broken = ev.EvaluationCompleted(
        step=23,
        epoch=1,
        metrics={"val/loss": None, "val/auroc": None},
        nonfinite={"val/loss": "nan"},
        seconds=0.01,
        reason="command",
    )
    (line,) = lines_of(state, STARTED, broken)
    assert "val/loss NaN        val/auroc n/a" in line


def test_commands_and_problems_are_printed(state: RunState) -> None:
    assert lines_of(
        state,
        ev.CommandApplied(id="1", command=PauseRun(), step=1200, by="ann@pts/1", detail="paused"),
        ev.CheckpointFailed(step=5, reason="disk full"),
        ev.LogWritten(level="warning", message="\x1b[31mhot"),
    ) == [
        "step 1,200: paused (requested by ann@pts/1)",
        "checkpoint failed: disk full",
        "warning: \\x1b[31mhot",
    ]


def test_log_lines_are_printed_until_the_training_begins(state: RunState) -> None:
    logged = ev.MetricsLogged(step=1, epoch=1, active_seconds=0.1, series={})
    message = ev.LogWritten(message="8 of 8 tensors are loaded")
    assert lines_of(state, message, logged, ev.LogWritten(message="chatter")) == ["8 of 8 tensors are loaded"]


def test_a_roll_back_is_one_line_and_its_best_counts(state: RunState) -> None:
    """With it come the counters of early stopping, without an evaluation."""
    back = ev.RunResumed(step=23, epoch=1, checkpoint="step-00000023", rolled_back_from=60)
    detail = "back at step 23 from step 60, lr 0.01"
    applied = ev.CommandApplied(id="1", command=RollBack(), step=23, by="me", detail=detail)
    assert lines_of(state, STARTED, METRICS, EVALUATION, STOP_SIGNALS, back, STOP_SIGNALS, applied)[1:] == [
        f"step 23: {detail} (requested by me)"
    ]
    other = RunState(name="run", folder="/runs/run")
    worse = EVALUATION.model_copy(update={"metrics": {"val/loss": 1.5}})
    [_, better] = lines_of(other, EVALUATION, back, worse)
    assert "val/loss 1.5000★" in better
