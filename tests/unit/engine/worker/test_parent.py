"""What the parent of several processes says about their end."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from tests.support.runs import make_folder
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import note_launch
from torchconsole.engine.run.membership import STOP_NOTE
from torchconsole.engine.worker import parent
from torchconsole.engine.worker.parent import _Forwarding, _report


def failure(rank: int, exitcode: int, time: int = 1_000) -> ProcessFailure:
    found = ProcessFailure(local_rank=rank, pid=100 + rank, exitcode=exitcode, error_file="<N/A>")
    found.timestamp = time
    return found


def report(folder: RunFolder, logs: Path, *failures: ProcessFailure) -> tuple[int, str, str]:
    """Return the exit status, and status and reason in run.json."""
    error = ChildFailedError("python", {each.local_rank: each for each in failures})
    note_launch(folder.lock_file, os.getpid())
    status = _report(folder, error, logs, os.getpid())
    record = folder.load_record()
    return status, record.status, record.reason


def test_the_process_that_was_killed_is_named_and_not_those_that_ended_because_of_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="failed", reason="another process has ended")
    failures = [failure(0, 1, 1_001), failure(1, -signal.SIGKILL, 1_002), failure(2, -signal.SIGTERM, 1_000)]
    reason = f"process 1 (pid 101 on {socket.gethostname()}) was killed by SIGKILL"
    assert report(folder, tmp_path, *failures) == (1, "failed", reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\nthree\n  four\n", ": two / three / four"),
        (
            "x\nFatal Python error: Segmentation fault\n\nThread 1:\nExtension modules: a, b\n",
            ": Fatal Python error: Segmentation fault",
        ),
        ("y" * 1000, ": " + "y" * 200),
        ("", "SEGV"),
    ],
)
def test_the_last_words_of_a_process_that_crashed_are_told(tmp_path: Path, text: str, expected: str) -> None:
    folder = make_folder(tmp_path / "runs", status="failed", reason="another process has ended")
    for attempt, content in enumerate(["old\n", text]):
        file = tmp_path / "logs" / f"attempt_{attempt}" / "1" / "stderr.log"
        file.parent.mkdir(parents=True)
        file.write_text(content)
        os.utime(file, (attempt, attempt))
    _, _, reason = report(folder, tmp_path / "logs", failure(0, 1), failure(1, -signal.SIGSEGV))
    assert reason.endswith(f"was killed by SIGSEGV{expected}" if text else expected)


def test_what_the_worker_has_said_itself_stands(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="failed", reason="process 1 on here: no such file")
    failures = [failure(0, 1, 1_001), failure(1, 2, 1_000)]
    assert report(folder, tmp_path, *failures) == (1, "failed", "process 1 on here: no such file")


def test_a_process_that_ended_itself_is_named_where_the_worker_knows_of_none(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path, status="failed", reason="another process has ended before the training began"
    )
    reason = f"process 1 (pid 101 on {socket.gethostname()}) exited with status 3"
    assert report(folder, tmp_path / "logs", failure(1, 3)) == (1, "failed", reason)


def test_a_worker_that_could_say_nothing_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="running", host=socket.gethostname(), pid=1)
    status, ended, reason = report(folder, tmp_path, failure(0, -signal.SIGKILL))
    assert (status, ended) == (1, "failed")
    assert reason.startswith("process 0 (pid 100 on ")


@pytest.mark.parametrize("exitcode", [1, 2])
def test_the_exit_status_is_that_of_the_worker(tmp_path: Path, exitcode: int) -> None:
    assert report(make_folder(tmp_path, status="failed", reason="x"), tmp_path, failure(0, exitcode)) == (
        exitcode,
        "failed",
        "x",
    )


def test_a_run_that_was_complete_stays_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="finished", reason="all epochs done")
    found = report(folder, tmp_path, failure(1, -signal.SIGKILL))
    assert found == (1, "finished", "all epochs done")


def test_a_run_that_somebody_has_resumed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="failed", reason="resumed")
    note_launch(folder.lock_file, os.getppid())
    error = ChildFailedError("python", {1: failure(1, -signal.SIGKILL)})
    assert _report(folder, error, tmp_path, os.getpid()) == 1
    assert folder.load_record().reason == "resumed"


def test_a_run_that_was_refused_and_removed_stays_removed(tmp_path: Path) -> None:
    error = ChildFailedError("python", {0: failure(0, 2)})
    assert _report(RunFolder(tmp_path / "gone"), error, tmp_path, os.getpid()) == 2


class EndedError(Exception):
    """This process would have ended."""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[signal.Signals]:
    """The signals that the parent gets; after them, the test ends its thread."""
    monkeypatch.setenv(STOP_NOTE, "")
    found: list[signal.Signals] = []

    def wait(numbers: object) -> signal.Signals:
        if not found:
            raise EndedError("no more signals")
        return found.pop(0)

    def end(status: int) -> None:
        raise EndedError(status)

    monkeypatch.setattr(signal, "sigwait", wait)
    monkeypatch.setattr(os, "_exit", end)
    return found


def test_a_stop_before_the_first_start_ends_the_run(tmp_path: Path, signals: list[signal.Signals]) -> None:
    """torch is still being imported: nobody else would end the run for seconds."""
    folder = make_folder(tmp_path / "runs", status="starting")
    logs = tmp_path / "logs"
    logs.mkdir()
    signals.append(signal.SIGINT)
    with pytest.raises(EndedError, match="130"):
        _Forwarding(folder, logs).work()
    record = folder.load_record()
    assert (record.status, record.reason) == ("stopped", "SIGINT before the training began")
    assert not logs.exists()


def test_signals_reach_the_worker_and_after_its_end_a_stop_reaches_the_others(
    tmp_path: Path, signals: list[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    receivers = [{7: True}, {7: True}, {}, {8: False, 9: False}, {8: False, 9: False}]
    monkeypatch.setattr(parent, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(parent, "_receivers", lambda folder: receivers.pop(0))
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    signals += [signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1]
    forwarding = _Forwarding(make_folder(tmp_path / "runs"), tmp_path)
    forwarding.end_starting()
    with pytest.raises(EndedError, match="no more"):
        forwarding.work()
    assert sent == [(7, signal.SIGUSR1), (7, signal.SIGTERM), (8, signal.SIGTERM), (9, signal.SIGTERM)]
    assert Path(os.environ[STOP_NOTE]).exists()
