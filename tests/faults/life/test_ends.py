"""How a run ended is detected (failed, lost, interrupted) despite reused pids, reboots and clock changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.life.conftest import Start
from tests.support.faulty_task import FAULT
from tests.support.runs import (
    FINISHED,
    STARTED,
    Served,
    lines_of,
    log_steps,
    make_folder,
    running,
    wait_until,
)
from torchconsole.engine.client.launcher import resume_run
from torchconsole.engine.run.checkpoints import read_manifest
from torchconsole.engine.run.liveness import boot_id, start_ticks
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.text import error_summary
from torchconsole.tui.cli.outcome import report_outcome

OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def unrelated_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any run."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_an_exception_fails_the_run_with_the_last_line_of_the_traceback(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start("raise")
    assert run.wait() == 1
    assert (run.record.status, run.record.reason) == (
        "failed",
        "ArithmeticError: the sum is wrong (faulty_task.py, line 73)",
    )
    assert run.log.splitlines()[-1] == "ArithmeticError: the sum is wrong"
    assert "Traceback" in run.log
    assert report_outcome(run.folder, run.started) == 1
    assert str(run.folder.log_file) in capsys.readouterr().err


def test_a_native_crash_leaves_a_python_traceback_in_the_log(start: Start) -> None:
    run = start("die SIGSEGV")
    assert run.wait() == -signal.SIGSEGV
    assert run.record.status == "lost"
    assert "Fatal Python error: Segmentation fault" in run.log
    assert "in _trigger_fault" in run.log


def test_an_error_without_a_message_is_still_reported() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            return self.detail  # type: ignore[attr-defined, no-any-return]

    assert error_summary(UnprintableError()) == "UnprintableError: <exception str() failed>"
    assert error_summary(KeyError()) == "KeyError"
    assert error_summary(ValueError("\nfirst\nsecond")) == "ValueError: first"


def test_a_run_whose_device_is_lost_fails_and_can_be_resumed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last state is not saved; the run resumes from the previous checkpoint. The error is simulated."""
    run = start("lose device", "checkpoint.save_every_steps=4")
    assert run.wait() == 1
    assert run.record.reason.startswith(
        "CUDA error: device-side assert triggered: this process can no longer"
    )
    assert "Traceback" not in run.log
    assert read_manifest(run.folder.checkpoints / "last").step == 8
    monkeypatch.delenv(FAULT)
    resumed = run.resume()
    assert resumed.wait() == 0, resumed.log


def test_a_run_whose_pid_was_reused_is_lost(
    tmp_path: Path, unrelated_process: subprocess.Popen[bytes]
) -> None:
    """The process that has the pid now is left alone."""
    folder = make_folder(tmp_path, **running(pid=unrelated_process.pid, process_start=1))
    folder.lock_file.touch()
    assert folder.read_record().status == "lost"
    started = resume_run(folder)
    started.process.kill()
    started.process.wait()
    assert unrelated_process.poll() is None


@pytest.mark.parametrize("other", ["start", "boot"])
def test_a_launch_whose_pid_was_reused_is_lost(
    tmp_path: Path, unrelated_process: subprocess.Popen[bytes], other: str
) -> None:
    folder = make_folder(tmp_path)
    start, boot = start_ticks(unrelated_process.pid), boot_id()
    folder.lock_file.write_text(f"{unrelated_process.pid} {start} {boot}\n")
    assert folder.read_record().status == "starting"
    start, boot = (1, boot) if other == "start" else (start, OTHER_BOOT)
    folder.lock_file.write_text(f"{unrelated_process.pid} {start} {boot}\n")
    assert folder.read_record().status == "lost"


def test_a_run_is_interrupted_by_a_reboot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path, **running(boot_id=OTHER_BOOT))
    folder.lock_file.touch()
    assert [record.status for record in list_runs(tmp_path)] == ["interrupted"]
    assert read_run(folder)[0].status == "interrupted"
    assert report_outcome(folder) == 1
    assert "interrupted: the machine was rebooted" in capsys.readouterr().err


def test_events_keep_their_order_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are ordered by number. A launch that seems to last an hour is lost."""
    folder = make_folder(tmp_path)
    with Served(folder) as served:
        served.event_queue.emit(STARTED)
        log_steps(served.event_queue, 1, 50)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        log_steps(served.event_queue, 51, 100)
        served.event_queue.emit(FINISHED)
        wait_until(lambda: folder.load_record().status == "finished", "the run to finish")
    lines = lines_of(folder.metrics_file)
    assert [line["step"] for line in lines] == [*range(1, 101)]
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    assert lines[-1]["time"] < lines[0]["time"]
    state, history = read_run(folder)
    assert history["train/loss"].steps.tolist() == [*range(1, 101)]
    assert (state.status, state.step) == ("finished", 1000)

    launching = make_folder(tmp_path, "other", updated=now())
    assert launching.read_record().status == "lost"
