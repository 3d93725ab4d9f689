"""How a run has ended is told apart: failed, lost, interrupted; whatever pids, boots and clocks do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.life.conftest import Begin
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
from torchconsole.engine.run.liveness import boot_id, start_ticks
from torchconsole.engine.run.manifest import read_manifest
from torchconsole.engine.run.recorded_history import read_run
from torchconsole.engine.run.registry import list_runs
from torchconsole.engine.text import error_summary
from torchconsole.tui.cli.outcome import report_outcome

OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any run, and that ends when it is told to."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_failed_with_the_last_line_of_the_traceback(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    life = begin("raise")
    assert life.end() == 1
    assert (life.record.status, life.record.reason) == ("failed", "ArithmeticError: the numbers are out")
    assert life.log.splitlines()[-1] == life.record.reason
    assert "Traceback" in life.log
    assert report_outcome(life.folder, life.started) == 1
    assert str(life.folder.log_file) in capsys.readouterr().err


def test_a_crash_of_native_code_leaves_where_it_was_called_from(begin: Begin) -> None:
    life = begin("die SIGSEGV")
    assert life.end() == -signal.SIGSEGV
    assert life.record.status == "lost"
    assert "Fatal Python error: Segmentation fault" in life.log
    assert "in _go_wrong" in life.log


def test_an_error_that_cannot_be_told() -> None:
    """It has failed, and has not died without a word."""

    class UnspeakableError(Exception):
        def __str__(self) -> str:
            return self.detail  # type: ignore[attr-defined, no-any-return]

    assert error_summary(UnspeakableError()) == "UnspeakableError: <exception str() failed>"
    assert error_summary(KeyError()) == "KeyError"
    assert error_summary(ValueError("\nfirst\nsecond")) == "ValueError: first"


def test_a_device_that_is_lost(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is saved from it; a resume goes on from the checkpoint before. The error is made up."""
    life = begin("lose device", "checkpoint.save_every_steps=4")
    assert life.end() == 1
    assert life.record.reason.startswith("CUDA error: device-side assert triggered: the device is lost")
    assert "Traceback" not in life.log
    assert read_manifest(life.folder.checkpoints / "last").step == 8
    monkeypatch.delenv(FAULT)
    resumed = life.resume()
    assert resumed.end() == 0, resumed.log


def test_a_pid_that_was_given_out_again(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    """The run is dead, and the process that has its worker's pid now is left alone."""
    folder = make_folder(tmp_path, **running(pid=stranger.pid, process_start=1))
    folder.lock_file.touch()
    assert folder.read_record().status == "lost"
    started = resume_run(folder)
    started.process.kill()
    started.process.wait()
    assert stranger.poll() is None


@pytest.mark.parametrize("other", ["start", "boot"])
def test_a_launch_whose_pid_was_given_out_again(
    tmp_path: Path, stranger: subprocess.Popen[bytes], other: str
) -> None:
    folder = make_folder(tmp_path)
    start, boot = start_ticks(stranger.pid), boot_id()
    folder.lock_file.write_text(f"{stranger.pid} {start} {boot}\n")
    assert folder.read_record().status == "starting"
    start, boot = (1, boot) if other == "start" else (start, OTHER_BOOT)
    folder.lock_file.write_text(f"{stranger.pid} {start} {boot}\n")
    assert folder.read_record().status == "lost"


def test_a_reboot_in_between(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path, **running(boot_id=OTHER_BOOT))
    folder.lock_file.touch()
    assert [record.status for record in list_runs(tmp_path)] == ["interrupted"]
    assert read_run(folder)[0].status == "interrupted"
    assert report_outcome(folder) == 1
    assert "interrupted: the machine was rebooted" in capsys.readouterr().err


def test_a_clock_that_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened later stays later: order is by number. And no launch lasts an hour."""
    folder = make_folder(tmp_path)
    with Served(folder) as served:
        served.event_queue.emit(STARTED)
        log_steps(served.event_queue, 1, 50)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        log_steps(served.event_queue, 51, 100)
        served.event_queue.emit(FINISHED)
        wait_until(lambda: folder.load_record().status == "finished", "the end")
    lines = lines_of(folder.metrics_file)
    assert [line["step"] for line in lines] == [*range(1, 101)]
    assert [line["seq"] for line in lines] == sorted(line["seq"] for line in lines)
    assert lines[-1]["time"] < lines[0]["time"]
    state, history = read_run(folder)
    assert history["train/loss"].steps.tolist() == [*range(1, 101)]
    assert (state.status, state.step) == ("finished", 1000)

    launching = make_folder(tmp_path, "other", updated=now())
    assert launching.read_record().status == "lost"
