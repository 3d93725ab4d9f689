"""A process that hangs or is gone is found within the timeout, and a pause may last any time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import pytest
from torch.distributed import Store, TCPStore

from tests.support.program_user import wait_until
from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.diagnosis import Beat
from torchconsole.engine.distributed.watch import Watch, Watched
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.progress import Progress

SECONDS = 0.5


class Process:
    """One of two processes of a job, in a thread of this one."""

    def __init__(self, store: Store, rank: int) -> None:
        commands = CommandQueue()
        self.queue = LeaderQueue(commands, store, 2) if rank == 0 else FollowerQueue(store, rank)
        self.progress = Progress()
        self.reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
        watched = Watched(self.progress, commands, self.queue)
        self.watch = Watch(store, rank, 2, SECONDS, watched, self.reasons.put)
        self.watch.start()


@pytest.fixture
def both() -> Iterator[list[Process]]:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    processes = [Process(store.clone(), rank) for rank in range(2)]  # type: ignore[attr-defined]
    yield processes
    for process in processes:
        process.watch.close()
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def is_any_watching() -> bool:
    return any(thread.name == "torchconsole-watch" for thread in threading.enumerate())


def test_both_are_told_which_of_them_has_not_gone_on(both: list[Process]) -> None:
    both[0].progress.step = 4
    wait_until(lambda: both[1].watch.beats[0].step == 4, "a beat of the first")
    reasons = [process.reasons.get(timeout=60) for process in both]
    assert all(reason.startswith("process 1 (pid ") for reason in reasons), reasons


def test_nobody_is_late_in_a_pause(both: list[Process]) -> None:
    for process in both:
        process.queue.is_waiting = True
    first = both[1].watch.beats[0].number
    wait_until(lambda: both[1].watch.beats[0].number > first + 20, "twice the timeout")
    assert all(process.reasons.empty() for process in both)


def test_one_that_says_nothing_any_more_is_named_in_a_pause_too() -> None:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    said = Beat(number=1, host="gpu7", pid=42, step=5, batches=5, still=0.0, place="", waits=True)
    store.set("beat/1", said.model_dump_json())
    process = Process(store, 0)
    process.queue.is_waiting = True
    reason = process.reasons.get(timeout=60)
    process.watch.close()
    assert reason.startswith("process 1 (pid 42 on gpu7) has not been heard of for ")
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def test_one_whose_training_is_over_is_not_missed(both: list[Process]) -> None:
    both[0].queue.is_waiting = True
    both[1].watch.close()
    wait_until(lambda: both[0].watch.beats.get(1) and both[0].watch.beats[1].is_over, "its last beat")
    first = both[0].watch.beats[0].number
    wait_until(lambda: both[0].watch.beats[0].number > first + 20, "twice the timeout")
    assert both[0].reasons.empty()
