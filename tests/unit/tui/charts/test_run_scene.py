"""Which metrics share a chart, and what is drawn of a run."""

from __future__ import annotations

from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.tui.charts.run_scene import (
    ChartSettings,
    groups_of,
    run_axis,
    run_marks,
    run_panels,
    usual_groups,
)
from torchconsole.tui.state import ConsoleState

METRICS = [
    "lr",
    "val/f1",
    "train/loss",
    "samples_per_sec",
    "val/loss",
    "val/ema_loss",
    "grad_norm",
    "val/accuracy",
    "custom/x",
]


def state_with(*metrics: str) -> ConsoleState:
    """Return a live run that has logged these metrics at steps 1 and 2 of 100."""
    state = ConsoleState(RunState(name="r", folder="/r"), connection="live")
    state.receive(ev.RunStarted(steps_per_epoch=10, total_epochs=10, total_steps=100))
    series = {name: Points.of([1, 2], [0.1, 0.2]) for name in metrics}
    state.receive(ev.MetricsLogged(step=2, epoch=1, active_seconds=1, series=series))
    return state


def test_train_and_val_of_one_name_share_a_chart() -> None:
    groups = groups_of(METRICS)
    assert groups["loss"] == ["train/loss", "val/loss", "val/ema_loss"]
    assert (next(iter(groups)), list(groups)[-1]) == ("loss", "lr")
    assert groups["custom/x"] == ["custom/x"]


def test_loss_quality_gradients_and_lr_are_shown_usually() -> None:
    assert usual_groups(METRICS) == ["loss", "accuracy", "grad_norm", "lr"]
    assert usual_groups(["train/loss"]) == ["loss"]


def test_chosen_metrics_are_shown_and_names_that_a_run_lacks_are_ignored() -> None:
    state = state_with(*METRICS)
    chosen = run_panels(state, ChartSettings(metrics=["val/f1", "samples_per_sec", "gone"]))
    assert [panel.title for panel in chosen] == ["f1", "samples per sec"]
    usual = run_panels(state, ChartSettings(metrics=["gone"]))
    assert [panel.title for panel in usual] == ["loss", "accuracy", "grad norm", "lr"]
    assert run_panels(state, ChartSettings(first="lr"))[0].title == "lr"


def test_evaluations_are_marks_and_the_lr_is_exact() -> None:
    panels = {panel.title: panel for panel in run_panels(state_with(*METRICS), ChartSettings())}
    kinds = {curve.label: (curve.kind, curve.has_band) for curve in panels["loss"].curves}
    assert kinds == {"train": ("line", True), "val": ("evaluations", False), "ema": ("evaluations", False)}
    assert panels["lr"].is_exact
    assert panels["lr"].curves[0].kind == "exact"


def test_a_run_without_metrics_has_an_empty_chart() -> None:
    (panel,) = run_panels(state_with(), ChartSettings())
    assert (panel.title, list(panel.curves)) == ("loss", [])


def test_the_axis_ends_with_the_run_once_that_has_ended() -> None:
    state = state_with("train/loss")
    assert run_axis(state).end == 13
    state.receive(ev.RunFinished(status="stopped", reason="enough", step=2, epoch=1))
    assert run_axis(state).end == 2


def test_marks_are_changes_saves_resumes_and_the_best() -> None:
    state = state_with("train/loss")
    applied = {"id": "1", "by": "me", "detail": "lr 0.1 -> 0.05", "step": 2}
    for command in (cmd.SetLearningRate(factor=0.5), cmd.SaveCheckpoint(), cmd.RunEvaluation()):
        state.receive(ev.CommandApplied(command=command, **applied))  # type: ignore[arg-type]
    state.receive(ev.CheckpointSaved(step=1, epoch=1, name="step-00000001", reason="last"))
    state.receive(ev.RunResumed(step=2, epoch=1, checkpoint="x"))
    assert [(mark.step, mark.sign) for mark in run_marks(state.run)] == [(1, "▼"), (2, "◆"), (2, "↺")]


def test_the_charts_of_chosen_metrics_name_their_units() -> None:
    panels = run_panels(state_with("data_wait", "samples_per_sec"), ChartSettings(metrics=["data_wait"]))
    notes = {panel.title: "".join(text for text, _ in panel.note).strip() for panel in panels}
    assert notes == {"data wait": "share of the time spent waiting for batches"}
