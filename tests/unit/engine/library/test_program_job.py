"""The processes that run a program of the user's own: they stop together, and say why one ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import DistNetworkError, Store, TCPStore
from torch.optim import SGD

from tests.support.program_user import wait_until
from torchconsole.engine.distributed import meeting, program_job
from torchconsole.engine.distributed.failures import own_name
from torchconsole.engine.distributed.program_job import ALONE, ProgramJob
from torchconsole.engine.library.watched_run import ProgramStopped, WatchedRun
from torchconsole.engine.protocol.commands import HoldLearningRate, StopRun
from torchconsole.engine.run.membership import Membership
from torchconsole.engine.session.event_queue import Nowhere
from torchconsole.engine.training.command_queue import CommandQueue

Join = Callable[[int], ProgramJob]


@pytest.fixture
def before() -> list[threading.Thread]:
    """The threads before this test. Other tests may have left some."""
    return threading.enumerate()


@pytest.fixture
def join(before: list[threading.Thread]) -> Join:
    """Make one of two processes, here in one, that a launcher with a store has started."""
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    return lambda rank: ProgramJob(Membership(rank, 2, rank, 2, "127.0.0.1", store.port, "0", True, False))


@pytest.fixture
def jobs(join: Join) -> Iterator[list[ProgramJob]]:
    """Both processes."""
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(join, range(2)))
    yield made
    for job in reversed(made):
        job.close()


def new_threads(before: list[threading.Thread]) -> list[str]:
    """Return the names of the threads of torchconsole that have been started since."""
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    return [name for name in names if name.startswith("torchconsole-")]


def test_a_process_that_is_to_end_has_the_first_one_stop_all(jobs: list[ProgramJob]) -> None:
    reasons: list[str] = []
    jobs[0].watch_for_stop(reasons.append)
    jobs[1].ask_to_stop("SIGTERM")
    wait_until(lambda: reasons == ["SIGTERM"], "the stop")


def test_nothing_waits_in_the_store_after_the_end(
    jobs: list[ProgramJob], before: list[threading.Thread]
) -> None:
    reasons: list[str] = []
    jobs[0].watch_for_stop(reasons.append)
    for job in jobs:
        job.channel(CommandQueue())
    wait_until(lambda: len(new_threads(before)) == 2, "the end of the meeting")
    assert {*new_threads(before)} == {"torchconsole-agreement", "torchconsole-stop"}
    for job in jobs:
        job.close()
    assert new_threads(before) == []
    assert reasons == []


def test_nothing_waits_in_the_store_for_a_process_that_never_came(
    join: Join, before: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_slowly(store: Store, _name: str, complete: threading.Event, _late: object) -> None:
        complete.wait()
        for _ in range(1000):
            store.check(["question/1"])

    monkeypatch.setattr(meeting, "_answer", answer_slowly)
    job = join(0)
    assert {*new_threads(before)} == {"torchconsole-meeting"}
    job.close()
    assert new_threads(before) == []


def test_the_process_that_has_failed_is_named_by_the_one_that_misses_it(jobs: list[ProgramJob]) -> None:
    assert jobs[1].explain("the disk is full", None) == f"{own_name(1)}: the disk is full"
    lost = DistNetworkError("Connection closed by peer")
    assert jobs[0].explain("gloo has failed", lost) == f"{own_name(1)}: the disk is full"
    assert ALONE.explain("the disk is full", lost) == "the disk is full"


def test_watched_programs_take_each_command_at_the_same_step(jobs: list[ProgramJob], tmp_path: Path) -> None:
    commands = CommandQueue()
    used: list[list[float]] = [[], []]
    together = threading.Barrier(2)

    def train(rank: int) -> None:
        optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.1)
        queue = commands if rank == 0 else CommandQueue()
        run = WatchedRun(Nowhere(), queue, tmp_path, lambda: None, jobs[rank])
        run.add_optimizer(optimizer)
        run.begin()
        with suppress(ProgramStopped):
            while True:
                together.wait()
                run.add_loss(torch.tensor(1.0), optimizer)
                used[rank].append(run.learning_rate.current)
                run.boundary()
        run.finish("the program has ended")

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(used[1]) > 3, "steps")
    commands.put("hold", HoldLearningRate(value=0.5), "test")
    wait_until(lambda: 0.5 in used[1], "the lr")
    commands.put("stop", StopRun(), "test")
    for thread in threads:
        thread.join(60)
    assert used[0] == used[1]


def test_the_first_process_does_not_wait_for_one_that_comes_later(
    join: Join, before: list[threading.Thread], caplog: pytest.LogCaptureFixture
) -> None:
    """It may never come: a program may call `torchconsole.run` in its first process only."""
    first = join(0)
    first.channel(CommandQueue())
    first.close()
    assert "process 1 had not come when this run ended" in caplog.text
    second = join(1)
    assert second.channel(CommandQueue()).is_quiet()
    second.close()
    assert new_threads(before) == []


def test_a_start_after_one_that_nobody_else_joined_meets_its_own_leader(join: Join) -> None:
    """Nothing is left for those who come later if all have come."""
    first = [join(0)]
    with ThreadPoolExecutor(1) as pool:
        first.append(pool.submit(join, 1).result())
    for job in first:
        job.close()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(join, 1)
        leader = join(0)
        other = late.result()
    reasons: list[str] = []
    leader.watch_for_stop(reasons.append)
    other.ask_to_stop("SIGTERM")
    wait_until(lambda: reasons == ["SIGTERM"], "the stop")
    leader.close()
    other.close()


def test_a_store_that_ends_with_the_first_process_is_kept_for_some_seconds_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(program_job, "LATE_SECONDS", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = ProgramJob(Membership(0, 2, 0, 2, "127.0.0.1", port - 1, "0", False, False))
    job.close()
    assert "process 1 had not come when this run ended" in caplog.text


def test_what_is_given_may_be_larger_than_what_the_store_takes_at_once(jobs: list[ProgramJob]) -> None:
    content = bytes(range(256)) * (20 * 2**12)
    for name in ("1/7", "2/7"):
        jobs[1].give(name, content)
        assert jobs[0].take(name) == [content]
    jobs[1].give("3/8", b"")
    assert jobs[0].take("3/8") == [b""]


def test_a_process_that_has_ended_is_not_waited_for(
    jobs: list[ProgramJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_job, "TAKE_SECONDS", 1e6)
    jobs[1].give("1/7", b"before its end")
    jobs[1].close()
    assert jobs[0].take("1/7") == [b"before its end"]
    assert jobs[0].take("2/8") is None


def test_what_came_too_late_leaves_the_store_with_what_is_taken_next(
    jobs: list[ProgramJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_job, "TAKE_SECONDS", 0.01)
    assert jobs[0].take("1/7") is None
    keys = jobs[0]._store.num_keys()
    monkeypatch.setattr(program_job, "TAKE_SECONDS", 1e6)
    for name in ("1/7", "2/8"):
        jobs[1].give(name, b"state")
    assert jobs[0].take("2/8") == [b"state"]
    assert jobs[0]._store.num_keys() == keys
