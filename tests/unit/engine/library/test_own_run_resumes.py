"""A program with `torchconsole.run` that is interrupted and resumed trains the same weights, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from tests.support.own_runs import MemoryHost, memory_host, own_run
from torchconsole.engine.library.own_run import OwnRun
from torchconsole.engine.protocol.commands import RunEvaluation, SaveCheckpoint, SetLearningRate
from torchconsole.engine.protocol.events import RunResumed

EPOCHS = 3


class Killed(BaseException):
    """The end of a process, which runs no code of the program any more."""


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Draws from every generator for each sample, and counts in an attribute."""

    def __init__(self) -> None:
        self.x = torch.randn(12, 3)
        self.rng = np.random.default_rng(1)
        self.calls = 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.calls += 1
        noise = random.random() + float(np.random.rand()) + self.rng.random() + float(torch.rand(()))
        return self.x[index] + noise + 0.01 * self.calls, self.x[index].sum()


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """An iterable dataset of unknown length."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(12):
            x = torch.randn(3)
            yield x, x.sum()


class Program:
    """A small training program, and what happens at some of its steps."""

    def __init__(self, loader: Callable[[], DataLoader[Any]]) -> None:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, 0.5)
        self.loader = loader()
        self.history: list[float] = []

    def train(self, run: OwnRun, at: dict[int, Callable[[], object]], accumulate: int = 1) -> None:
        """Train; before the boundary of the steps in `at`, call what is there."""
        run.keep(model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, history=self.history)
        run.on_evaluate(self.validate)
        for epoch in run.epochs(EPOCHS):
            for group in self.optimizer.param_groups:  # code at the begin of an epoch
                group["weight_decay"] = 0.01 * epoch
            for number, (x, y) in enumerate(run.steps(self.loader)):
                loss = (self.model(x).squeeze(1) - y).square().mean()
                loss.backward()
                if accumulate == 1 or run.step % accumulate == accumulate - 1:
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                run.log(loss=loss, number=number)
                at.get(run.step + 1, lambda: None)()
            self.scheduler.step()
            found = self.validate()
            self.history.append(found["loss"])
            run.evaluated(found)

    def validate(self) -> dict[str, float]:
        self.model.eval()
        with torch.no_grad():
            losses = [float((self.model(x).squeeze(1) - y).square().mean()) for x, y in self.loader]
        self.model.train()
        return {"loss": sum(losses)}


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "shuffled": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True),
    "two workers": lambda: DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=2),
    "generator": lambda: DataLoader(
        Noisy(), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(5)
    ),
    "sampler": lambda: DataLoader(
        TensorDataset(torch.randn(12, 3), torch.randn(12)),
        batch_size=3,
        sampler=RandomSampler(range(12), generator=torch.Generator().manual_seed(5)),
    ),
    "iterable": lambda: DataLoader(Stream(), batch_size=3),
}


def killed() -> None:
    raise Killed


def weights(program: Program) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in program.model.state_dict().items()}


def interrupted(host: MemoryHost, loader: Callable[[], Any], at: dict[int, Any], **options: Any) -> None:
    program = Program(loader)
    with suppress(Killed), own_run(host) as run:
        program.train(run, at, **options)


@pytest.mark.parametrize(
    ("loader", "saved_at", "killed_at", "accumulate"),
    [
        *[("shuffled", saved, saved + 1, steps) for saved in (1, 4, 6, 8) for steps in (1, 3)],
        *[(loader, 6, 7, 1) for loader in ("generator", "sampler", "iterable", "two workers")],
        ("generator", 8, 9, 1),
    ],
)
def test_a_resumed_program_trains_the_same_weights(
    tmp_path: Path, loader: str, saved_at: int, killed_at: int, accumulate: int
) -> None:
    make = LOADERS[loader]
    reference = Program(make)
    with own_run(memory_host(tmp_path / "reference")) as run:
        reference.train(run, {}, accumulate)
        steps = run.step

    host = memory_host(tmp_path / "run")
    at = {saved_at: lambda: host.send(SaveCheckpoint()), killed_at: killed}
    interrupted(host, make, at, accumulate=accumulate)

    host = memory_host(tmp_path / "run", resumes=True)
    torch.rand(7)  # another process has used other random numbers
    resumed = Program(make)
    with own_run(host) as run:
        assert run.resumed
        assert run.step == saved_at
        resumed.train(run, {}, accumulate)
        assert run.step == steps
    [event] = host.taken(RunResumed)
    assert event.step == saved_at
    assert resumed.history == reference.history
    for name, value in weights(reference).items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_an_evaluation_by_command_changes_nothing(tmp_path: Path) -> None:
    make = LOADERS["shuffled"]
    programs = []
    for name, commands in (("reference", []), ("run", [RunEvaluation()])):
        host = memory_host(tmp_path / name)
        program = Program(make)
        programs.append(program)
        at = {2: lambda host=host, commands=commands: [host.send(command) for command in commands]}
        with own_run(host) as run:
            program.train(run, at)
    for name, value in weights(programs[0]).items():
        assert torch.equal(programs[1].model.state_dict()[name], value)


def test_a_changed_lr_survives_the_resume(tmp_path: Path) -> None:
    host = memory_host(tmp_path)
    at = {2: lambda: host.send(SetLearningRate(factor=0.5)), 4: killed}
    interrupted(host, LOADERS["shuffled"], at)
    host = memory_host(tmp_path, resumes=True)
    program = Program(LOADERS["shuffled"])
    with own_run(host) as run:
        assert run.step == 2
        assert run._loop is not None
        assert run._loop.learning_rate.scale == 0.5
        program.train(run, {})
    assert program.optimizer.param_groups[0]["lr"] == 0.05 * 0.5**EPOCHS
