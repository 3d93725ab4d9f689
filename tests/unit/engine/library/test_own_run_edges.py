"""`torchconsole.run` where programs loop, log, evaluate and end in less usual ways."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import torchconsole
from tests.support.own_runs import MemoryHost, memory_host, own_run
from tests.unit.engine.library.test_own_run import parts, points, step
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import RunError
from torchconsole.engine.library.own_run import OwnRun
from torchconsole.engine.library.watched_run import MOST_METRICS
from torchconsole.engine.protocol.commands import RunEvaluation, SaveCheckpoint, SetLearningRate, StopRun
from torchconsole.engine.protocol.events import (
    CommandRejected,
    EpochCompleted,
    LengthEstimated,
    RunStarted,
)


class Killed(BaseException):
    """The end of a process, which runs no code of the program any more."""


@pytest.fixture
def host(tmp_path: Path) -> MemoryHost:
    return memory_host(tmp_path)


def saved(host: MemoryHost, link: str = "last") -> dict[str, Any]:
    state: dict[str, Any] = torch.load(host.folder.checkpoints / link / "state.pt", weights_only=True)
    return state


# Loops.


class OneOfTwo(NoJob):
    """The first process of two."""

    size = 2


@pytest.mark.parametrize("job", [ALONE, OneOfTwo()])
def test_a_stop_ends_a_wait_for_data_of_a_program_of_one_process_only(host: MemoryHost, job: NoJob) -> None:
    """Others would wait in torch for a process that ends between two batches."""
    host.job = job
    waits: list[bool] = []

    def batches() -> Iterator[int]:
        for number in range(3):
            waits.append(host.commands.waits_since is not None)
            yield number

    with own_run(host) as run:
        for _ in run.epochs(1):
            assert list(run.steps(batches())) == [0, 1, 2]
    assert waits == [job is ALONE] * 3
    assert host.commands.waits_since is None


def test_a_zip_of_two_steps_is_refused(host: MemoryHost) -> None:
    def train() -> None:
        with own_run(host) as run:
            for _ in run.epochs(1):
                list(zip(run.steps("ab"), run.steps("cd"), strict=True))

    with pytest.raises(RunError, match=r"run\.steps inside run\.steps"):
        train()


class Bar:
    """A progress bar as of tqdm: it keeps what it goes over."""

    def __init__(self, iterable: Any) -> None:
        self.iterable = iterable

    def __iter__(self) -> Iterator[Any]:
        iterable = self.iterable
        for item in iterable:  # noqa: UP028 - as tqdm does
            yield item


def test_a_break_out_of_a_progress_bar_ends_the_step(host: MemoryHost) -> None:
    with own_run(host) as run:
        for _ in run.epochs(2):
            bar = Bar(run.steps("abc"))
            for batch in bar:
                if batch == "b":
                    break
        assert run.step == 4
    assert run.step == 4
    assert [event.step for event in host.taken(EpochCompleted)] == [2, 4]


def test_a_second_loop_over_epochs_is_added_to_the_length(host: MemoryHost) -> None:
    with own_run(host) as run:
        for count in (2, 3):
            for _ in run.epochs(count):
                for _ in run.steps("ab"):
                    pass
        assert run.epoch == 5
    lengths = host.taken(RunStarted | LengthEstimated)
    assert [event.total_epochs for event in lengths] == [2, 5]


def test_enumerate_is_warned_about_when_a_pass_resumes(
    host: MemoryHost, caplog: pytest.LogCaptureFixture
) -> None:
    def train(run: OwnRun, stop_at: int, around: Any) -> None:
        run.keep(values=[1])
        for _ in run.epochs(1):
            for _ in around(run):
                if run.step == stop_at:
                    host.send(StopRun(reason="enough"))

    def outside(run: OwnRun) -> Any:
        return enumerate(run.steps("abcd"))

    def inside(run: OwnRun) -> Any:
        return run.steps(enumerate("abcd"))

    with own_run(host) as run:
        train(run, 0, outside)
    assert not caplog.records
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        train(run, -1, lambda run: enumerate(Bar(run.steps("abcd"))))
    assert "run.steps(enumerate(loader))" in caplog.text
    caplog.clear()
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        train(run, -1, inside)
    assert "enumerate" not in caplog.text


def test_a_folder_that_cannot_be_written_to_does_not_end_the_training(
    host: MemoryHost, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(host.folder.path)
    with own_run(host) as run:
        run.keep(values=[1])
        for _ in run.epochs(1):
            for _ in run.steps("ab"):
                pass
    assert run.step == 2
    assert "cannot be resumed" in caplog.text
    assert host.outcome is not None
    assert host.outcome.type == "RunFinished"
    assert "not saved" in host.outcome.problem


# The end of a run.


def test_hooks_end_with_the_run(host: MemoryHost) -> None:
    model, optimizer = parts()
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        for _ in run.epochs(1):
            for _ in run.steps("ab"):
                step(model, optimizer)
                host.send(SetLearningRate(factor=0.5))
    seen = []
    optimizer.register_step_pre_hook(lambda used, *_: seen.append(used.param_groups[0]["lr"]))
    step(model, optimizer)
    assert seen == [0.1]


def test_nothing_is_left_of_a_run(host: MemoryHost) -> None:
    def train() -> weakref.ref[Any]:
        model, optimizer = parts()
        with own_run(host) as run:
            run.keep(model=model, optimizer=optimizer)
            for _ in run.epochs(1):
                for _ in run.steps("ab"):
                    run.log(loss=step(model, optimizer))
        return weakref.ref(run._loop)

    before = {thread.ident for thread in threading.enumerate()}
    loop = train()
    gc.collect()
    assert loop() is None
    assert {thread.ident for thread in threading.enumerate()} <= before


def test_an_evaluation_after_the_last_step_can_be_the_best(host: MemoryHost) -> None:
    with own_run(host, monitor="val/loss") as run:
        run.keep(values=[1.0])
        for epoch in run.epochs(2):
            for _ in run.steps("ab"):
                pass
            if epoch == 0:
                run.evaluated({"loss": 2.0})
        run.evaluated({"loss": 1.0})
    assert (host.folder.checkpoints / "best").resolve().name == "step-00000004"


def test_a_state_that_cannot_be_saved_at_the_end_ends_the_run(host: MemoryHost) -> None:
    def train() -> None:
        history: list[Any] = []
        with own_run(host) as run:
            run.keep(history=history)
            for _ in run.epochs(1):
                for _ in run.steps("a"):
                    history.extend([object()])

    with pytest.raises(RunError, match="cannot be saved"):
        train()
    assert host.outcome is not None
    assert host.outcome.type == "RunFailed"


# What is kept.


def test_lists_and_dicts_of_objects_are_kept(host: MemoryHost) -> None:
    def train(run: OwnRun, stop: bool) -> list[Any]:
        torch.manual_seed(int(stop))
        models = [nn.Linear(1, 1), nn.Linear(1, 1)]
        optimizers = {
            "a": torch.optim.Adam(models[0].parameters()),
            "b": torch.optim.Adam(models[1].parameters()),
        }
        run.keep(models=models, optimizers=optimizers)
        for _ in run.epochs(1):
            for _ in run.steps(range(2)):
                if stop:
                    for model, optimizer in zip(models, optimizers.values(), strict=True):
                        step(model, optimizer)
                    if run.step == 0:
                        host.send(SetLearningRate(factor=0.5))
        return [models[0].state_dict(), models[1].state_dict(), optimizers["b"].state_dict()]

    with own_run(host) as run:
        first = train(run, True)
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        again = train(run, False)
    for one, other in zip(first[:2], again[:2], strict=True):
        assert torch.equal(one["weight"], other["weight"])
    assert torch.equal(first[2]["state"][0]["exp_avg"], again[2]["state"][0]["exp_avg"])


def test_what_cannot_be_saved_is_refused_when_it_is_kept(host: MemoryHost) -> None:
    message = r"run.keep\(odd=...\): the state of this list cannot be saved"
    with pytest.raises(RunError, match=message), own_run(host) as run:
        run.keep(odd=[object()])


class Gan:
    """The first optimizer steps each time, the second one gathers gradients over three steps."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.models = [nn.Linear(1, 1), nn.Linear(1, 1)]
        self.optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in self.models]

    def train(self, run: OwnRun, kill_at: int, leave_at: int = -1) -> None:
        run.keep(one=self.models[0], two=self.models[1], first=self.optimizers[0], second=self.optimizers[1])
        for _ in run.epochs(2):
            for _ in run.steps(range(4)):
                if run.step == kill_at:
                    raise Killed
                done = run.step + 1
                for model in self.models:
                    model(torch.ones(1, 1)).square().mean().backward()
                self.optimizers[0].step()
                self.optimizers[0].zero_grad()
                if done % 3 == 0:
                    self.optimizers[1].step()
                    self.optimizers[1].zero_grad()
                if done == leave_at:
                    break


def test_gradients_of_an_optimizer_that_steps_seldom_are_kept(host: MemoryHost) -> None:
    reference = Gan()
    with own_run(memory_host(host.folder.path / "reference")) as run:
        reference.train(run, -1)
    with suppress(Killed), own_run(host) as run:
        host.send(SaveCheckpoint())
        Gan().train(run, 1)
    resumed = Gan()
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        assert run.step == 1
        resumed.train(run, -1)
    for one, other in zip(reference.models, resumed.models, strict=True):
        assert torch.equal(one.weight, other.weight)


def test_gradients_are_kept_over_a_break(host: MemoryHost) -> None:
    def train(run: OwnRun, kill: bool) -> Tensor:
        torch.manual_seed(0)
        model, optimizer = parts()
        run.keep(model=model, optimizer=optimizer)
        for _ in run.epochs(2):
            for number in run.steps(range(4)):
                model(torch.ones(1, 1)).square().mean().backward()
                if run.step % 2 == 1:
                    optimizer.step()
                    optimizer.zero_grad()
                if number == 2:
                    break
            if kill and run.epoch == 0:
                host.send(SaveCheckpoint())
            elif kill:
                raise Killed
        return model.weight.detach()

    with own_run(memory_host(host.folder.path / "reference")) as run:
        reference = train(run, False)
    with suppress(Killed), own_run(host) as run:
        train(run, True)
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        assert run.step == 3
        assert torch.equal(train(run, False), reference)


def check_resume(host: MemoryHost, load: Callable[[], tuple[DataLoader[Any], dict[str, Any]]]) -> None:
    """Check that a killed run sees the same batches after its checkpoint as one that was not killed.

    `load` makes the loader, and what is kept besides.
    """

    def train(run: OwnRun, kill_at: int) -> list[list[float]]:
        torch.manual_seed(0)
        loader, kept = load()
        run.keep(values=[1], **kept)
        seen = []
        for _ in run.epochs(3):
            for (batch,) in run.steps(loader):
                seen.append(batch.tolist())
                if run.step == 5 and kill_at > 0:
                    host.send(SaveCheckpoint())
                if run.step == kill_at:
                    raise Killed
        return seen

    with own_run(memory_host(host.folder.path / "reference")) as run:
        reference = train(run, -1)
    with suppress(Killed), own_run(host) as run:
        train(run, 7)
    with own_run(memory_host(host.folder.path, resumes=True)) as run:
        assert run.step == 6
        assert train(run, -1) == reference[6:]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_generator_in_a_batch_sampler_resumes(host: MemoryHost, keeps: bool) -> None:
    def load() -> tuple[DataLoader[Any], dict[str, Any]]:
        generator = torch.Generator().manual_seed(3)
        sampler = BatchSampler(RandomSampler(range(8), generator=generator), 2, False)
        loader = DataLoader(TensorDataset(torch.arange(8.0)), batch_sampler=sampler)
        return loader, {"generator": generator} if keeps else {}

    check_resume(host, load)


def test_persistent_workers_resume_with_the_same_samples(host: MemoryHost) -> None:
    data = TensorDataset(torch.arange(8.0))
    check_resume(
        host, lambda: (DataLoader(data, 2, shuffle=True, num_workers=1, persistent_workers=True), {})
    )


@pytest.mark.parametrize(
    ("generates", "keeps", "warns"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_generator_behind_an_iterator_is_to_be_kept(
    host: MemoryHost, caplog: pytest.LogCaptureFixture, generates: bool, keeps: bool, warns: bool
) -> None:
    generator = torch.Generator() if generates else None
    loader = DataLoader(TensorDataset(torch.arange(4.0)), shuffle=True, generator=generator)
    with own_run(host) as run:
        run.keep(values=[1], **({"generator": generator} if keeps else {}))
        for _ in run.epochs(2):
            for _ in run.steps(enumerate(zip(loader, loader, strict=True))):
                pass
    assert caplog.text.count("run.keep(generator=generator)") == int(warns)


# Evaluations.


def test_an_evaluation_without_the_monitor_does_not_count(host: MemoryHost) -> None:
    with own_run(host, monitor="val/loss", patience=2) as run:
        run.keep(values=[1.0])
        for epoch in run.epochs(4):
            for _ in run.steps("ab"):
                pass
            run.evaluated({"val/loss": 4.0 - epoch})
            run.evaluated({"test/loss": 1.0})
            run.evaluated({"test/acc": 1.0})
    assert run.step == 8


def test_an_evaluation_that_runs_again_in_a_resumed_epoch_does_not_count(host: MemoryHost) -> None:
    def train(run: OwnRun, kill_at: int) -> None:
        run.keep(values=[1.0])
        for _ in run.epochs(3):
            run.evaluated({"val/loss": 1.0})
            for _ in run.steps("abc"):
                if run.step == 4:
                    host.send(SaveCheckpoint())
                if run.step == kill_at:
                    raise Killed

    with suppress(Killed), own_run(host, patience=9) as run:
        train(run, 5)
    with own_run(memory_host(host.folder.path, resumes=True), patience=9) as run:
        train(run, -1)
        assert run._loop is not None
        assert run._loop.early_stopping.counter == 2


def test_the_best_of_an_evaluation_before_a_pass_has_its_weights(host: MemoryHost) -> None:
    model, optimizer = parts()
    with own_run(host) as run:
        run.keep(model=model, optimizer=optimizer)
        for epoch in run.epochs(3):
            weight = model.weight.item()
            run.evaluated({"val/loss": abs(epoch - 1.0)})
            if epoch == 1:
                best = weight
            for _ in run.steps("ab"):
                step(model, optimizer)
    assert (host.folder.checkpoints / "best").resolve().name == "step-00000002"
    assert saved(host, "best")["models"]["model"]["weight"].item() == best


def test_steps_in_an_evaluation_by_command_are_refused(host: MemoryHost) -> None:
    with own_run(host) as run:
        run.keep(values=[1])
        run.on_evaluate(lambda: {"loss": sum(run.steps([1.0, 2.0]))})
        for _ in run.epochs(1):
            for _ in run.steps("ab"):
                if run.step == 0:
                    host.send(RunEvaluation())
    assert run.step == 2
    [rejected] = host.taken(CommandRejected)
    assert "run.steps" in rejected.reason


def test_another_monitor_begins_anew(host: MemoryHost) -> None:
    def train(run: OwnRun, metrics: list[dict[str, float]]) -> None:
        run.keep(values=[1])
        for epoch in run.epochs(len(metrics)):
            for _ in run.steps("ab"):
                pass
            run.evaluated(metrics[epoch])

    with own_run(host, monitor="val/acc", patience=3) as run:
        train(run, [{"acc": 0.5}])
    with own_run(memory_host(host.folder.path, resumes=True), monitor="val/loss", patience=3) as run:
        train(run, [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.5}])
    assert (host.folder.checkpoints / "best").resolve().name == "step-00000006"


# Metrics.


def test_a_logged_tensor_may_change_later(host: MemoryHost) -> None:
    running = torch.zeros(1)
    with own_run(host) as run:
        for _ in run.epochs(1):
            for _ in run.steps("ab"):
                running += 3
                run.log(loss=running, running=running)
                running.zero_()
    last = points(host)[-1].metrics
    assert last["train/running"] == last["train/loss"] == 3


def test_no_loss_is_no_wrong_loss(host: MemoryHost) -> None:
    with own_run(host) as run:
        for _ in run.epochs(1):
            for _ in run.steps("ab"):
                run.log(accuracy=0.5)
    [completed] = host.taken(EpochCompleted)
    assert (completed.metrics, completed.nonfinite) == ({}, {})


def test_a_number_too_large_for_a_float_is_refused(host: MemoryHost) -> None:
    with pytest.raises(RunError, match=r"run\.log: count is"), own_run(host) as run:
        run.log(count=10**400)


def test_names_that_grow_are_bounded(host: MemoryHost) -> None:
    with own_run(host) as run:
        for _ in run.epochs(1):
            for number in run.steps(range(1000)):
                run.log({f"value {number}": 1.0})
    names = {name for point in points(host) for name in point.metrics}
    assert len(names) <= MOST_METRICS + 2  # the speed and the number of the epoch


# Without the console.


def test_off_counts_and_ends_as_with_the_console(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(run: torchconsole.Run) -> list[tuple[int, int]]:
        seen = []
        for _ in run.epochs(10):
            for _ in run.steps("abc"):
                seen.append((run.epoch, run.step))
                if run.step == 4:
                    break
            run.evaluated({"loss": 1.0 if run.epoch else 2.0})
        return seen

    for settings in ({"total_steps": 7}, {"patience": 2}):
        with own_run(memory_host(host.folder.path / str(settings)), **settings) as run:
            reference = train(run)
            steps = run.step
        monkeypatch.setenv("TORCHCONSOLE", "off")
        with torchconsole.run(**settings) as off:
            assert train(off) == reference
            assert off.step == steps
        monkeypatch.delenv("TORCHCONSOLE")


def test_off_ends_a_loop_by_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHCONSOLE", "off")
    with torchconsole.run(total_steps=5) as run:
        while run.step < 9:
            run.boundary(loss=1.0)
    assert run.step == 5
