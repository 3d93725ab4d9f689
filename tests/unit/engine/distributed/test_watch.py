"""A process that hangs or is gone is found within the timeout, and a pause may last any time."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator

import pytest
from torch.distributed import Store, TCPStore

from tests.support.program_user import wait_until
from torchconsole.engine.distributed import diagnosis, watch
from torchconsole.engine.distributed.agreement import FollowerQueue, LeaderQueue
from torchconsole.engine.distributed.diagnosis import Beat
from torchconsole.engine.distributed.watch import Watch, Watched
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.progress import Progress

SECONDS = 0.5


class Process:
    """One of two processes of a job, in a thread of this one. It trains, unless it `prepares`."""

    def __init__(self, store: Store, rank: int, *, prepares: bool = False) -> None:
        commands = CommandQueue()
        self.queue = LeaderQueue(commands, store, 2) if rank == 0 else FollowerQueue(store, rank)
        self.progress = Progress()
        self.reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
        watched = None if prepares else Watched(self.progress, commands, self.queue)
        self.watch = Watch(store, rank, 2, SECONDS, watched, self.reasons.put)
        self.watch.start()

    def wait_for_beats(self, count: int) -> None:
        """Wait until it has judged as often as the timeout has beats, so many times over."""
        first = self.watch.beats[self.watch._rank].number
        wait_until(lambda: self.watch.beats[self.watch._rank].number > first + count, "some beats")


@pytest.fixture
def both() -> Iterator[list[Process]]:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    processes = [Process(store.clone(), rank) for rank in range(2)]  # type: ignore[attr-defined]
    wait_until(lambda: all(len(process.watch.beats) == 2 for process in processes), "the first beats")
    yield processes
    for process in processes:
        process.watch.close()
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def is_at_disk(beat: Beat | None) -> bool:
    return beat is not None and beat.doing == "disk"


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


def test_one_that_waits_for_the_disk_may_take_longer(both: list[Process]) -> None:
    """Nor is the other one late, which waits for it in this thread: the test takes the place of torch."""
    with both[0].watch.at_disk(), both[1].watch.at_disk():
        both[0].wait_for_beats(20)
        assert all(process.reasons.empty() for process in both)
        assert both[1].watch.beats[0].doing == "disk"
    assert both[0].reasons.get(timeout=60)


def test_a_disk_that_does_not_answer_ends_the_run_at_last(
    both: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    with both[0].watch.at_disk(), both[1].watch.at_disk():
        both[0].progress.step = 4
        wait_until(lambda: is_at_disk(both[0].watch.beats.get(1)), "a beat of the second")
        monkeypatch.setattr(diagnosis, "LEAST_LONG", 4 * SECONDS)
        monkeypatch.setattr(diagnosis, "LONG", 2)
        reason = both[0].reasons.get(timeout=60)
    assert reason.startswith("process 1 (pid "), reason
    assert "after step 0: it waits for the disk" in reason


def test_a_hang_before_the_training_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    said = Beat(number=1, host="gpu7", pid=42, step=0, batches=0, still=0.0, place="", waits=True)
    store.set("beat/1", said.model_copy(update={"is_over": True}).model_dump_json())
    monkeypatch.setattr(watch, "LEAST_WORK", 2.0)  # the thread that waits here never takes as much
    process = Process(store, 0, prepares=True)
    reason = process.reasons.get(timeout=60)
    process.watch.close()
    assert re.match(r"all processes have not gone on for \S+ s before the training began: process 0 ", reason)
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def test_a_preparation_that_works_may_take_longer() -> None:
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    both = [Process(store.clone(), rank, prepares=True) for rank in range(2)]  # type: ignore[attr-defined]
    both[0].wait_for_beats(20)  # polls, which is work enough
    assert all(process.reasons.empty() for process in both)
    for process in both:
        process.watch.close()
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def test_one_that_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "LEAST_SILENCE", SECONDS)
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    process = Process(store, 0, prepares=True)
    reason = wait_until(lambda: not process.reasons.empty() and process.reasons.get(), "the reason")
    process.watch.close()
    assert reason.startswith("process 1 has not been heard of for "), reason
    assert "was not started" in reason
    wait_until(lambda: not is_any_watching(), "the end of the threads")


def test_one_whose_training_is_over_is_not_missed(both: list[Process]) -> None:
    both[0].queue.is_waiting = True
    both[1].watch.close()
    wait_until(lambda: both[0].watch.beats.get(1) and both[0].watch.beats[1].is_over, "its last beat")
    first = both[0].watch.beats[0].number
    wait_until(lambda: both[0].watch.beats[0].number > first + 20, "twice the timeout")
    assert both[0].reasons.empty()
