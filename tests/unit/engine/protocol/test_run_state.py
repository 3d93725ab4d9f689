"""Each event changes the state as its docstring says."""

from __future__ import annotations

import math

from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import HoldLearningRate, ReleaseLearningRate, SetLearningRate
from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import (
    LOG_LINES,
    History,
    RunState,
    Storage,
    apply,
    fields_stored_in,
    storage_of_fields,
)


def folded(*events: ev.Event) -> tuple[RunState, History]:
    state, history = RunState(name="r", folder="/r"), History()
    for event in events:
        apply(state, history, event)
    return state, history


def logged(step: int, loss: float, seq: int = 0) -> ev.MetricsLogged:
    series = {"train/loss": Points.of([step], [loss]), "lr": Points.of([step], [0.1])}
    return ev.MetricsLogged(seq=seq, step=step, epoch=1, active_seconds=step / 10, series=series)


def test_the_state_follows_a_run_from_start_to_end() -> None:
    started = ev.RunStarted(steps_per_epoch=10, total_epochs=2, total_steps=20)
    state, history = folded(started, logged(5, 0.7, seq=3))
    assert (state.status, state.step, state.lr, state.seq) == ("running", 5, 0.1, 3)
    assert state.eta_seconds == 1.5
    state.config = {"training": {"max_minutes": 0.03}}
    assert state.eta_seconds == 60 * 0.03 - 0.5  # less than the steps would take
    apply(state, history, ev.RunFinished(status="finished", reason="all", step=20, epoch=2, time=9.0))
    assert (state.status, state.reason, state.ended, state.is_live) == ("finished", "all", 9.0, False)
    assert history["train/loss"].values.tolist() == [0.7]


def test_statuses_follow_pause_and_stop() -> None:
    state, history = folded(ev.RunStarted(steps_per_epoch=1))
    seen = []
    for event in (
        ev.PauseRequested(),
        ev.RunPaused(step=3),
        ev.RunUnpaused(step=3),
        ev.StopRequested(reason="x"),
        ev.RunLost(reason="gone"),
    ):
        apply(state, history, event)
        seen.append(state.status)
    assert seen == ["pausing", "paused", "running", "stopping", "lost"]


def test_a_resume_drops_what_was_recorded_after_the_checkpoint() -> None:
    state, history = folded(logged(1, 0.9), logged(2, 0.8), logged(3, 0.7))
    apply(state, history, ev.RunResumed(step=1, epoch=0, checkpoint="step-00000001"))
    assert state.step == 1
    assert history["train/loss"].steps.tolist() == [1]


def test_a_resume_restores_the_state_of_the_checkpoint() -> None:
    change = SetLearningRate(factor=0.5)
    applied = [ev.CommandApplied(id=str(at), command=change, step=at, result={"lr": 0.01}) for at in (1, 2)]
    state, history = folded(logged(1, 0.9), applied[0], logged(2, math.nan), logged(3, 0.7), applied[1])
    apply(state, history, ev.RunResumed(step=1, epoch=0, checkpoint="step-00000001"))
    assert state.changes == [applied[0]]
    assert state.metrics == {"train/loss": 0.9, "lr": 0.1}
    state, history = folded(logged(1, 0.9), logged(2, math.nan), logged(3, 0.7))
    apply(state, history, ev.RunResumed(step=2, epoch=0, checkpoint="step-00000002"))
    assert state.metrics == {"train/loss": None, "lr": 0.1}


def test_a_live_run_that_is_rolled_back_keeps_its_status() -> None:
    state, history = folded(logged(1, 0.9), logged(2, 0.8), ev.RunPaused(step=2))
    back = ev.RunResumed(step=1, epoch=0, checkpoint="step-00000001", active_seconds=0.1, rolled_back_from=2)
    apply(state, history, back)
    assert (state.status, state.step, state.active_seconds) == ("paused", 1, 0.1)
    assert history["train/loss"].steps.tolist() == [1]
    assert [(mark.step, mark.rolled_back) for mark in state.marks] == [(1, True)]


def test_a_rolled_back_run_has_no_measurements_of_the_way_it_has_left() -> None:
    measured = ev.LayersMeasured(step=2, every=1, layers=[])
    state, history = folded(logged(1, 0.9), measured, logged(2, 0.8))
    assert state.layers_measured == measured
    state.gradient_norms = {"fc": [0.5, "nan"]}
    apply(state, history, ev.RunResumed(step=1, epoch=0, checkpoint="step-00000001", rolled_back_from=2))
    assert (state.layers_measured, state.gradient_norms) == (None, {})


def test_a_run_stopped_before_training_keeps_its_step_and_epoch() -> None:
    state, _ = folded(logged(5, 0.7), ev.RunFinished(status="stopped", reason="SIGTERM"))
    assert (state.status, state.step, state.epoch) == ("stopped", 5, 1)


def test_a_nan_in_an_evaluation_reaches_the_history() -> None:
    state, history = folded(
        ev.EvaluationCompleted(
            step=4, epoch=1, metrics={"val/loss": None}, nonfinite={"val/loss": "nan"}, seconds=0.1
        )
    )
    assert state.metrics["val/loss"] is None
    assert math.isnan(history["val/loss"].values[0])


def test_a_resume_drops_a_later_confusion_matrix() -> None:
    matrix = ConfusionMatrix(classes=["a", "b"], counts=[[3, 1], [0, 4]])
    evaluated = ev.EvaluationCompleted(step=4, epoch=1, metrics={}, seconds=0.1, confusion=matrix)
    without = ev.EvaluationCompleted(step=5, epoch=1, metrics={}, seconds=0.1)
    state, history = folded(evaluated, without)
    assert state.last_confusion == evaluated
    apply(state, history, ev.RunResumed(step=4, epoch=1, checkpoint="step-00000004"))
    assert state.last_confusion == evaluated
    apply(state, history, ev.RunResumed(step=3, epoch=0, checkpoint="step-00000003"))
    assert state.last_confusion is None


def test_an_applied_lr_counts_before_the_next_logged_step() -> None:
    applied = ev.CommandApplied(
        id="1", command=SetLearningRate(factor=0.5), step=7, result={"lr": 0.05, "scale": 0.5}
    )
    state, _ = folded(logged(7, 0.5), applied)
    assert state.lr == 0.05
    assert [change.step for change in state.changes] == [7]


def test_hold_and_scale_follow_the_start_and_each_change() -> None:
    state, history = folded(ev.RunStarted(steps_per_epoch=1, lr_scale=0.5, lr_held=0.2))
    seen = [(state.lr_scale, state.lr_held)]
    for command, result in (
        (ReleaseLearningRate(), {"lr": 0.05, "scale": 0.5, "held": None}),
        (SetLearningRate(factor=2.0), {"lr": 0.1, "scale": 1.0, "held": None}),
        (HoldLearningRate(value=0.3), {"lr": 0.3, "scale": 1.0, "held": 0.3}),
    ):
        apply(state, history, ev.CommandApplied(id="1", command=command, step=7, result=result))
        seen.append((state.lr_scale, state.lr_held))
    assert seen == [(0.5, 0.2), (0.5, None), (1.0, None), (1.0, 0.3)]


def test_the_log_is_bounded() -> None:
    state, _ = folded(*(ev.LogWritten(message=str(i)) for i in range(LOG_LINES + 10)))
    assert len(state.log) == LOG_LINES
    assert state.log[-1].message == str(LOG_LINES + 9)


def test_every_field_declares_where_it_is_stored() -> None:
    """Otherwise a resume would silently lose a new field."""
    undeclared = [
        name
        for name, field in RunState.model_fields.items()
        if not any(isinstance(entry, Storage) for entry in field.metadata)
    ]
    assert undeclared == []


def test_a_field_is_either_live_or_stored() -> None:
    stored = Storage.IDENTITY | Storage.RECORD | Storage.DETAILS | Storage.OWN_FILE
    for name, storage in storage_of_fields().items():
        assert bool(storage & stored) != bool(storage & Storage.LIVE), name


def test_a_field_that_a_resume_continues_with_is_stored_in_a_file() -> None:
    files = Storage.RECORD | Storage.DETAILS | Storage.OWN_FILE
    assert set(fields_stored_in(Storage.RESUMED)) <= set(fields_stored_in(files))


def test_saves_and_resumes_are_marks_and_going_back_drops_later_ones() -> None:
    state = RunState(name="run", folder="/run")
    saved = ev.CheckpointSaved(step=10, epoch=1, name="step-00000010", reason="last")
    for event in (saved, saved, saved.model_copy(update={"step": 20})):
        apply(state, {}, event)
    assert [(mark.kind, mark.step) for mark in state.marks] == [("saved", 10), ("saved", 20)]
    apply(state, {}, ev.RunResumed(step=10, epoch=1, checkpoint="step-00000010"))
    assert [(mark.kind, mark.step) for mark in state.marks] == [("saved", 10), ("resumed", 10)]


def test_the_losses_of_several_optimizers_replace_the_one_of_the_first() -> None:
    def of_two(step: int) -> ev.MetricsLogged:
        series = {f"train/loss_{name}": Points.of([step], [0.1 * step]) for name in ("D", "G")}
        return ev.MetricsLogged(step=step, epoch=1, active_seconds=1, series=series)

    state, history = folded(logged(1, 0.7), of_two(2))
    assert state.losses == {"train/loss_D": 0.2, "train/loss_G": 0.2}
    assert "train/loss" not in state.metrics
    assert history["train/loss"].values.tolist() == [0.7]
    apply(state, history, logged(3, 0.5))
    assert state.losses == {"train/loss": 0.5}
    apply(state, history, ev.RunResumed(step=0, epoch=0, checkpoint="step-0"))
    apply(state, history, of_two(2))
    assert set(state.losses) == {"train/loss_D", "train/loss_G"}
