"""The loop: its events in order, commands at step boundaries, and a resume that nobody can tell."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.runs import wait_until
from tests.support.sessions import MakeSession, ObservedLoss, Session, during_step
from torchconsole.engine.errors import ComponentError, TrainingError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.checkpoints import list_checkpoints, read_manifest
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.dry_run import dry_run
from torchconsole.engine.training.trial import first_batch


def at_step(session: Session, step: int, *commands: cmd.Command) -> None:
    """Send commands during a step, as the server's thread does."""

    def hand_in(point: MetricsPoint) -> None:
        if point.step == step:
            for number, command in enumerate(commands):
                session.commands.put(f"{step}-{number}", command, "tester@tty")

    session.event_queue.on_log = hand_in


def test_an_epoch_emits_its_events_in_order(session: MakeSession) -> None:
    run = session("training.epochs=1")
    outcome = run.trainer.run()
    assert (outcome.status, outcome.reason, outcome.epoch) == ("finished", "all epochs done", 1)
    elsewhere = ("PhaseChanged", "CheckpointSaved", "SchedulePlanned")
    kinds = [event.type for event in run.event_queue.events if event.type not in elsewhere]
    assert kinds == ["RunStarted", "EpochCompleted", "EvaluationCompleted", "EarlyStoppingUpdated"]
    assert [point.step for point in run.event_queue.points] == list(range(1, 24))
    assert {event.reason for event in run.event_queue.of(ev.CheckpointSaved)} == {"best", "last"}


def test_it_learns_and_ends_by_early_stopping(session: MakeSession) -> None:
    run = session()
    outcome = run.trainer.run()
    assert outcome.reason.startswith("early stopping: val/loss has not improved for 10 evaluations")
    best = max(event.metrics["val/accuracy"] or 0 for event in run.event_queue.of(ev.EvaluationCompleted))
    assert best > 0.96
    last = run.event_queue.of(ev.EarlyStoppingUpdated)[-1].early_stopping
    assert last.counter == 10
    assert (run.checkpoints / "best").resolve().name == f"step-{last.best_step:08d}"


def test_the_epochs_loss_is_the_sample_weighted_mean_of_its_lines(session: MakeSession) -> None:
    run = session("training.epochs=1", "training.log_every=5")
    run.trainer.run()
    epoch = run.event_queue.of(ev.EpochCompleted)[0].metrics["train/loss"]
    every = session("training.epochs=1")
    every.trainer.run()
    sizes = [64] * 22 + [1437 - 22 * 64]
    weighted = (
        sum(loss * size for (_, loss), size in zip(every.event_queue.losses, sizes, strict=True)) / 1437
    )
    assert epoch == pytest.approx(weighted, rel=1e-6)
    assert [point.step for point in run.event_queue.points] == [5, 10, 15, 20]


def test_an_lr_set_at_a_step_takes_effect_at_the_next_one(session: MakeSession) -> None:
    run = session("training.epochs=1")
    at_step(run, 5, cmd.SetLearningRate(factor=0.5))
    run.trainer.run()
    plain = session("training.epochs=1")
    plain.trainer.run()
    ratios = [
        point.metrics["lr"] / reference.metrics["lr"]
        for point, reference in zip(run.event_queue.points, plain.event_queue.points, strict=True)
    ]
    assert ratios == pytest.approx([1.0] * 5 + [0.5] * 18)
    [applied] = run.event_queue.of(ev.CommandApplied)
    assert (applied.step, applied.by, applied.result["scale"]) == (5, "tester@tty", 0.5)
    assert run.event_queue.losses[:6] == plain.event_queue.losses[:6]
    assert run.event_queue.losses[6:] != plain.event_queue.losses[6:]


@pytest.mark.parametrize(
    ("commands", "lr", "scale", "held"),
    [
        ([cmd.SetLearningRate(factor=0.5)], 0.001, 0.5, None),
        ([cmd.SetLearningRate(value=0.02)], 0.02, 10.0, None),
        ([cmd.HoldLearningRate()], 0.002, 1.0, 0.002),
        ([cmd.HoldLearningRate(value=0.3)], 0.3, 1.0, 0.3),
        ([cmd.HoldLearningRate(value=0.3), cmd.SetLearningRate(factor=0.5)], 0.15, 1.0, 0.15),
        ([cmd.HoldLearningRate(value=0.3), cmd.ReleaseLearningRate()], 0.002, 1.0, None),
    ],
)
def test_a_change_of_the_lr_is_in_effect_at_the_next_step_and_after_a_resume(
    session: MakeSession, commands: list[cmd.Command], lr: float, scale: float, held: float | None
) -> None:
    constant = 'schedule=[{name="ConstantLR", factor=1.0}]'
    overrides = (constant, "optimizer.lr=0.002", "training.epochs=1")
    run = session(*overrides)
    at_step(run, 5, *commands, cmd.StopRun())
    run.trainer.run()
    logged = run.event_queue.of(ev.CommandApplied)[len(commands) - 1].result
    assert (logged["lr"], logged["scale"], logged["held"]) == pytest.approx((lr, scale, held))
    again = session(*overrides)
    again.state.load_state_dict(newest_valid(run.checkpoints)[1])
    again.trainer.run()
    [started] = again.event_queue.of(ev.RunStarted)
    assert (started.lr_scale, started.lr_held) == pytest.approx((scale, held))
    never_stopped = session(*overrides)
    at_step(never_stopped, 5, *commands)
    never_stopped.trainer.run()
    for points in (never_stopped.event_queue.points[5:], again.event_queue.points):
        assert [point.metrics["lr"] for point in points] == pytest.approx([lr] * 18)


def test_a_schedule_changed_by_a_metric_is_forecast_again(session: MakeSession) -> None:
    plateau = 'name="ReduceLROnPlateau", interval="epoch", patience=0, threshold=10.0'
    run = session(f'schedule=[{{{plateau}, threshold_mode="abs"}}]', "training.epochs=3")

    def wait_for_the_plan(point: MetricsPoint) -> None:
        if point.step in (1, 47):
            wait_until(lambda: len(run.event_queue.of(ev.SchedulePlanned)) == 1 + point.step // 47)

    run.event_queue.on_log = wait_for_the_plan
    run.trainer.run()
    first, second = run.event_queue.of(ev.SchedulePlanned)[:2]
    assert first.metric == second.metric == "val/loss"
    assert (first.scheduled.steps[0], second.scheduled.steps[0]) == (1, 47)
    assert second.scheduled.values[0] == pytest.approx(first.scheduled.values[0] / 10)


def test_a_paused_run_still_saves_evaluates_and_changes_the_lr(session: MakeSession) -> None:
    run = session("training.epochs=1")
    at_step(
        run,
        7,
        cmd.PauseRun(),
        cmd.PauseRun(),
        cmd.SetLearningRate(value=0.02),
        cmd.RunEvaluation(),
        cmd.SaveCheckpoint(),
        cmd.UnpauseRun(),
        cmd.UnpauseRun(),
    )
    run.trainer.run()
    applied = run.event_queue.of(ev.CommandApplied)
    assert {event.step for event in applied} == {7}
    assert [event.id for event in run.event_queue.of(ev.CommandRejected)] == ["7-1", "7-6"]
    assert run.event_queue.of(ev.RunPaused)[0].step == 7
    assert run.event_queue.points[7].metrics["lr"] == pytest.approx(0.02)
    saved = run.checkpoints / "step-00000007"
    assert str(saved) in [event.result.get("checkpoint") for event in applied]
    assert saved.is_dir()


def test_a_pause_waits_for_the_next_command(session: MakeSession) -> None:
    run = session("training.epochs=1")
    at_step(run, 3, cmd.PauseRun())
    training = threading.Thread(target=run.trainer.run)
    paused = threading.Event()
    emit = run.event_queue.emit

    def watch(event: ev.Event) -> None:
        emit(event)
        if isinstance(event, ev.RunPaused):
            paused.set()

    run.trainer.emit = watch
    training.start()
    assert paused.wait(30)
    assert run.event_queue.points[-1].step == 3
    run.commands.put("go", cmd.UnpauseRun(), "")
    training.join(30)
    assert run.event_queue.points[-1].step == 23


def pauses(session: Session, then: dict[int, cmd.Command]) -> list[int]:
    """Send a command in the pause at each of these steps; return the steps of all pauses, as they come."""
    found: list[int] = []
    emit = session.event_queue.emit

    def watch(event: ev.Event) -> None:
        emit(event)
        if isinstance(event, ev.RunPaused):
            found.append(event.step)
            session.commands.put("", then.get(event.step, cmd.StopRun()), "")

    session.trainer.emit = watch
    return found


def test_steps_are_trained_until_a_pause(session: MakeSession) -> None:
    run = session("training.epochs=1")
    at_step(run, 3, cmd.TrainSteps(steps=4), cmd.SetLearningRate(value=0.02))
    paused = pauses(run, {7: cmd.TrainSteps(), 8: cmd.UnpauseRun()})
    run.trainer.run()
    assert paused == [7, 8]
    assert len(run.event_queue.of(ev.RunUnpaused)) == 2
    assert run.event_queue.points[-1].step == 23
    steps = [
        event for event in run.event_queue.of(ev.CommandApplied) if isinstance(event.command, cmd.TrainSteps)
    ]
    assert [event.detail for event in steps] == [
        "4 steps, then a pause",
        "1 step, then a pause",
    ]


@pytest.mark.parametrize(
    ("commands", "at"),
    [
        ((cmd.TrainSteps(steps=10), cmd.TrainSteps(steps=2)), 5),
        ((cmd.TrainSteps(steps=10), cmd.PauseRun()), 3),
        ((cmd.PauseRun(), cmd.TrainSteps(steps=5)), 3),
    ],
)
def test_the_last_command_decides_when_the_pause_begins(
    session: MakeSession, commands: tuple[cmd.Command, ...], at: int
) -> None:
    run = session("training.epochs=1")
    at_step(run, 3, *commands)
    paused = pauses(run, {at: cmd.UnpauseRun(), 8: cmd.UnpauseRun()})
    run.trainer.run()
    assert paused[0] == at
    assert paused[1:] == ([8] if isinstance(commands[0], cmd.PauseRun) else [])


@pytest.mark.parametrize("log_every", [1, 100])
@pytest.mark.parametrize(
    ("preset", "at"),
    [
        ("training.precision=fp16", [4, 5]),  # the scaler's skipped steps are not numbered
        ('optimizer={name="AdamW", fused=true}', [6, 8]),
        ('optimizer={name="Adagrad"}', [6, 8]),
    ],
    ids=["by the scaler", "on the device", "on the host"],
)
def test_skipped_steps_do_not_count_as_steps_until_a_pause(
    session: MakeSession, preset: str, at: list[int], log_every: int
) -> None:
    run = session("training.epochs=1", "training.nonfinite=skip", preset, f"training.log_every={log_every}")
    batches = itertools.count(1)

    def spoil(step: int, loss: Tensor) -> Tensor:
        return loss * float("inf") if next(batches) in (2, 5, 7) else loss

    run.setup.loss_fn = ObservedLoss(run, spoil)
    run.commands.put("", cmd.TrainSteps(steps=3), "")  # it is applied after the first step
    paused = pauses(run, {at[0]: cmd.TrainSteps()})
    run.trainer.run()
    assert paused == at
    assert next(batches) == 9


def test_a_roll_back_leaves_as_many_steps_until_a_pause(session: MakeSession) -> None:
    run = session("training.epochs=1")
    script = {2: [cmd.SaveCheckpoint(), cmd.TrainSteps(steps=9)], 8: [cmd.RollBack(checkpoint="2")]}

    def hand_in(point: MetricsPoint) -> None:
        for command in script.pop(point.step, []):
            run.commands.put("", command, "")

    run.event_queue.on_log = hand_in
    paused = pauses(run, {})
    run.trainer.run()
    assert [point.step for point in run.event_queue.points] == [*range(1, 9), *range(3, 6)]
    assert paused == [5]


def test_a_stop_saves_and_rejects_later_commands(session: MakeSession) -> None:
    run = session()
    at_step(run, 9, cmd.StopRun(reason="enough"), cmd.SaveCheckpoint())
    outcome = run.trainer.run()
    assert (outcome.status, outcome.reason, outcome.step) == ("stopped", "enough", 9)
    assert run.event_queue.of(ev.CommandRejected)[0].reason == "the run has ended"
    assert newest_valid(run.checkpoints)[0].name == "step-00000009"


PLATEAU = 'schedule=[{name="ReduceLROnPlateau", patience=0, threshold=0.5, interval="epoch"}]'
SHIFTED = 'data.transforms.train=[{name="RandomCrop", size=8, padding=1}, {name="RandomErasing"}]'
ONE_CYCLE = 'schedule=[{name="OneCycleLR", max_lr=0.01}]'


@pytest.mark.parametrize(
    ("stop_at", "more"),
    [
        (1, ()),
        (10, ()),
        (23, ()),
        (24, ()),
        (40, ()),
        (10, (ONE_CYCLE,)),
        (30, ("training.clip_norm=0.5",)),
        (30, ("ema.decay=0.9",)),
        (7, ("data.batch_size=16", "training.grad_accum_steps=4")),
        (23, ("data.batch_size=16", "training.grad_accum_steps=4")),
        (30, ("training.precision=fp16",)),
        (30, ("training.precision=bf16",)),
        (30, ('data.transforms.batch=[{name="MixUp"}, {name="CutMix"}]',)),
        (30, ("training.eval_interval=step", "training.eval_every=10", PLATEAU)),
        (30, ("training.nonfinite=skip",)),
        (30, (SHIFTED,)),
        (30, (SHIFTED, "data.in_memory=false", "data.num_workers=2")),
    ],
)
def test_a_resumed_run_is_bit_identical_to_one_never_stopped(
    session: MakeSession, tmp_path: Path, stop_at: int, more: tuple[str, ...]
) -> None:
    overrides = ("training.epochs=3", "model.dropout=0.3", "training.log_every=4", *more)
    uninterrupted = session(*overrides, checkpoints=tmp_path / "uninterrupted")
    halve_lr_at_8_and_stop_at(uninterrupted, None)
    uninterrupted.trainer.run()

    first = session(*overrides, checkpoints=tmp_path / "parts")
    halve_lr_at_8_and_stop_at(first, stop_at)
    first.trainer.run()

    second = session(*overrides, checkpoints=tmp_path / "parts")
    second.state.load_state_dict(newest_valid(tmp_path / "parts")[1])
    halve_lr_at_8_and_stop_at(second, None)
    second.trainer.run()

    assert first.event_queue.losses + second.event_queue.losses == uninterrupted.event_queue.losses
    for name, tensor in uninterrupted.setup.model.state_dict().items():
        assert torch.equal(tensor, second.setup.model.state_dict()[name]), name


def test_a_run_that_early_stopping_ended_does_not_continue(session: MakeSession, tmp_path: Path) -> None:
    overrides = ("early_stopping.patience=2", "training.epochs=100")
    first = session(*overrides)
    first.trainer.run()
    again = session(*overrides)
    again.state.load_state_dict(newest_valid(first.checkpoints)[1])
    outcome = again.trainer.run()
    assert (outcome.step, again.event_queue.points) == (first.state.progress.step, [])
    assert outcome.reason.startswith("early stopping")
    further = session("early_stopping.patience=4", "training.epochs=100")
    further.state.load_state_dict(newest_valid(first.checkpoints)[1])
    assert further.trainer.run().step > outcome.step


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("early_stopping.monitor=val/acc", "did you mean 'val/accuracy'?"),
        ("early_stopping.monitor=train/loss", "; available: val/loss, val/accuracy"),
        (
            'schedule=[{name="ReduceLROnPlateau", monitor="val/los", interval="epoch"}]',
            "did you mean 'val/loss'?",
        ),
    ],
)
def test_a_metric_that_no_evaluation_gives_cannot_be_monitored(
    session: MakeSession, override: str, hint: str
) -> None:
    setup = session(override).setup
    with pytest.raises(ComponentError) as caught:
        dry_run(setup, first_batch(setup))
    assert hint in str(caught.value)


def halve_lr_at_8_and_stop_at(run: Session, stop_at: int | None) -> None:
    """Send commands that are applied after exact steps, whether or not those are logged."""

    def send(step: int) -> None:
        if step == 8:
            run.commands.put("lr", cmd.SetLearningRate(factor=0.5), "")
        if step == stop_at:
            run.commands.put("stop", cmd.StopRun(), "")

    during_step(run, send)


def test_a_checkpoint_is_taken_at_every_so_many_steps(session: MakeSession) -> None:
    run = session(
        "training.epochs=1", "training.log_every=4", "checkpoint.save_every_steps=5", "checkpoint.keep=-1"
    )
    run.trainer.run()
    periodic = [event.step for event in run.event_queue.of(ev.CheckpointSaved) if event.reason == "last"]
    assert set(periodic) <= {5, 10, 15, 20, 23}
    assert periodic[-1] == 23
    assert len(periodic) > 1


def test_weights_that_are_not_finite_are_not_saved_between_two_lines(session: MakeSession) -> None:
    run = session(
        'optimizer={name="SGD", lr=1e25}',
        "schedule=",
        "training.log_every=20",
        "checkpoint.save_every_steps=1",
    )
    with pytest.raises(TrainingError, match="not finite at step 2"):
        run.trainer.run()
    run.manager.flush()
    folder, state, _ = newest_valid(run.checkpoints)
    assert folder.name == "step-00000001"
    assert all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/accuracy", "max"), ("val/loss", "min"), ("val/ema_accuracy", "max")]
)
def test_the_direction_of_a_metric_is_known(session: MakeSession, monitor: str, mode: str) -> None:
    run = session(f"early_stopping.monitor={monitor}", "early_stopping.mode=", "ema.decay=0.9")
    assert run.state.early_stopping.info().mode == mode
    assert run.setup.preset.early_stopping is not None
    assert run.setup.preset.early_stopping.mode == mode


def test_a_checkpoint_has_the_metrics_of_its_own_evaluation_only(session: MakeSession) -> None:
    run = session("training.epochs=2", "early_stopping=")
    at_step(run, 30, cmd.SaveCheckpoint())
    run.trainer.run()
    assert read_manifest(run.checkpoints / "step-00000030").metrics == {}
    evaluation = run.event_queue.of(ev.EvaluationCompleted)[-1]
    assert read_manifest(run.checkpoints / "last").metrics == evaluation.metrics


def test_a_temporary_checkpoint_is_rotated_like_any_other(session: MakeSession) -> None:
    run = session("training.max_steps=30", "early_stopping=", "checkpoint.keep=1")
    temporary = cmd.SaveCheckpoint(keep=False)
    asked = {4: [temporary], 8: [temporary], 12: [temporary], 16: [temporary, cmd.SaveCheckpoint()]}

    def hand_in(point: MetricsPoint) -> None:
        for number, command in enumerate(asked.get(point.step, [])):
            run.commands.put(f"{point.step}-{number}", command, "tester@tty")

    run.event_queue.on_log = hand_in
    run.trainer.run()
    assert len(run.event_queue.of(ev.CommandApplied)) == 5
    kept = {path.name: read_manifest(path).kept for path in list_checkpoints(run.checkpoints)}
    assert kept == {"step-00000016": True, "step-00000030": False}


def test_training_with_tensors_of_an_evaluation_is_explained(session: MakeSession) -> None:
    run = session("training.eval_every=1", "training.eval_interval=step")
    linear, cache = run.setup.model.layers[1], {}

    def forward(inputs: Tensor) -> Tensor:
        if not linear.training:
            cache.setdefault("scale", torch.ones(1))
        return F.linear(inputs, linear.weight, linear.bias) * cache.get("scale", 1)

    linear.forward = forward
    with pytest.raises(
        TrainingError, match=r"trains with a tensor that it created during an evaluation.*register_buffer"
    ):
        run.trainer.run()
