"""All ranks apply the same commands before the same step, however far apart they are."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest
from torch.distributed import Store, TCPStore

from tests.support.program_user import wait_until
from torchconsole.engine.distributed import agreement
from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.store import copy_of
from torchconsole.engine.protocol.commands import PauseRun, SetLearningRate, StopRun, UnpauseRun
from torchconsole.engine.training.command_queue import CommandQueue


@pytest.fixture
def store() -> Store:
    return TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)


@dataclass
class Rank:
    """Takes steps and applies commands as the trainer does; before `pauses` it pauses by itself."""

    queue: LeaderQueue | FollowerQueue
    steps: int
    barrier: threading.Barrier | None = None
    pauses: Sequence[int] = ()
    applied: list[tuple[int, str]] = field(default_factory=list)

    def train(self, seed: int) -> None:
        pace = random.Random(seed)
        for step in range(1, self.steps + 1):
            if self.barrier is not None:
                self.barrier.wait()
            elif pace.random() < 0.05:
                time.sleep(pace.random() * 0.01)
            if step in self.pauses:
                self.queue.begin_here()
                if self.apply(step, paused=True):
                    return
            elif not self.queue.is_quiet() and self.apply(step):
                return

    def apply(self, step: int, *, paused: bool = False) -> bool:
        """Apply what there is before the next step; return whether the run ends."""
        while paused or self.queue.has_more():
            request = self.queue.get()
            self.applied.append((step, request.id))
            paused = isinstance(request.command, PauseRun) or (
                paused and not isinstance(request.command, UnpauseRun)
            )
            if isinstance(request.command, StopRun):
                return True
        return False


def make_ranks(commands: CommandQueue, store: Store, world: int, steps: int, *, coupled: bool) -> list[Rank]:
    barrier = threading.Barrier(world) if coupled else None
    leader = Rank(LeaderQueue(commands, store, world), steps, barrier)
    return [leader, *(Rank(FollowerQueue(store.clone(), rank), steps, barrier) for rank in range(1, world))]


def running(ranks: list[Rank]) -> list[threading.Thread]:
    threads = [threading.Thread(target=rank.train, args=(seed,)) for seed, rank in enumerate(ranks)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("coupled", [True, False], ids=["in step", "apart"])
@pytest.mark.parametrize("world", [2, 3])
def test_every_rank_applies_each_command_before_the_same_step(
    store: Store, world: int, coupled: bool
) -> None:
    commands = CommandQueue()
    ranks = make_ranks(commands, store, world, steps=10**9, coupled=coupled)
    threads = running(ranks)
    for number in range(40):
        commands.put(str(number), SetLearningRate(factor=0.5), "test")
        if number % 3:
            time.sleep(0.003)
    commands.put("stop", StopRun(), "test")
    for thread in threads:
        thread.join(60)
    assert [name for _, name in ranks[0].applied] == [*map(str, range(40)), "stop"]
    assert all(rank.applied == ranks[0].applied for rank in ranks)


@pytest.mark.parametrize("coupled", [True, False], ids=["in step", "apart"])
@pytest.mark.parametrize("world", [2, 3])
def test_every_rank_pauses_before_a_step_that_all_know(store: Store, world: int, coupled: bool) -> None:
    commands = CommandQueue()
    ranks = make_ranks(commands, store, world, steps=10**9, coupled=coupled)
    for rank in ranks:
        rank.pauses = (5, 6, 60, 200)
    threads = running(ranks)
    for number in range(30):
        commands.put(str(number), SetLearningRate(factor=0.5), "test")
        time.sleep(0.001)
        if ranks[0].queue.is_waiting:
            commands.put("go", UnpauseRun(), "test")
    while (200, "go") not in ranks[0].applied:
        if ranks[0].queue.is_waiting:
            commands.put("go", UnpauseRun(), "test")
        time.sleep(0.001)
    commands.put("stop", StopRun(), "test")
    for thread in threads:
        thread.join(60)
    gone = {step for step, name in ranks[0].applied if name == "go"}
    assert gone >= {5, 6, 60, 200}
    assert all(rank.applied == ranks[0].applied for rank in ranks)


class Broken:
    """A store whose waits fail as a bug would have it."""

    def __init__(self) -> None:
        self.clones = 0

    def clone(self) -> Broken:
        self.clones += 1
        return self

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        raise ValueError("the store is broken")

    def set(self, key: str, value: str) -> None:
        """Take any value."""


def raised_at_a_boundary(queue: LeaderQueue | FollowerQueue) -> str:
    """Pass boundaries until one raises, and return what it said."""
    for _ in range(10**6):
        try:
            queue.is_quiet()
        except ValueError as error:
            return str(error)
    return "nothing"


def test_what_breaks_a_thread_is_raised_by_the_training_thread() -> None:
    commands, broken = CommandQueue(), cast(Store, Broken())
    assert raised_at_a_boundary(FollowerQueue(broken, 1)) == "the store is broken"
    leader = LeaderQueue(commands, broken, 2)
    commands.put("one", SetLearningRate(factor=0.5), "test")
    assert raised_at_a_boundary(leader) == "the store is broken"


def test_a_follower_has_one_client_for_all_rounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Store] = []

    def counted(store: Store) -> Store:
        made.append(copy_of(store))
        return made[-1]

    monkeypatch.setattr(agreement, "copy_of", counted)
    commands = CommandQueue()
    ranks = make_ranks(commands, store, 2, steps=10**9, coupled=True)
    threads = running(ranks)
    for number in range(10):
        commands.put(str(number), SetLearningRate(factor=0.5), "test")
        wait_until(lambda: len(ranks[1].applied) > number, "the command")  # noqa: B023
    commands.put("stop", StopRun(), "test")
    for thread in threads:
        thread.join(60)
    assert len(made) == 2  # one of the leader's thread


def test_a_rank_that_has_left_is_not_waited_for(store: Store) -> None:
    commands = CommandQueue()
    leader, follower = LeaderQueue(commands, store, 2), FollowerQueue(store.clone(), 1)
    assert leader.is_quiet()
    assert follower.is_quiet()
    follower.close()
    for number in range(2):
        commands.put(str(number), SetLearningRate(factor=0.5), "test")
        while leader.is_quiet():
            time.sleep(0)
        assert leader.get().id == str(number)
    assert follower.is_quiet()
    leader.close()


def test_a_rank_goes_on_alone_when_the_first_one_has_ended(store: Store) -> None:
    """The first one has opened a round, but its training ends before the others have answered."""
    commands = CommandQueue()
    leader = LeaderQueue(commands, store, 2)
    commands.put("late", SetLearningRate(factor=0.5), "test")
    assert leader.is_quiet()  # nobody is there yet who could answer at once
    follower = FollowerQueue(store.clone(), 1)
    leader.close()
    assert all(follower.is_quiet() for _ in range(10))
    follower.close()


def test_a_pause_ends_with_the_first_rank(store: Store) -> None:
    commands = CommandQueue()
    leader, follower = LeaderQueue(commands, store, 2), FollowerQueue(store.clone(), 1)
    commands.put("pause", PauseRun(), "test")
    while leader.is_quiet():
        follower.is_quiet()
    assert leader.get().id == "pause"
    while follower.is_quiet():
        time.sleep(0)
    assert follower.get().id == "pause"
    leader.close()
    assert isinstance(follower.get().command, StopRun)
    follower.close()
