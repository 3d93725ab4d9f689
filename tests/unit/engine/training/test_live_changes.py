"""Settings of a run that trains are changed by commands, from that step on, and are kept by a resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import wait_until
from tests.support.sessions import MakeSession, Session, weights
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.protocol.commands import ChangeSetting, StopRun
from torchconsole.engine.protocol.events import (
    CommandApplied,
    CommandRejected,
    EarlyStoppingUpdated,
    EvaluationCompleted,
    RunFinished,
)
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.resume import resume_training


def ask(run: Session, settings: Mapping[int, str]) -> None:
    """Send settings (`key=value`) during steps."""

    def hand_in(point: MetricsPoint) -> None:
        if setting := settings.get(point.step):
            key, _, value = setting.partition("=")
            run.commands.put(f"c{point.step}", ChangeSetting(key=key, value=value), "me")

    run.event_queue.on_log = hand_in


def trained(run: Session, settings: Mapping[int, str]) -> RunFinished:
    ask(run, settings)
    return run.trainer.run()


def applied(run: Session) -> list[tuple[int, str]]:
    return [(event.step, event.detail) for event in run.event_queue.of(CommandApplied)]


def rejections(run: Session) -> list[str]:
    return [event.reason for event in run.event_queue.of(CommandRejected)]


def norms(run: Session) -> dict[int, float | None]:
    return {point.step: point.metrics.get("grad_norm") for point in run.event_queue.points}


def evaluated(run: Session) -> list[int]:
    return [event.step for event in run.event_queue.of(EvaluationCompleted)]


def test_gradients_are_clipped_from_the_next_step_on_and_until_it_is_unset(session: MakeSession) -> None:
    run = session("training.max_steps=9")
    trained(run, {3: "training.clip_norm=0.001", 6: "training.clip_norm="})
    assert applied(run) == [
        (3, "training.clip_norm unset -> 0.001"),
        (6, "training.clip_norm 0.001 -> unset"),
    ]
    assert [step for step, norm in norms(run).items() if norm is not None] == [4, 5, 6]
    before = session("training.max_steps=9")
    before.trainer.run()
    assert run.event_queue.losses[:4] == before.event_queue.losses[:4]
    assert run.event_queue.losses[4] != before.event_queue.losses[4]


@pytest.mark.parametrize("setting", ["training.clip_value=1e-6", "training.clip_norm=1e-6"])
def test_weights_move_less_from_the_next_step_on(session: MakeSession, setting: str) -> None:
    since = session("optimizer.name=SGD", "optimizer.weight_decay=0", "schedule=[]", "training.max_steps=3")
    found: list[list[torch.Tensor]] = []
    ask(since, {2: setting})
    hand_in = since.event_queue.on_log

    def note(point: MetricsPoint) -> None:
        found.append(weights(since))
        hand_in(point)

    since.event_queue.on_log = note
    since.trainer.run()
    moves = [
        max((old - new).abs().max().item() for old, new in zip(*found[step : step + 2], strict=True))
        for step in range(2)
    ]
    assert moves[0] > 1e-5 > moves[1]


def test_lines_are_logged_as_often_as_it_says(session: MakeSession) -> None:
    run = session("training.max_steps=20")
    trained(run, {4: "training.log_every=5", 15: "training.log_every="})
    assert [point.step for point in run.event_queue.points] == [1, 2, 3, 4, 5, 10, 15, *range(16, 21)]
    assert applied(run)[1] == (15, "training.log_every 5 -> 1")


def test_evaluations_follow_at_once_if_one_is_due(session: MakeSession) -> None:
    run = session("training.max_steps=20", "training.eval_every=1000")
    trained(
        run, {4: "training.eval_interval=step", 6: "training.eval_every=3", 13: "training.eval_every=100"}
    )
    assert evaluated(run) == [6, 9, 12, 20]


def test_the_time_that_is_up_ends_the_run(session: MakeSession) -> None:
    run = session("training.max_steps=50")
    outcome = trained(run, {7: "training.max_minutes=1e-9"})
    assert (outcome.step, outcome.reason) == (7, "the time is up: training.max_minutes is 1e-09")


def test_early_stopping_can_be_switched_on_and_off(session: MakeSession) -> None:
    options = (
        "early_stopping=",
        "training.eval_interval=step",
        "training.max_steps=12",
        "optimizer.lr=1e-30",
    )
    run = session(*options)
    outcome = trained(run, {2: "early_stopping.patience=5", 4: "early_stopping.patience=3"})
    assert outcome.reason == "early stopping: val/loss has not improved for 3 evaluations"
    assert outcome.step == 4
    assert [event.early_stopping.patience for event in run.event_queue.of(EarlyStoppingUpdated)] == [
        5,
        5,
        5,
        3,
    ]
    off = session(*options)
    outcome = trained(off, {2: "early_stopping.patience=5", 4: "early_stopping="})
    assert outcome.step == 12


def test_the_best_weights_are_restored_if_it_says_so(session: MakeSession) -> None:
    run = session("training.max_steps=6", "training.eval_interval=step", "optimizer.lr=0.5")
    outcome = trained(run, {2: "early_stopping.restore_best=true"})
    assert "the weights are those of step" in outcome.reason


def test_as_many_of_the_worst_samples_are_kept_as_it_says(session: MakeSession) -> None:
    run = session("training.max_steps=6", "training.eval_interval=step")
    trained(run, {2: "evaluation.worst=2", 4: "evaluation.worst=0"})
    found = [len(event.worst) for event in run.event_queue.of(EvaluationCompleted)]
    assert found == [9, 9, 2, 2, 0, 0]


def test_checkpoints_are_saved_and_kept_as_it_says(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = session("training.max_steps=20", "early_stopping=", "training.eval_every=1000")
    saved: list[int] = []
    save = run.manager.save

    def note(*arguments: Any, **options: Any) -> None:
        saved.append(run.state.progress.step)
        save(*arguments, **options)

    monkeypatch.setattr(run.manager, "save", note)
    asked = {3: "checkpoint.keep=-1", 5: "checkpoint.save_every_steps=4", 13: "checkpoint.save_every_steps="}
    trained(run, asked)
    assert sorted(set(saved)) == [3, 5, 8, 12, 13, 20]
    kept = {int(folder.name[5:]) for folder in run.checkpoints.glob("step-*") if not folder.is_symlink()}
    assert {20} <= kept <= set(saved)
    assert run.manager.is_step_due is False


def test_a_checkpoint_is_saved_once_the_new_time_has_passed(session: MakeSession) -> None:
    run = session("training.max_steps=2", "checkpoint.save_every_minutes=1000")
    assert not run.manager.is_time_over
    trained(run, {1: "checkpoint.save_every_minutes=1e-12"})
    wait_until(lambda: run.manager.is_time_over, "the time of the next checkpoint")


def test_what_is_rejected_changes_nothing(session: MakeSession) -> None:
    run = session("training.max_steps=5")
    before = dump_preset(run.setup.preset)
    trained(
        run,
        {
            1: "training.clip_nrom=1",
            2: "training.epochs=90",
            3: "data.num_workers=2",
            4: "data.batch_size=3",
        },
    )
    assert [reason.partition(",")[0] for reason in rejections(run)] == [
        "training.clip_nrom: unknown key",
        "training.epochs changes on a resume only: stop the run",
        "all samples are held in memory (data.in_memory): nothing loads them",
        "data.batch_size never changes within a run: the run could not continue with the next sample",
    ]
    assert dump_preset(run.setup.preset) == before
    assert not applied(run)
    assert run.setup.settings_changed == 0


def test_each_change_is_counted(session: MakeSession) -> None:
    run = session("training.max_steps=5")
    trained(run, {1: "training.clip_norm=1", 2: "training.clip_nrom=1", 3: "training.clip_norm="})
    assert len(applied(run)) == run.setup.settings_changed == 2


def test_samples_are_loaded_as_it_says_from_the_next_epoch_on(session: MakeSession) -> None:
    options = ("data.in_memory=false", "data.num_workers=0", "training.max_steps=60")
    run = session(*options)
    found: dict[int, int] = {}
    ask(run, {3: "data.num_workers=1", 4: "data.loader_timeout=77"})
    hand_in = run.event_queue.on_log
    loaded = run.setup.data.one_by_one
    assert loaded is not None

    def note(point: MetricsPoint) -> None:
        found[point.step] = loaded.num_workers
        hand_in(point)

    run.event_queue.on_log = note
    run.trainer.run()
    assert applied(run)[0] == (3, "data.num_workers 0 -> 1, from the next epoch on")
    per_epoch = run.setup.steps_per_epoch
    assert per_epoch < 60
    assert found == {step: int(step > per_epoch) for step in range(1, 61)}
    alone = session(*options)
    alone.trainer.run()
    assert run.event_queue.losses == alone.event_queue.losses


CHANGES = {
    4: "training.clip_norm=0.05",
    5: "training.eval_interval=step",
    6: "training.eval_every=2",
    7: "early_stopping.patience=50",
    8: "title=another",
}
OPTIONS = ("training.max_steps=12", "training.eval_every=1000", "early_stopping=")


def measured(*runs: Session) -> list[tuple[int, dict[str, float]]]:
    """Return all that was logged, without times."""
    timed = ("samples_per_sec", "data_wait")
    return [
        (point.step, {name: value for name, value in point.metrics.items() if name not in timed})
        for run in runs
        for point in run.event_queue.points
    ]


def scores(*runs: Session) -> list[tuple[int, Any]]:
    return [(event.step, event.metrics) for run in runs for event in run.event_queue.of(EvaluationCompleted)]


@pytest.mark.parametrize("stop", list(CHANGES))
def test_a_resume_continues_exactly_from_the_step_of_each_change(
    session: MakeSession, stop: int, tmp_path: Path
) -> None:
    whole = session(*OPTIONS, checkpoints=tmp_path / "whole")
    trained(whole, CHANGES)
    assert [step for step, _ in applied(whole)] == list(CHANGES)
    done = {step: change for step, change in CHANGES.items() if step <= stop}
    first = session(*OPTIONS)
    ask(first, done)
    hand_in = first.event_queue.on_log

    def hand_in_and_stop(point: MetricsPoint) -> None:
        hand_in(point)
        if point.step == stop:
            first.commands.put("stop", StopRun(), "me")

    first.event_queue.on_log = hand_in_and_stop
    assert first.trainer.run().step == stop
    again = session(*OPTIONS, *done.values())
    assert again.setup.preset == first.setup.preset
    resume_training(again.setup, again.state, first.checkpoints, again.event_queue)
    trained(again, {step: change for step, change in CHANGES.items() if step > stop})
    assert measured(first, again) == measured(whole)
    assert scores(first, again) == scores(whole)
    assert applied(first)[:-1] + applied(again) == applied(whole)
