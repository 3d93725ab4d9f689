"""A live training that is taken back to a checkpoint: it goes on as it did from there the first time."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.fake_checkpoints import flip_a_bit
from tests.support.sessions import MakeSession, Session
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.checkpoints import Manifest, folder_name, list_checkpoints
from torchconsole.engine.training import checkpoint_manager, checkpoint_writer
from torchconsole.engine.training.checkpoint import clean_leftovers, newest_valid
from torchconsole.engine.training.resume import resume_training


def script(session: Session, *steps: tuple[int, cmd.Command]) -> None:
    """Send each command in its step, one after the other, when the saves before it are done."""
    waiting = list(steps)

    def hand_in(point: MetricsPoint) -> None:
        while waiting and waiting[0][0] == point.step:
            session.manager.flush()  # saves without a change between them may become one
            _, command = waiting.pop(0)
            session.commands.put(f"{point.step}-{len(waiting)}", command, "tester@tty")

    session.event_queue.on_log = hand_in


def first_and_again(run: Session, step: int) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """The losses after a step, of the first time, and since the run was rolled back."""
    losses = run.event_queue.losses
    again = next(number for number in range(1, len(losses)) if losses[number][0] <= losses[number - 1][0])
    return [(at, loss) for at, loss in losses[:again] if at > step], losses[again:]


SHIFTED = 'data.transforms.train=[{name="RandomCrop", size=8, padding=1}, {name="RandomErasing"}]'
PLATEAU = 'schedule=[{name="ReduceLROnPlateau", patience=0, threshold=0.5, interval="epoch"}]'


@pytest.mark.parametrize(
    ("saved_at", "left_at", "more"),
    [
        (10, 11, ()),
        (10, 40, ()),
        (23, 30, ()),  # the end of an epoch
        (22, 46, ()),  # from one to another
        (30, 50, ("ema.decay=0.9", "training.clip_norm=0.5")),
        (7, 20, ("data.batch_size=16", "training.grad_accum_steps=4")),
        (30, 37, ("training.precision=fp16",)),
        (30, 44, ("training.eval_interval=step", "training.eval_every=10", PLATEAU)),
        (30, 40, ("training.nonfinite=skip",)),
        (30, 50, ('data.transforms.batch=[{name="MixUp"}, {name="CutMix"}]', SHIFTED)),
        (30, 36, (SHIFTED, "data.in_memory=false", "data.num_workers=2")),
        (30, 55, ('schedule=[{name="OneCycleLR", max_lr=0.01}]',)),
    ],
)
def test_the_losses_after_it_are_those_of_the_first_time(
    session: MakeSession, saved_at: int, left_at: int, more: tuple[str, ...]
) -> None:
    run = session("training.epochs=3", "model.dropout=0.3", *more)
    back = cmd.RollBack(checkpoint=folder_name(saved_at))
    script(run, (4, cmd.SetLearningRate(factor=0.5)), (saved_at, cmd.SaveCheckpoint()), (left_at, back))
    run.trainer.run()
    first, again = first_and_again(run, saved_at)
    assert (len(first), again[0][0]) == (left_at - saved_at, saved_at + 1)
    assert again[: len(first)] == first
    assert again[-1][0] == 69
    untouched = session("training.epochs=3", "model.dropout=0.3", *more)
    script(untouched, (4, cmd.SetLearningRate(factor=0.5)))
    untouched.trainer.run()
    assert again == untouched.event_queue.losses[saved_at:]


def applied(run: Session) -> list[ev.CommandApplied]:
    return [
        event for event in run.event_queue.of(ev.CommandApplied) if isinstance(event.command, cmd.RollBack)
    ]


def names(run: Session) -> list[str]:
    """The folders of checkpoints."""
    return sorted(path.name for path in run.checkpoints.iterdir() if not path.is_symlink())


def test_it_is_reported_with_what_it_restored(session: MakeSession) -> None:
    run = session("training.epochs=3", "optimizer.lr=0.002", "schedule=[]")
    script(
        run,
        (30, cmd.SetLearningRate(value=0.01)),
        (30, cmd.SaveCheckpoint()),
        (40, cmd.HoldLearningRate(value=0.3)),
        (50, cmd.RollBack(checkpoint="step-00000030")),
    )
    run.trainer.run()
    [resumed] = run.event_queue.of(ev.RunResumed)
    assert (resumed.step, resumed.epoch, resumed.rolled_back_from) == (30, 1, 50)
    assert (resumed.checkpoint, resumed.best.step) == ("step-00000030", 23)
    assert 0 < resumed.active_seconds < run.state.progress.active_seconds
    [event] = applied(run)
    assert (event.step, event.by) == (30, "tester@tty")
    assert event.detail == "back at step 30 from step 50, lr 0.01"
    assert event.result == {
        "checkpoint": "step-00000030",
        "from": 50,
        "kept": [],
        "lr": pytest.approx(0.01),
        "scale": pytest.approx(5.0),
        "held": None,
    }
    assert [point.metrics["lr"] for point in run.event_queue.points[-39:]] == pytest.approx([0.01] * 39)


def test_a_resume_after_it_continues_on_the_new_way(session: MakeSession) -> None:
    """What was saved on the way that was left is removed, but not what a person has asked to keep."""
    rates = ("optimizer.lr=0.002", "schedule=[]", "training.epochs=3")
    run = session(*rates, "checkpoint.save_every_steps=10", "checkpoint.keep=-1")
    script(
        run,
        (30, cmd.SaveCheckpoint()),
        (40, cmd.SaveCheckpoint()),
        (51, cmd.RollBack(checkpoint="30")),
        (31, cmd.SetLearningRate(factor=0.5)),
        (40, cmd.SaveCheckpoint()),
        (42, cmd.RollBack(checkpoint="step-00000031")),
        (33, cmd.StopRun()),
    )
    run.trainer.run()
    assert [event.result["kept"] for event in applied(run)] == [
        ["abandoned-step-00000046", "abandoned-step-00000040"],
        ["abandoned-2-step-00000040"],
    ]
    listed = [folder.name for folder in list_checkpoints(run.checkpoints)]
    assert listed == [folder_name(step) for step in (33, 31, 30, 23, 20, 10)]
    again = session(*rates)
    folder, saved, problems = newest_valid(run.checkpoints)
    assert (folder.name, problems) == ("step-00000033", [])
    again.state.load_state_dict(saved)
    assert again.setup.learning_rate.current == pytest.approx(0.001)
    assert again.state.early_stopping.best == run.state.early_stopping.best
    assert (run.checkpoints / "best").resolve().name == "step-00000023"
    assert (run.checkpoints / "last").resolve().name == "step-00000033"


def test_a_best_checkpoint_that_is_gone_is_told(
    session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The evaluations on the way that was left were better, and rotation has removed the best one before."""
    run = session("training.epochs=3", "checkpoint.keep=1")
    script(run, (30, cmd.SaveCheckpoint()), (51, cmd.RollBack(checkpoint="30")), (35, cmd.StopRun()))
    run.trainer.run()
    assert "the checkpoint of the best evaluation so far, step 23, is no longer there" in caplog.text
    assert not (run.checkpoints / "best").is_symlink()
    assert run.state.early_stopping.best.step == 23


def test_a_later_state_of_the_same_step_is_written(session: MakeSession) -> None:
    """A change moves the counter by which the writer knows what it has written."""
    run = session("training.epochs=2", "schedule=[]", "optimizer.lr=0.002")
    script(
        run,
        (5, cmd.SaveCheckpoint()),
        (6, cmd.SetLearningRate(value=0.004)),
        (8, cmd.SaveCheckpoint()),
        (9, cmd.RollBack(checkpoint="5")),
        (6, cmd.SetLearningRate(value=0.008)),
        (8, cmd.SaveCheckpoint()),
        (9, cmd.RollBack(checkpoint="8")),
        (9, cmd.StopRun()),
    )
    run.trainer.run()
    assert [event.result["lr"] for event in applied(run)] == pytest.approx([0.002, 0.008])


@pytest.mark.parametrize(("name", "step"), [(None, 23), ("best", 23), ("last", 30)])
def test_by_default_it_is_the_best_checkpoint(session: MakeSession, name: str | None, step: int) -> None:
    run = session("training.epochs=2")
    script(run, (30, cmd.SaveCheckpoint()), (35, cmd.RollBack(checkpoint=name)))
    run.trainer.run()
    assert applied(run)[0].step == step


def test_without_a_best_checkpoint_it_is_the_last_one(session: MakeSession) -> None:
    run = session("training.epochs=2")
    script(run, (5, cmd.SaveCheckpoint()), (9, cmd.RollBack()))
    run.trainer.run()
    assert applied(run)[0].step == 5


def test_early_stopping_goes_back(session: MakeSession) -> None:
    run = session("training.epochs=4", "training.eval_interval=step", "training.eval_every=5")
    counters: list[tuple[int, int, int | None]] = []

    def note(point: MetricsPoint) -> None:
        stopping = run.state.early_stopping
        counters.append((point.step, stopping.counter, stopping.best.step if stopping.best else None))

    script(run, (12, cmd.SaveCheckpoint()), (60, cmd.RollBack(checkpoint="12")))
    hand_in = run.event_queue.on_log
    run.event_queue.on_log = lambda point: (note(point), hand_in(point))[1]
    run.trainer.run()
    at = next(number for number, each in enumerate(counters) if number and each[0] < counters[number - 1][0])
    assert counters[at : at + 48] == counters[12:60]
    updated = run.event_queue.of(ev.EarlyStoppingUpdated)
    index = next(number for number, event in enumerate(updated) if event.step == 12)
    assert updated[index].early_stopping.best_step == counters[at][2]


def test_a_paused_run_stays_paused(session: MakeSession) -> None:
    run = session("training.epochs=1")
    script(
        run,
        (5, cmd.SaveCheckpoint()),
        (9, cmd.PauseRun()),
        (9, cmd.RollBack(checkpoint="5")),
        (9, cmd.SetLearningRate(factor=0.5)),
        (9, cmd.UnpauseRun()),
    )
    run.trainer.run()
    kinds = [event.type for event in run.event_queue.events]
    first = kinds.index("RunPaused")
    seen = [kind for kind in kinds[first:] if kind in ("RunPaused", "RunResumed", "RunUnpaused")]
    assert seen == ["RunPaused", "RunResumed", "RunUnpaused"]
    assert run.event_queue.of(ev.RunUnpaused)[0].step == 5
    phases = [event.phase for event in run.event_queue.events[first:] if event.type == "PhaseChanged"]
    assert phases[:2] == ["paused", "training"]
    assert [point.step for point in run.event_queue.points] == [*range(1, 10), *range(6, 24)]
    assert newest_valid(run.checkpoints)[1]["learning_rate"]["scale"] == 0.5


def test_frozen_layers_are_those_of_the_checkpoint(session: MakeSession) -> None:
    run = session("training.epochs=2")
    script(
        run,
        (4, cmd.FreezeLayer(layer="layers.1")),
        (5, cmd.SaveCheckpoint()),
        (6, cmd.UnfreezeLayer(layer="layers.1")),
        (7, cmd.FreezeLayer(layer="layers.4")),
        (9, cmd.RollBack(checkpoint="5")),
    )
    run.trainer.run()
    first, again = first_and_again(run, 5)
    assert again[:1] == first[:1]
    assert run.state.frozen.state_dict() == ["layers.1.bias", "layers.1.weight"]
    trained = {name for name, weight in run.setup.model.named_parameters() if weight.requires_grad}
    assert trained == {f"layers.{number}.{kind}" for number in (4, 7) for kind in ("weight", "bias")}


def test_layers_that_the_preset_has_unfrozen_since_are_frozen_again(session: MakeSession) -> None:
    run = session("training.epochs=3", 'model.freeze=["layers.1"]', "model.unfreeze_at_epoch=1")
    script(run, (20, cmd.SaveCheckpoint()), (30, cmd.RollBack(checkpoint="20")))
    run.trainer.run()
    first, again = first_and_again(run, 20)
    assert again[: len(first)] == first


@pytest.mark.parametrize("name", ["7", "step-00000007", "../../x", "worst"])
def test_a_checkpoint_that_is_not_there_is_rejected(session: MakeSession, name: str) -> None:
    run = session("training.epochs=1")
    script(run, (5, cmd.SaveCheckpoint()), (9, cmd.RollBack(checkpoint=name)))
    run.trainer.run()
    [rejected] = run.event_queue.of(ev.CommandRejected)
    parent = run.checkpoints.parent.name
    assert rejected.reason == (f"{parent}: no checkpoint {name!r}; available: last, step-00000005")
    assert [point.step for point in run.event_queue.points] == list(range(1, 24))


def test_a_run_without_checkpoints_is_not_rolled_back(session: MakeSession) -> None:
    run = session("training.epochs=1")
    script(run, (3, cmd.RollBack()))
    run.trainer.run()
    [rejected] = run.event_queue.of(ev.CommandRejected)
    assert rejected.reason == f"{run.checkpoints.parent.name}: the run has no checkpoint"


def test_a_damaged_checkpoint_changes_nothing(session: MakeSession) -> None:
    run = session("training.epochs=1")
    script(run, (5, cmd.SaveCheckpoint()), (7, cmd.SaveCheckpoint()), (9, cmd.RollBack(checkpoint="last")))
    hand_in = run.event_queue.on_log

    def damage(point: MetricsPoint) -> None:
        hand_in(point)
        if point.step == 9:
            run.manager.flush()
            flip_a_bit(run.checkpoints / "step-00000007")

    run.event_queue.on_log = damage
    run.trainer.run()
    [rejected] = run.event_queue.of(ev.CommandRejected)
    assert rejected.reason == (
        f"{run.checkpoints}/step-00000007/state.pt: is damaged: its size or sha256 differs "
        "from the manifest; use the one before it: rollback step-00000005"
    )
    untouched = session("training.epochs=1", checkpoints=run.checkpoints.with_name("other"))
    untouched.trainer.run()
    assert run.event_queue.losses == untouched.event_queue.losses


def test_the_time_of_a_rejected_one_is_no_training(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may read for minutes before it finds that the checkpoint is damaged."""
    run = session("training.epochs=1")
    clock, late = time.perf_counter, 0.0

    def read_slowly(name: str | None) -> tuple[Path, dict[str, Any]]:
        nonlocal late
        late += 1e6
        raise CheckpointError("it is damaged")

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late)
    monkeypatch.setattr(run.manager, "read", read_slowly)
    script(run, (5, cmd.SaveCheckpoint()), (9, cmd.RollBack()))
    run.trainer.run()
    assert len(run.event_queue.of(ev.CommandRejected)) == 1
    assert run.state.progress.active_seconds < 1e6
    rates = [point.metrics.get("samples_per_sec", 1e3) for point in run.event_queue.points]
    assert min(rates) > 1
    assert max(point.metrics["data_wait"] for point in run.event_queue.points) <= 1


@pytest.mark.parametrize("fails", ["load", "weights", "memory", "rename", "second rename"])
def test_what_fails_half_way_changes_nothing(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A checkpoint that does not fit after all, or a disk that can no longer be written."""
    run = session("training.epochs=1", "model.dropout=0.3", "ema.decay=0.9")
    saves = ((step, cmd.SaveCheckpoint()) for step in (5, 6, 7))
    script(run, *saves, (9, cmd.RollBack(checkpoint="5")))
    if fails == "weights":
        once = [ValueError("not this one")]
        load_weights = run.setup.model.load_state_dict

        def refuse_once(state: dict[str, Any]) -> None:
            if once:
                raise once.pop()
            load_weights(state)

        monkeypatch.setattr(run.setup.model, "load_state_dict", refuse_once)
    elif fails in ("load", "memory"):
        calls: list[object] = []
        load = run.state.early_stopping.load_state_dict

        def fail(state: dict[str, Any]) -> None:
            calls.append(state)
            if len(calls) == 1:
                full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
                raise full if fails == "memory" else ValueError("not this one")
            load(state)

        monkeypatch.setattr(run.state, "_entries", {**run.state._entries})
        entry = run.state._entries["early_stopping"]
        run.state._entries["early_stopping"] = entry._replace(load=fail)
    else:
        rename, refused = Path.rename, "step-00000007" if fails == "rename" else "step-00000006"

        def refuse(self: Path, target: Path) -> Path:
            if self.name == refused:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            return rename(self, target)

        hand_in = run.event_queue.on_log

        def close_disk(point: MetricsPoint) -> None:
            hand_in(point)
            if point.step in (9, 10):
                run.manager.flush()
                monkeypatch.undo()
                if point.step == 9:
                    monkeypatch.setattr(Path, "rename", refuse)

        run.event_queue.on_log = close_disk
    run.trainer.run()
    [rejected] = run.event_queue.of(ev.CommandRejected)
    reason = {
        "load": "the checkpoint does not fit the preset: not this one",
        "weights": "the checkpoint does not fit the preset: not this one",
        "memory": "the checkpoint cannot be loaded: CUDA out of memory. Tried to allocate 2 GiB.",
        "rename": "the later checkpoints cannot be removed: step-00000007: Read-only file system",
        "second rename": "the later checkpoints cannot be removed: step-00000006: Read-only file system",
    }[fails]
    assert rejected.reason == reason
    assert not run.event_queue.of(ev.RunResumed)
    assert {folder_name(step) for step in (5, 6, 7)} <= set(names(run))
    assert not [name for name in names(run) if not name.startswith("step-")]
    untouched = session(
        "training.epochs=1",
        "model.dropout=0.3",
        "ema.decay=0.9",
        checkpoints=run.checkpoints.parent / "other",
    )
    untouched.trainer.run()
    assert run.event_queue.losses == untouched.event_queue.losses


class Killed(BaseException):
    """Stands for the end of the process: no `except` puts anything back."""


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("done", "newest"), [(0, 7), (1, 6), (2, 5), (3, 5)])
def test_a_kill_within_it_leaves_what_the_training_has_passed(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, done: int, newest: int, *, keep: bool
) -> None:
    """So many renames are done by then; 3: and the links still lead to what is gone."""
    settings = ("training.epochs=1", "model.dropout=0.3", "checkpoint.keep=-1")
    run = session(*settings)
    rename, renamed = Path.rename, 0

    def die(self: Path, target: Path) -> Path:
        nonlocal renamed
        if run.state.progress.step == 5 and renamed == done:
            raise Killed
        renamed += run.state.progress.step == 5 and self.name in ("step-00000006", "step-00000007")
        return rename(self, target)

    def die_later(*_: object) -> None:
        raise Killed

    def begin_to_die(point: MetricsPoint) -> None:
        hand_in(point)
        if point.step == 9:
            run.manager.flush()
            monkeypatch.setattr(Path, "rename", die)
            monkeypatch.setattr(checkpoint_manager, "relink", die_later)

    saves = ((step, cmd.SaveCheckpoint(keep=keep)) for step in (5, 6, 7))
    script(run, *saves, (9, cmd.RollBack(checkpoint="5")))
    hand_in = run.event_queue.on_log
    run.event_queue.on_log = begin_to_die
    with pytest.raises(Killed):
        run.trainer.run()
    monkeypatch.undo()
    clean_leftovers(run.checkpoints)
    again = session(*settings, checkpoints=run.checkpoints)
    resume_training(again.setup, again.state, run.checkpoints, again.event_queue)
    assert again.state.progress.step == newest
    assert [folder.name for folder in list_checkpoints(run.checkpoints)] == [
        folder_name(step) for step in range(newest, 4, -1)
    ]
    again.trainer.run()
    untouched = session(*settings, checkpoints=run.checkpoints.with_name("other"))
    untouched.trainer.run()
    assert again.event_queue.losses == untouched.event_queue.losses[newest:]
    assert (run.checkpoints / "last").resolve().name == "step-00000023"


def test_measured_layers_and_steps_until_a_pause_go_on(session: MakeSession) -> None:
    run = session("training.epochs=1")
    script(
        run,
        (5, cmd.SaveCheckpoint()),
        (6, cmd.MeasureLayers(every=1)),
        (9, cmd.TrainSteps(steps=4)),
        (10, cmd.RollBack(checkpoint="5")),
    )

    def unpause(event: ev.Event) -> None:
        run.event_queue.emit(event)
        if isinstance(event, ev.RunPaused):
            run.commands.put("", cmd.UnpauseRun(), "")

    run.trainer.emit = unpause
    run.trainer.run()
    assert [event.step for event in run.event_queue.of(ev.RunPaused)] == [8]
    events = run.event_queue.events
    at = next(number for number, event in enumerate(events) if isinstance(event, ev.RunResumed))
    assert [event.step for event in events[at:] if isinstance(event, ev.LayersMeasured)][:1] == [6]


def test_the_schedule_is_planned_anew_and_a_rolled_back_run_can_end(session: MakeSession) -> None:
    run = session("training.epochs=1", 'schedule=[{name="CosineAnnealingLR", interval="step"}]')
    script(run, (5, cmd.SaveCheckpoint()), (20, cmd.RollBack(checkpoint="5")))
    outcome = run.trainer.run()
    assert (outcome.reason, outcome.step) == ("all epochs done", 23)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("path", ["best", "checkpoints", "step-00000005"])
def test_a_disk_that_is_away_for_a_moment_changes_nothing(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, number: int, path: str
) -> None:
    run = session("training.epochs=1")
    name = "5" if path.startswith("step") else None
    script(run, (5, cmd.SaveCheckpoint()), (9, cmd.RollBack(checkpoint=name)))
    is_dir, glob = Path.is_dir, Path.glob

    def refuse(found: Path) -> None:
        if found.name == path and run.state.progress.step == 9:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "is_dir", lambda self: (refuse(self), is_dir(self))[1])
    monkeypatch.setattr(Path, "glob", lambda self, pattern: (refuse(self), glob(self, pattern))[1])
    run.trainer.run()
    [rejected] = run.event_queue.of(ev.CommandRejected)
    assert rejected.reason == f"{run.checkpoints}: cannot be read: {os.strerror(number)}"
    assert [point.step for point in run.event_queue.points] == list(range(1, 24))


def test_a_disk_that_goes_away_after_it_costs_no_more_than_a_warning(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = session("training.epochs=2")
    script(run, (30, cmd.SaveCheckpoint()), (35, cmd.RollBack(checkpoint="30")))
    is_dir, stat = Path.is_dir, Path.stat

    def refuse(path: Path) -> None:
        if path.name == "step-00000023" and run.event_queue.of(ev.RunResumed):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Path, "is_dir", lambda self: (refuse(self), is_dir(self))[1])
    monkeypatch.setattr(Path, "stat", lambda self, **more: (refuse(self), stat(self, **more))[1])
    run.trainer.run()
    assert len(applied(run)) == 1
    assert "the checkpoint of the best evaluation so far, step 23, is no longer there" in caplog.text


def test_a_run_that_ends_where_it_goes_back_to_says_so(session: MakeSession) -> None:
    """At the checkpoint, more evaluations had brought no improvement than the run waits for by now."""
    run = session("training.epochs=4", "early_stopping.patience=20")
    counters = {10: 5, 12: 0}

    def count(point: MetricsPoint) -> None:
        run.state.early_stopping.counter = counters.get(point.step, run.state.early_stopping.counter)
        hand_in(point)

    lower = cmd.ChangeSetting(key="early_stopping.patience", value="3")
    script(run, (10, cmd.SaveCheckpoint()), (12, lower), (14, cmd.RollBack(checkpoint="10")))
    hand_in = run.event_queue.on_log
    run.event_queue.on_log = count
    outcome = run.trainer.run()
    why = "early stopping: val/loss has not improved for 3 evaluations"
    assert f"; the run ends here: {why}" in applied(run)[0].detail
    assert (outcome.step, outcome.reason.startswith(why)) == (10, True)


def test_settings_that_stay_are_reported_once_at_each_checkpoint(session: MakeSession) -> None:
    run = session("training.epochs=2")
    save, clip = cmd.SaveCheckpoint(), cmd.ChangeSetting(key="training.clip_norm", value="0.5")
    first, second = (cmd.RollBack(checkpoint=folder_name(step)) for step in (5, 9))
    unclip = cmd.ChangeSetting(key="training.clip_norm", value="0.7")
    script(
        run,
        *((5, save), (9, save), (11, clip), (13, second), (14, second)),
        *((15, first), (7, first), (8, unclip), (9, first)),
    )
    run.trainer.run()
    found = [
        (event.step, event.command.changes)
        for event in run.event_queue.of(ev.CommandApplied)
        if isinstance(event.command, cmd.ChangePreset)
    ]
    once, again = {"training.clip_norm": (None, 0.5)}, {"training.clip_norm": (None, 0.7)}
    assert found == [(9, once), (5, once), (5, again)]


def test_what_a_failed_removal_has_left_is_in_nobodys_way(session: MakeSession) -> None:
    """Of a checkpoint that was removed, and of one that was replaced: a start puts that one back."""
    run = session("training.epochs=1")
    removed, replaced = (run.checkpoints / f".{what}-step-00000007" for what in ("removed", "replaced"))

    def leave(point: MetricsPoint) -> None:
        if point.step == 9 and not run.event_queue.of(ev.RunResumed):
            run.manager.flush()
            for path in (removed, replaced):
                shutil.copytree(run.checkpoints / "step-00000007", path)
        hand_in(point)

    back = cmd.RollBack(checkpoint="5")
    script(run, (5, cmd.SaveCheckpoint()), (7, cmd.SaveCheckpoint(keep=False)), (9, back), (6, cmd.StopRun()))
    hand_in = run.event_queue.on_log
    run.event_queue.on_log = leave
    run.trainer.run()
    assert not run.event_queue.of(ev.CommandRejected)
    clean_leftovers(run.checkpoints)
    assert names(run) == ["step-00000005", "step-00000006"]


def without_best(monkeypatch: pytest.MonkeyPatch, session: MakeSession, *more: str) -> Session:
    """A run whose best checkpoint, of step 46, cannot be written."""
    write = checkpoint_writer.write_checkpoint

    def refuse(checkpoints: Path, state: dict[str, Any], manifest: Manifest) -> Path:
        if manifest.step == 46:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(checkpoints, state, manifest)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", refuse)
    settings = ("early_stopping.restore_best=true", "early_stopping.patience=100", "optimizer.lr=0.0005")
    return session("training.epochs=4", *settings, *more)


@pytest.mark.parametrize("back", [50, 47])
def test_a_best_state_that_is_not_saved_yet_outlives_it(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    """The weights at the end are those that the run says they are."""
    run = without_best(monkeypatch, session)
    weights: dict[int, Any] = {}

    def note(point: MetricsPoint) -> None:
        if point.step == 46:
            weights[46] = {name: value.clone() for name, value in run.setup.model.state_dict().items()}
        hand_in(point)

    script(
        run,
        (back, cmd.SaveCheckpoint()),
        (52, cmd.RollBack(checkpoint=folder_name(back))),
        (53, cmd.SetLearningRate(factor=1000)),
    )
    hand_in = run.event_queue.on_log
    run.event_queue.on_log = note
    outcome = run.trainer.run()
    assert len(applied(run)) == 1
    assert run.state.early_stopping.best.step == 46
    assert "the weights are those of step 46" in outcome.reason
    assert all(torch.equal(value, weights[46][name]) for name, value in run.setup.model.state_dict().items())


def test_other_weights_are_not_restored_for_the_best_ones(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has ended held the best state, which it could not save."""
    run = without_best(monkeypatch, session)
    script(run, (50, cmd.SaveCheckpoint()), (50, cmd.StopRun()))
    run.trainer.run()
    again = session("training.epochs=4", "early_stopping.restore_best=true", "early_stopping.patience=100")
    resume_training(again.setup, again.state, run.checkpoints, again.event_queue)
    assert (run.checkpoints / "best").readlink().name == "step-00000023"
    assert again.state.early_stopping.best.step == 46
    restored = again.manager.restore_best(again.state.take_weights)
    assert restored == "; the best weights cannot be restored: the checkpoint of step 46 was not saved"
