"""A process of a program that has failed or is gone is named, and one that is only slow never ends a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.distributed import HashStore

from tests.support.program_user import wait_until
from torchconsole.engine.distributed import program_watch
from torchconsole.engine.distributed.diagnosis import Beat
from torchconsole.engine.distributed.failures import Failures
from torchconsole.engine.distributed.program_watch import Going, ProgramWatch


class Leader:
    """The watch of the first of two processes, at work in a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.place = ("train.py, line 30", True)
        self.step, self.stops, self.goes_on = 12, False, False
        self.reasons: list[str] = []
        self.store = HashStore()
        self.over = threading.Event()
        monkeypatch.setattr(program_watch, "PERIOD", 0.01)
        monkeypatch.setattr(program_watch, "GRACE_SECONDS", 0.05)
        monkeypatch.setattr(program_watch, "STOP_SECONDS", 0.1)
        monkeypatch.setattr(program_watch, "find_place", lambda _: self.place)
        failures = Failures(self.store, 0, 2)
        self.watch = ProgramWatch(0, 2, failures, self.going, self.reasons.append)
        self.thread = threading.Thread(target=self.watch.work, args=(self.store, self.over))
        self.thread.start()

    def going(self) -> Going:
        self.step += self.goes_on
        return Going(self.step, self.step, False, self.stops)

    def hear(self, **more: object) -> None:
        """Have the other process say something."""
        namespace = str(Path("/proc/self/ns/pid").readlink())
        said = {
            "pids": namespace,
            "number": 1,
            "host": "gpu7",
            "pid": 42,
            "step": 12,
            "batches": 12,
            "still": 0.0,
        }
        beat = Beat.model_validate(said | {"place": "train.py, line 41", "waits": False} | more)
        self.store.set("beat/1", beat.model_dump_json())

    def wait_for_beats(self, count: int) -> None:
        """Wait until this process has said so much more."""
        first = self.watch.beats[0].number
        wait_until(lambda: self.watch.beats[0].number > first + count, "beats")

    def close(self) -> None:
        self.over.set()
        self.thread.join()


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    made = Leader(monkeypatch)
    wait_until(lambda: 0 in made.watch.beats, "its own beat")
    yield made
    made.close()


def test_a_process_that_works_for_an_hour_is_no_failure(leader: Leader) -> None:
    leader.hear(still=3600.0)
    leader.wait_for_beats(20)
    assert (leader.watch.failure, leader.reasons) == ("", [])


def test_the_failure_of_another_ends_a_process_that_waits_for_it(leader: Leader) -> None:
    leader.hear()
    Failures(leader.store, 1, 2).report("the disk is full")
    wait_until(lambda: leader.reasons, "the end")
    (reason,) = leader.reasons
    assert reason.endswith(": the disk is full")
    assert reason.startswith("process 1 on ")


def test_a_process_that_goes_on_or_works_is_not_ended(leader: Leader) -> None:
    """Its launcher ends it by a signal, so that it saves."""
    leader.place = ("train.py, line 30", False)
    Failures(leader.store, 1, 2).report("the disk is full")
    wait_until(lambda: leader.watch.failure, "the failure")
    leader.wait_for_beats(20)
    assert leader.reasons == []


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_process_that_does_not_stop_as_it_is_to_is_ended(leader: Leader, goes_on: bool) -> None:
    """Its launcher would kill it, and nobody could say why. A stop waits for the one that has failed."""
    leader.place = ("train.py, line 30", False)
    leader.stops, leader.goes_on = True, goes_on
    Failures(leader.store, 1, 2).report("process 0 has not gone on for 31 s")
    wait_until(lambda: leader.reasons, "the end")


def test_one_that_has_not_begun_ends_with_the_first_process(leader: Leader) -> None:
    """A stop has ended that one, which tells no step of it."""
    reasons: list[str] = []
    failures, over = Failures(leader.store, 1, 2), threading.Event()
    follower = ProgramWatch(1, 2, failures, lambda: Going(0, 0, False, False), reasons.append)
    thread = threading.Thread(target=follower.work, args=(leader.store, over))
    thread.start()
    Failures(leader.store, 0, 2).report_stop()
    wait_until(lambda: reasons, "the end")
    over.set()
    thread.join()
    assert reasons == ["process 0 was stopped before the training began"]
    assert leader.reasons == []


def test_a_process_that_is_killed_is_named(leader: Leader) -> None:
    wait = [sys.executable, "-c", "input()"]
    with subprocess.Popen(wait, stdin=subprocess.PIPE) as other:
        leader.hear(pid=other.pid, host=socket.gethostname())
        leader.wait_for_beats(3)
        assert leader.watch.failure == ""
        other.kill()
        wait_until(lambda: leader.watch.failure, "the loss")
    named = f"process 1 (pid {other.pid} on {socket.gethostname()}) has ended without a message after step 12"
    assert leader.watch.failure.startswith(named)


def test_a_process_that_has_ended_as_it_should_is_not_missed(leader: Leader) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        leader.hear(pid=other.pid, host=socket.gethostname())
        leader.wait_for_beats(3)
        leader.hear(pid=other.pid, host=socket.gethostname(), is_over=True)
    leader.wait_for_beats(5)
    assert leader.watch.failure == ""


def test_a_process_of_another_container_is_not_missed(leader: Leader) -> None:
    """Its pid says nothing here."""
    leader.hear(pid=2**22 + 1, host=socket.gethostname(), pids="pid:[1]")
    leader.wait_for_beats(5)
    assert leader.watch.failure == ""


def test_who_was_waited_for_is_said_with_the_line_when_torch_gives_up(leader: Leader) -> None:
    leader.close()
    leader.hear(number=2, still=31.0)
    leader.watch.give_up(leader.store)
    assert leader.watch.verdict == (
        "process 1 (pid 42 on gpu7) has not gone on for 31 s after step 12, in train.py, line 41, and the "
        "others wait for it"
    )


def test_the_last_beat_says_that_it_is_over(leader: Leader) -> None:
    leader.close()
    beat = Beat.model_validate_json(leader.store.get("beat/0"))
    assert (beat.is_over, beat.pid) == (True, os.getpid())


def test_the_log_says_once_for_whom_the_others_wait(
    leader: Leader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(program_watch, "LONG_WAIT", 0.05)
    with caplog.at_level("INFO", logger=program_watch.__name__):
        leader.hear(still=0.2)
        wait_until(lambda: caplog.messages, "the line")
        leader.wait_for_beats(10)
    (message,) = caplog.messages
    assert message.endswith("s for process 1 (pid 42 on gpu7), which is in train.py, line 41 after step 12")
