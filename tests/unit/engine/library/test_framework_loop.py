"""A framework's Trainer as a run: here a loop of a few lines calls what the callbacks call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from tests.support.own_runs import MemoryHost, memory_host
from torchconsole.engine.library import active_run, framework_run
from torchconsole.engine.library.framework_checkpoints import (
    DeferredCheckpoints,
    FrameworkCheckpoints,
    ImmediateCheckpoints,
)
from torchconsole.engine.library.framework_loop import in_console
from torchconsole.engine.library.framework_run import FrameworkRun, begin_run
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.checkpoints import describe_checkpoints

STEPS = 3


class Trainer:
    """Trains two groups for epochs of STEPS steps, on a schedule; `used` has the lrs of each step."""

    def __init__(self, run: FrameworkRun) -> None:
        self.loop = run.loop
        self.model = nn.Linear(2, 1)
        self.optimizer = SGD(
            [{"params": [self.model.weight], "lr": 1.0}, {"params": [self.model.bias], "lr": 0.1}]
        )
        self.schedule = StepLR(self.optimizer, STEPS)
        self.done = 0
        self.seen: list[list[float]] = []
        run.observe()

    def fit(self, epochs: int) -> None:
        length = ev.RunStarted(step=self.done, steps_per_epoch=STEPS, total_epochs=epochs)
        self.loop.begin_training(length, {"Linear": self.model})
        for epoch in range(epochs):
            self.loop.enter_epoch(epoch)
            for _ in range(STEPS):
                if self.loop.ended:
                    return
                self.step()
            self.loop.evaluated({"val_loss": torch.tensor(0.5), "name": "x"}, 1.0)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(torch.ones(1, 2)).sum().backward()
        self.optimizer.step()
        self.schedule.step()
        self.seen.append(self.schedule.get_last_lr())
        self.done += 1
        self.loop.add({"train_acc": 0.25, "learning_rate": 9.0})
        self.loop.end_step(self.done)


@pytest.fixture
def host(tmp_path: Path) -> MemoryHost:
    return memory_host(tmp_path / "run")


@pytest.fixture
def written(tmp_path: Path) -> ImmediateCheckpoints:
    """Checkpoints whose framework writes a few bytes."""
    return ImmediateCheckpoints(
        "Lightning", "fit(PATH)", "lightning.ckpt", lambda path: Path.write_bytes(path, b"state") and None
    )


@pytest.fixture(autouse=True)
def retired() -> Iterator[None]:
    """Observe torch no longer after the test."""
    yield
    framework_run._training.clear()
    framework_run._joined.clear()
    active_run.end()
    for instruments in framework_run._instruments:
        instruments.retire()


def trainer_in(host: MemoryHost, checkpoints: FrameworkCheckpoints) -> Trainer:
    return Trainer(FrameworkRun(host, checkpoints))


def points(host: MemoryHost) -> list[MetricsPoint]:
    return host.taken(MetricsPoint)


def test_its_length_steps_epochs_and_metrics_are_those_of_the_run(
    host: MemoryHost, written: ImmediateCheckpoints
) -> None:
    trainer = trainer_in(host, written)
    trainer.fit(2)
    trainer.loop.finish("over")
    taken = list(host.events.take())
    [started] = [event for event in taken if isinstance(event, ev.RunStarted)]
    assert (started.step, started.steps_per_epoch, started.total_epochs) == (0, STEPS, 2)
    first, *_ = [point for point in taken if isinstance(point, MetricsPoint)]
    assert (first.step, first.epoch) == (1, 1)
    assert set(first.metrics) == {"train/loss", "lr", "train/acc"}
    evaluations = [event for event in taken if isinstance(event, ev.EvaluationCompleted)]
    assert [(it.step, it.epoch, it.metrics) for it in evaluations] == [
        (3, 1, {"val/loss": 0.5}),
        (6, 2, {"val/loss": 0.5}),
    ]
    assert trainer.loop.progress.step == 2 * STEPS


def test_a_second_training_in_the_same_run_continues_its_count(
    host: MemoryHost, written: ImmediateCheckpoints
) -> None:
    run = FrameworkRun(host, written)
    Trainer(run).fit(1)
    run.loop.use(written)
    Trainer(run).fit(2)
    assert (run.loop.progress.step, run.loop.progress.epoch) == (3 * STEPS, 3)
    taken = list(host.events.take())
    assert len([event for event in taken if isinstance(event, ev.RunStarted)]) == 1
    [length] = [event for event in taken if isinstance(event, ev.LengthEstimated)]
    assert (length.steps_per_epoch, length.total_epochs) == (STEPS, 3)


@pytest.mark.parametrize("is_own", [False, True], ids=["of the worker", "of its process"])
def test_a_training_that_fails_without_a_word_does_not_keep_the_next_from_being_a_run(
    tmp_path: Path, written: ImmediateCheckpoints, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    hosts = [memory_host(tmp_path / "first"), memory_host(tmp_path / "second")]
    waiting = iter(hosts)
    monkeypatch.setattr(framework_run, "open_host", lambda name: next(waiting))
    for host in hosts:
        host.ends_with_loop = is_own
    first = begin_run("", written)
    Trainer(first).step()
    second = begin_run("", written)  # as with auto_find_batch_size of transformers
    Trainer(second).fit(1)
    first.end(None)  # too late
    second.end(None)
    outcomes = [host.outcome for host in hosts]
    if is_own:
        assert isinstance(outcomes[0], ev.RunFailed)
        assert isinstance(outcomes[1], ev.RunFinished)
        assert "an error has ended the training" in outcomes[0].reason
    else:
        assert second is first
        assert outcomes == [None, None]


def test_a_training_that_was_resumed_continues_its_own_count(
    host: MemoryHost, written: ImmediateCheckpoints
) -> None:
    trainer = trainer_in(host, written)
    trainer.done = 300
    trainer.fit(1)
    assert trainer.loop.progress.step == 303


def test_the_lr_keeps_the_ratios_of_the_groups_and_the_schedule_never_sees_it(
    host: MemoryHost, written: ImmediateCheckpoints
) -> None:
    trainer = trainer_in(host, written)
    host.send(cmd.SetLearningRate(factor=0.5))
    trainer.fit(1)
    assert trainer.loop.learning_rate.groups() == pytest.approx([0.05, 0.005])
    host.send(cmd.HoldLearningRate(value=0.2))
    trainer.fit(1)
    assert trainer.loop.learning_rate.groups() == pytest.approx([0.2, 0.02])
    assert trainer.seen[-1] == pytest.approx([0.01, 0.001])
    assert [group["lr"] for group in trainer.optimizer.param_groups] == trainer.seen[-1]


def test_save_has_the_framework_write_a_checkpoint_that_is_listed(
    host: MemoryHost, written: ImmediateCheckpoints
) -> None:
    trainer = trainer_in(host, written)
    host.send(cmd.PauseRun())
    host.send(cmd.SaveCheckpoint())
    host.send(cmd.UnpauseRun())
    trainer.fit(2)
    trainer.loop.finish("over")
    [info] = describe_checkpoints(host.folder)
    assert (info.step, info.made_by, info.kept, info.last, info.problem) == (1, "Lightning", True, True, "")
    assert info.resume == f"fit('{info.path}/lightning.ckpt')"
    details = [event.detail for event in host.taken(ev.CommandApplied)]
    assert sorted(details) == ["paused", "saved step-00000001", "unpaused"]


def test_a_save_that_fails_is_rejected_and_the_training_goes_on(host: MemoryHost) -> None:
    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    trainer = trainer_in(host, ImmediateCheckpoints("Lightning", "", "lightning.ckpt", fails))
    host.send(cmd.SaveCheckpoint())
    trainer.fit(1)
    [rejected] = host.taken(ev.CommandRejected)
    assert rejected.reason.startswith("checkpoint at step 1 not saved: No space left on device")
    assert trainer.done == STEPS
    assert describe_checkpoints(host.folder) == []


def test_stop_saves_and_is_left_to_the_framework(host: MemoryHost, written: ImmediateCheckpoints) -> None:
    trainer = trainer_in(host, written)
    host.send(cmd.StopRun())
    trainer.fit(5)
    trainer.loop.finish("over")
    assert trainer.done == 1
    [info] = describe_checkpoints(host.folder)
    assert (info.step, info.kept) == (1, False)


def test_a_framework_that_saves_in_its_own_loop_leaves_a_pause_for_it(
    host: MemoryHost, tmp_path: Path
) -> None:
    checkpoints = DeferredCheckpoints("the Trainer", "train(PATH)")
    trainer = trainer_in(host, checkpoints)
    trainer.loop.begin_training(ev.RunStarted(), {"Linear": trainer.model})
    for command in (cmd.PauseRun(), cmd.SaveCheckpoint(), cmd.SaveCheckpoint(), cmd.UnpauseRun()):
        host.send(command)
    trainer.step()
    assert checkpoints.is_wanted
    assert not host.commands.empty()
    own = tmp_path / "checkpoint-1"
    own.mkdir()
    (own / "weights").write_text("w")
    (own / "state").write_text("s")
    checkpoints.saved(own)
    assert not checkpoints.is_wanted
    trainer.loop.go_on_pausing()
    trainer.loop.finish("over")
    [info] = describe_checkpoints(host.folder)
    assert (info.resume, info.bytes, info.problem) == (f"train('{own}')", 2, "")
    details = [event.detail for event in host.taken(ev.CommandApplied)]
    assert sorted(details) == ["paused", "saved checkpoint-1", "saved checkpoint-1", "unpaused"]


def test_what_the_framework_saves_for_itself_is_not_recorded(host: MemoryHost, tmp_path: Path) -> None:
    checkpoints = DeferredCheckpoints("the Trainer", "")
    trainer_in(host, checkpoints)
    checkpoints.saved(tmp_path)
    checkpoints.flush()
    assert describe_checkpoints(host.folder) == []


@pytest.mark.parametrize(
    ("name", "split", "shown"),
    [
        ("val_loss", "val", "val/loss"),
        ("eval_accuracy", "val", "val/accuracy"),
        ("loss", "val", "val/loss"),
        ("val/f1", "val", "val/f1"),
        ("train_acc", "train", "train/acc"),
        ("grad_norm", "train", "train/grad_norm"),
        ("lr-SGD/pg1", "train", "lr-SGD/pg1"),
        ("train_", "train", "train/train_"),
    ],
)
def test_metrics_are_named_as_the_console_groups_them(name: str, split: str, shown: str) -> None:
    assert in_console(name, split) == shown
