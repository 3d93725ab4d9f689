"""What is seen of a program's training in odd loops: several phases, failing steps, odd values."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from torchconsole.engine.library import instruments
from torchconsole.engine.library.instruments import Instruments
from torchconsole.engine.library.step_meter import StepMeter
from torchconsole.engine.library.watched_run import ProgramStopped, WatchedRun
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.events import ModelSummarized
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.training.command_queue import CommandQueue


@pytest.fixture
def commands() -> CommandQueue:
    return CommandQueue()


@pytest.fixture
def events() -> EventQueue:
    return EventQueue()


@pytest.fixture
def run(
    tmp_path: Path, commands: CommandQueue, events: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WatchedRun]:
    """A run whose instruments are taken away at the end."""

    def replace(owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        call = wraps(original)(lambda *args, **kwargs: replacement(original, *args, **kwargs))
        monkeypatch.setattr(owner, name, call)

    handles = []
    monkeypatch.setattr(instruments, "replace", replace)
    monkeypatch.setattr(instruments, "skip_in_compilation", lambda _: None)
    monkeypatch.setattr(instruments.os, "register_at_fork", lambda **_: None)
    for name in ("register_optimizer_step_pre_hook", "register_optimizer_step_post_hook"):
        register = getattr(instruments, name)
        monkeypatch.setattr(instruments, name, lambda hook, add=register: handles.append(add(hook)))
    run = WatchedRun(events, commands, tmp_path, lambda: None)
    Instruments(run, commands).install()
    yield run
    for handle in handles:
        handle.remove()
    run.checkpoints.flush()


def step(optimizer: SGD, weight: Tensor, times: int = 1) -> None:
    for _ in range(times):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()


def logged(events: EventQueue) -> list[MetricsPoint]:
    return [event for event in events.take() if isinstance(event, MetricsPoint)]


@pytest.fixture
def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(1))


def test_steps_count_on_with_the_optimizer_of_a_second_phase(run: WatchedRun, weight: nn.Parameter) -> None:
    head, everything = SGD([weight], lr=0.1), SGD([weight], lr=0.01)
    step(head, weight, 5)
    step(everything, weight, 40)
    run.finish("")
    assert run.progress.step == pytest.approx(45, abs=1)


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_stop_ends_a_wait_for_data_of_a_program_of_one_process_only(
    run: WatchedRun, commands: CommandQueue, *, is_alone: bool
) -> None:
    """Others would wait in torch for a process that ends between two batches."""
    waits: list[bool] = []

    class Data(Dataset[int]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> int:
            waits.append(commands.waits_since is not None)
            return index

    run.meter = None if is_alone else StepMeter()
    assert len(list(DataLoader(Data()))) == 2
    assert waits == [is_alone] * 2
    assert commands.waits_since is None


def test_a_stop_reaches_a_second_phase_of_few_steps_whose_optimizer_is_made_then(
    run: WatchedRun, weight: nn.Parameter, commands: CommandQueue
) -> None:
    first = SGD([weight], lr=0.1)
    step(first, weight, 5)
    second = SGD([weight], lr=0.01)
    step(second, weight, 3)
    assert run.progress.step == 7  # and one is under way
    commands.put("1", StopRun(), "test")
    with pytest.raises(ProgramStopped):
        step(second, weight)


def test_a_stop_reaches_the_second_phase(
    run: WatchedRun, weight: nn.Parameter, commands: CommandQueue
) -> None:
    step(SGD([weight], lr=0.1), weight, 5)
    second = SGD([weight], lr=0.01)
    step(second, weight, 40)
    commands.put("1", StopRun(), "test")
    with pytest.raises(ProgramStopped):
        step(second, weight, 2)


def test_a_program_that_catches_everything_is_stopped_at_its_next_step(
    run: WatchedRun, weight: nn.Parameter, commands: CommandQueue
) -> None:
    optimizer = SGD([weight], lr=0.1)
    step(optimizer, weight, 3)
    commands.put("1", StopRun(), "test")
    for _ in range(2):
        with pytest.raises(ProgramStopped):
            step(optimizer, weight)


def test_many_losses_without_a_step_take_no_memory(run: WatchedRun, weight: nn.Parameter) -> None:
    optimizer = SGD([weight], lr=0.1)
    step(optimizer, weight, 2)
    before = live_tensors()
    for _ in range(100):  # attacks on the model, for example: their gradients are not used
        (weight**2).sum().backward()
    assert live_tensors() - before < 20


def live_tensors() -> int:
    return sum(issubclass(type(found), Tensor) for found in gc.get_objects())


def test_a_logged_tensor_is_read_as_it_is_when_logged(
    run: WatchedRun, weight: nn.Parameter, events: EventQueue
) -> None:
    optimizer = SGD([weight], lr=0.1)
    total = torch.tensor(3.0)
    step(optimizer, weight)
    run.add_metrics({"total": total, "graph": (weight * 2).sum()})
    total.zero_()
    run.finish("")
    assert logged(events)[-1].metrics["total"] == 3.0


def test_a_logged_tensor_keeps_no_graph_alive(run: WatchedRun, weight: nn.Parameter) -> None:
    saved = torch.ones(3)
    seen = ref(saved)
    run.add_metrics({"loss": (weight * saved).sum()})
    del saved
    assert seen() is None


def test_a_logged_object_that_fails_as_a_number_does_not_end_the_program(
    run: WatchedRun, weight: nn.Parameter, events: EventQueue
) -> None:
    class Odd:
        def __float__(self) -> float:
            raise RuntimeError("no number")

    optimizer = SGD([weight], lr=0.1)
    step(optimizer, weight)
    run.add_metrics({"odd": Odd(), "good": 1})
    run.finish("")
    assert logged(events)[-1].metrics["good"] == 1.0


def test_layers_without_weights_yet_are_no_trouble(run: WatchedRun, weight: nn.Parameter) -> None:
    net = nn.ModuleDict({"used": nn.Linear(1, 1), "later": nn.LazyLinear(2)})
    optimizer = SGD(net["used"].parameters(), lr=0.1)
    step(optimizer, next(net["used"].parameters()))
    assert run.has_begun


def test_a_line_without_losses_after_an_infinite_one_has_none(run: WatchedRun, events: EventQueue) -> None:
    run.begin()
    run.add_loss(torch.tensor(float("inf")), None)
    run.boundary()
    run.finish("")
    assert "train/loss" not in logged(events)[-1].metrics


def test_optimizers_that_the_program_drops_take_no_memory_and_one_name(
    run: WatchedRun, weight: nn.Parameter, events: EventQueue
) -> None:
    outer = SGD([weight], lr=0.1)
    for _ in range(30):
        inner = SGD([weight], lr=0.1)
        step(inner, weight, 2)
        step(outer, weight)
    gc.collect()
    assert len(run.learning_rate.optimizers) == 2
    run.finish("")
    names = {name for point in logged(events) for name in point.metrics if name.startswith("train/loss")}
    assert len(names) <= 4


def test_the_layer_table_has_the_models_of_later_optimizers_too(run: WatchedRun, events: EventQueue) -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 3)
    optimizers = [SGD(model.parameters(), lr=0.1) for model in (first, second)]
    for optimizer in optimizers:
        step(optimizer, next(iter(optimizer.param_groups[0]["params"])))
    tables = [event.summary for event in events.take() if isinstance(event, ModelSummarized)]
    assert [table.params for table in tables] == [6, 15]


def test_an_optimizer_that_replaces_another_with_a_scheduler_keeps_the_name_of_the_loss(
    run: WatchedRun, weight: nn.Parameter, events: EventQueue
) -> None:
    for _ in range(3):
        optimizer = SGD([weight], lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        step(optimizer, weight, 3)
        scheduler.step()
    run.finish("")
    names = {name for point in logged(events) for name in point.metrics if "loss" in name}
    assert names == {"train/loss"}
    assert run.progress.step == 9


def test_the_first_loss_of_two_optimizers_has_the_name_of_its_own(
    run: WatchedRun, events: EventQueue
) -> None:
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimizers = [SGD([weight], lr=0.1) for weight in weights]
    for _ in range(3):
        for optimizer, weight in zip(optimizers, weights, strict=True):
            step(optimizer, weight)
    run.finish("")
    names = [{name for name in point.metrics if "loss" in name} for point in logged(events)]
    assert len(names[0]) == 2
    assert "train/loss" not in set().union(*names)
