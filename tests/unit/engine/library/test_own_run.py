"""What `torchconsole.run` does besides resuming: limits, the best checkpoint, commands, and wrong use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import torchconsole
from tests.support.own_runs import MemoryHost, memory_host, own_run
from torchconsole.engine.errors import RunError
from torchconsole.engine.library import active_run
from torchconsole.engine.library.own_run import OwnRun
from torchconsole.engine.library.own_settings import Settings
from torchconsole.engine.protocol.commands import (
    HoldLearningRate,
    RollBack,
    RunEvaluation,
    SaveCheckpoint,
    StopRun,
    TrainSteps,
    UnpauseRun,
)
from torchconsole.engine.protocol.events import (
    CommandApplied,
    CommandRejected,
    EpochCompleted,
    EvaluationCompleted,
    Event,
    RunPaused,
    RunStarted,
)
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.run.own_programs import own_program


@pytest.fixture
def host(tmp_path: Path) -> MemoryHost:
    return memory_host(tmp_path)


def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(1, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    loss: torch.Tensor = model(torch.ones(1, 1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def points(host: MemoryHost) -> list[MetricsPoint]:
    return host.taken(MetricsPoint)


def test_the_loops_are_those_of_the_program(host: MemoryHost) -> None:
    model, optimizer = parts()
    seen = []
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        for epoch in run.epochs(2):
            assert run.epoch == epoch
            for batch in run.steps("abc"):
                seen.append((epoch, batch, run.step))
                run.log(loss=step(model, optimizer), accuracy=0.5)
    assert seen == [(0, "a", 0), (0, "b", 1), (0, "c", 2), (1, "a", 3), (1, "b", 4), (1, "c", 5)]
    assert run.step == 6
    events = list(host.events.take())
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert (started.steps_per_epoch, started.total_epochs, started.total_steps) == (3, 2, 6)
    assert [event.step for event in events if isinstance(event, EpochCompleted)] == [3, 6]
    last = [event for event in events if isinstance(event, MetricsPoint)][-1]
    assert (last.step, last.epoch, last.metrics["train/accuracy"], last.metrics["lr"]) == (6, 2, 0.5, 0.1)
    assert host.outcome is not None
    assert host.outcome.status == "finished"  # type: ignore[union-attr]
    note = own_program(host.folder)
    assert note is not None
    assert note.kept == ["model", "optimizer"]


def test_early_stopping_ends_the_loop_and_the_best_is_saved(host: MemoryHost) -> None:
    model, optimizer = parts()
    losses = [3.0, 1.0, 2.0, 2.5, 0.1]
    with own_run(host, monitor="val/loss", patience=2) as run:
        run.keep(model=model, optimizer=optimizer)
        for epoch in run.epochs(5):
            for _ in run.steps(range(2)):
                step(model, optimizer)
            run.evaluated({"loss": losses[epoch]})
    assert run.step == 8
    assert (host.folder.checkpoints / "best").resolve().name == "step-00000004"
    assert host.outcome is not None
    assert "early stopping: val/loss has not improved for 2 evaluations" in host.outcome.reason


@pytest.mark.parametrize(("monitor", "best"), [("val/accuracy", 4), ("val/error", 2)])
def test_the_mode_follows_from_the_name(host: MemoryHost, monitor: str, best: int) -> None:
    with own_run(host, monitor=monitor) as run:
        run.keep(values=[1.0])
        for epoch in run.epochs(2):
            for _ in run.steps(range(2)):
                pass
            run.evaluated({monitor: epoch + 1})
    assert (host.folder.checkpoints / "best").resolve().name == f"step-{best:08d}"


def test_total_steps_end_both_loops(host: MemoryHost) -> None:
    with own_run(host, total_steps=5) as run:
        after = [len(list(run.steps(range(3)))) for _ in run.epochs(10)]
    assert after == [3, 2]
    assert run.step == 5


def test_a_stop_needs_no_break_and_the_program_goes_on_behind_the_with(host: MemoryHost) -> None:
    model, optimizer = parts()
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        for _ in run.epochs(3):
            for number in run.steps(range(4)):
                step(model, optimizer)
                if number == 1:
                    host.send(StopRun(reason="enough"))
            pytest.fail("the evaluation of an epoch that was stopped")
    assert run.step == 2
    assert [folder.name for folder in list_checkpoints(host.folder.checkpoints)] == ["step-00000002"]
    assert host.outcome is not None
    assert (host.outcome.status, host.outcome.reason) == ("stopped", "enough")  # type: ignore[union-attr]


@pytest.mark.parametrize("steps_per_epoch", [1, 3])
def test_the_end_of_an_epoch_is_no_step_of_those_until_a_pause(
    host: MemoryHost, steps_per_epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = parts()
    after_pause = {7: TrainSteps(), 8: TrainSteps(), 9: TrainSteps(steps=2), 11: UnpauseRun()}
    paused = []
    emit = host.events.emit

    def answer_pauses(event: Event) -> None:
        emit(event)
        if isinstance(event, RunPaused):
            paused.append(event.step)
            host.send(after_pause.get(event.step, UnpauseRun()))

    monkeypatch.setattr(host.events, "emit", answer_pauses)
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        for _ in run.epochs(15 // steps_per_epoch):
            for _ in run.steps(range(steps_per_epoch)):
                if run.step == 1:
                    host.send(TrainSteps(steps=5))
                step(model, optimizer)
    assert paused == [7, 8, 9, 11]


def test_a_held_lr_is_in_force_and_no_scheduler_sees_it(host: MemoryHost) -> None:
    model, optimizer = parts()
    seen = []
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        optimizer.register_step_pre_hook(lambda used, *_: seen.append(used.param_groups[0]["lr"]))
        for _ in run.epochs(1):
            for number in run.steps(range(3)):
                step(model, optimizer)
                assert optimizer.param_groups[0]["lr"] == 0.1
                if number == 0:
                    host.send(HoldLearningRate(value=0.02))
    assert seen == [0.1, 0.02, 0.02]


def test_an_evaluation_by_command_calls_the_function(host: MemoryHost) -> None:
    model, _ = parts()
    with own_run(host) as run:
        run.keep(model=model)

        @run.on_evaluate
        def evaluate() -> dict[str, float]:
            model.eval()
            torch.rand(3)
            return {"accuracy": 0.25}

        for _ in run.epochs(1):
            for number in run.steps(range(2)):
                before = torch.get_rng_state()
                if number == 0:
                    host.send(RunEvaluation())
        assert torch.equal(torch.get_rng_state(), before)
        assert model.training
    events = list(host.events.take())
    [evaluation] = [event for event in events if isinstance(event, EvaluationCompleted)]
    assert (evaluation.reason, evaluation.metrics) == ("command", {"val/accuracy": 0.25})
    [applied] = [event for event in events if isinstance(event, CommandApplied)]
    assert applied.result == {"val/accuracy": 0.25}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (None, "add `run.on_evaluate(function)`"),
        (lambda: 1 / 0, "failed: ZeroDivisionError"),
        (lambda: 0.5, "metrics are a dict"),
    ],
)
def test_an_evaluation_that_fails_is_rejected_and_the_run_goes_on(
    host: MemoryHost, function: Any, reason: str
) -> None:
    with own_run(host) as run:
        if function:
            run.on_evaluate(function)
        for _ in run.epochs(1):
            for _ in run.steps(range(2)):
                if run.step == 0:
                    host.send(RunEvaluation())
    assert run.step == 2
    [rejected] = host.taken(CommandRejected)
    assert reason in rejected.reason


def test_a_program_is_not_rolled_back_while_it_runs(host: MemoryHost) -> None:
    """Its variables cannot be: only a new process begins where a checkpoint was taken."""
    with own_run(host) as run:
        for _ in run.epochs(1):
            for _ in run.steps(range(2)):
                if run.step == 0:
                    host.send(RollBack())
    assert run.step == 2
    [rejected] = host.taken(CommandRejected)
    assert rejected.reason.startswith("only the training of a preset can be rolled back while it runs")


def test_a_loop_without_a_loader_ends_its_steps_itself(host: MemoryHost) -> None:
    model, optimizer = parts()
    with own_run(host, total_steps=4) as run:
        run.keep(model=model, optimizer=optimizer)
        while True:
            run.boundary(loss=step(model, optimizer))
    assert run.step == 4
    assert host.outcome is not None
    assert host.outcome.reason == "all steps done: total_steps is 4"

    again = memory_host(host.folder.path, resumes=True)
    weight = [value.clone() for value in model.parameters()]
    model, optimizer = parts()
    with own_run(again) as run:
        run.keep(model=model, optimizer=optimizer)
        assert run.step == 4
    assert all(torch.equal(one, other) for one, other in zip(weight, model.parameters(), strict=True))


def test_two_loops_over_epochs_resume_in_the_second(host: MemoryHost) -> None:
    def train(run: OwnRun, stop_at: int) -> list[tuple[str, int]]:
        seen = []
        run.keep(seen={})
        for name in ("first", "second"):
            for epoch in run.epochs(2):
                for _ in run.steps(range(2)):
                    seen.append((name, epoch))
                    if run.step == stop_at:
                        host.send(StopRun(reason="enough"))
        return seen

    with own_run(host) as run:
        train(run, 5)
    again = memory_host(host.folder.path, resumes=True)
    with own_run(again) as run:
        assert train(run, -1) == [("second", 1), ("second", 1)]
    assert run.step == 8


def test_results_are_files_of_the_run(host: MemoryHost) -> None:
    with own_run(host) as run:
        run.image("in put/ä", torch.rand(3, 4, 5))
        run.image("gray", torch.arange(20).reshape(4, 5))
        run.text("note", "hello ä")
    files = sorted(file.name for file in host.folder.results.iterdir())
    assert files == ["gray-00000000.png", "in-put-00000000.png", "note-00000000.txt"]
    assert Image.open(host.folder.results / "in-put-00000000.png").size == (5, 4)
    assert (host.folder.results / "note-00000000.txt").read_text(encoding="utf-8") == "hello ä"


def test_numbers_that_are_not_finite_are_logged_as_such(host: MemoryHost) -> None:
    with own_run(host) as run:
        for _ in run.epochs(1):
            for _ in run.steps(range(1)):
                run.log({"odd name/\x1b[31m": 1.0}, loss=torch.tensor(math.nan), other=math.inf)
            run.evaluated({"val/loss": math.nan})
    last = points(host)[-1].metrics
    assert math.isnan(last["train/loss"])
    assert last["train/other"] == math.inf
    assert all(name.isprintable() for name in last)


# Wrong use.


def in_epoch(run: OwnRun) -> Iterator[None]:
    for _ in run.epochs(1):
        yield


def use_twice(run: OwnRun) -> None:
    run.keep(a=[1])
    run.keep(b=[1])


def use_late(run: OwnRun) -> None:
    for _ in run.epochs(1):
        run.keep(a=[1])


def nested_epochs(run: OwnRun) -> None:
    for _ in run.epochs(1):
        run.epochs(1)


def nested_steps(run: OwnRun) -> None:
    for _ in run.epochs(1):
        for _ in run.steps([1]):
            run.steps([2])


def boundary_inside(run: OwnRun) -> None:
    for _ in run.epochs(1):
        run.boundary()


def another_run(run: OwnRun) -> None:
    with torchconsole.run("inner"):
        pass


def in_child(run: OwnRun) -> None:
    run._process = os.getpid() + 1
    try:
        run.log(loss=1.0)
    finally:
        run._process = os.getpid()


class InWorker(Dataset[float]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> float:
        active_run.end()
        try:
            torchconsole.run("inner").__enter__()
        except RunError as error:
            raise ValueError(str(error)) from None
        return 0.0


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (use_twice, "run.keep was called twice; name everything in one call"),
        (use_late, "run.keep was called after the loop has begun"),
        (lambda run: run.keep(), "run.keep names nothing"),
        (lambda run: run.keep(best=0.5), "best=...): a float has no state_dict"),
        (lambda run: run.keep(model=nn.Linear), "model=...): a type has no state_dict"),
        (lambda run: run.steps([1]), "run.steps outside of run.epochs"),
        (lambda run: run.epochs(2.5), "run.epochs(2.5): the number of epochs is an integer"),
        (nested_epochs, "run.epochs inside run.epochs"),
        (nested_steps, "run.steps inside run.steps"),
        (lambda run: [run.steps(3) for _ in run.epochs(1)], "run.steps: int cannot be iterated"),
        (boundary_inside, "run.boundary inside run.epochs"),
        (
            lambda run: run.log(loss=torch.ones(2)),
            "loss is a tensor of shape (2,), not a single number",
        ),
        (lambda run: run.log(loss="low"), "run.log: loss is 'low' of type str"),
        (lambda run: run.log(torch.ones(())), "has no name; write run.log(loss=loss)"),
        (lambda run: run.evaluated({}), "run.evaluated: metrics are a dict"),
        (lambda run: run.evaluated({"loss": None}), "run.evaluated: loss is None of type NoneType"),
        (lambda run: run.on_evaluate(0.5), "run.on_evaluate: 0.5 is not a function"),
        (lambda run: run.image("x", torch.ones(3)), "run.image: an array of shape (3,)"),
        (lambda run: run.image("", torch.ones(3, 3)), "a result needs a name"),
        (lambda run: run.text("x", 5), "run.text: int is not a text"),
        (another_run, "torchconsole.run inside of another one"),
        (in_child, "run.log in a child process"),
    ],
)
def test_wrong_use_is_one_clear_error(host: MemoryHost, use: Any, message: str) -> None:
    with pytest.raises(RunError) as caught, own_run(host) as run:
        use(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert host.outcome is not None
    assert host.outcome.type == "RunFailed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience is 0, not an integer above 0"),
        ({"total_steps": "many"}, "total_steps is 'many'"),
        ({"monitor": "val/x"}, "does not tell whether low or high is better"),
        ({"mode": "low"}, 'mode is \'low\', not "min" or "max"'),
        ({"name": 5}, "name is 5, not a text"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError) as caught:
        Settings(**arguments)
    assert message in str(caught.value)


def test_an_unknown_monitor_is_refused_at_the_first_evaluation(host: MemoryHost) -> None:
    message = r"monitor 'val/los_s' is not among .* which are val/loss, val/acc"
    with pytest.raises(RunError, match=message), own_run(host, monitor="val/los_s", mode="min") as run:
        run.evaluated({"loss": 0.1, "acc": 1})


def test_a_run_is_used_within_its_with_only(host: MemoryHost) -> None:
    run = own_run(host)
    with pytest.raises(RunError, match=r"use `with torchconsole\.run"):
        run.log(loss=1.0)
    with run:
        pass
    with pytest.raises(RunError, match="the run is over"):
        run.log(loss=1.0)
    with pytest.raises(RunError, match=r"each `with` needs a torchconsole\.run"):
        run.__enter__()


def test_a_data_loader_worker_begins_no_run(host: MemoryHost) -> None:
    with pytest.raises(ValueError, match=r"torchconsole\.run in a child process"):
        list(DataLoader(InWorker(), num_workers=1))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (ValueError("odd"), "RunFailed", "ValueError: odd"),
        (KeyboardInterrupt(), "RunFinished", "interrupted within a step"),
        (SystemExit(3), "RunFailed", "exit status 3"),
        (SystemExit(0), "RunFinished", "the program has ended"),
    ],
)
def test_what_leaves_the_with_is_how_the_run_ended(
    host: MemoryHost, error: BaseException, kind: str, reason: str
) -> None:
    def train() -> None:
        with own_run(host) as run:
            for _ in run.epochs(1):
                for _ in run.steps([1]):
                    raise error

    with pytest.raises(type(error)):
        train()
    assert host.outcome is not None
    assert host.outcome.type == kind
    assert reason in host.outcome.reason


def test_what_cannot_be_saved_is_named(host: MemoryHost) -> None:
    def train() -> None:
        with own_run(host) as run:
            run.keep(odd=[object()])
            for _ in run.epochs(1):
                for _ in run.steps([1]):
                    host.send(SaveCheckpoint())

    with pytest.raises(RunError, match=r"run.keep\(odd=...\): the state of this list cannot be saved"):
        train()


def test_several_processes_are_refused(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match="one of 2 processes"):
        own_run(host).__enter__()


def test_off_is_plain_loops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHCONSOLE", "off")
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "runs"))
    with torchconsole.run("x", patience=3) as run:
        run.keep(anything=5)
        assert [list(run.steps("ab")) for _ in run.epochs(2)] == [["a", "b"], ["a", "b"]]
        run.log(loss="anything")
        run.evaluated({})
        run.boundary()
    assert run.folder is None
    assert not (tmp_path / "runs").exists()
