"""A run without a terminal: progress lines, the exit status, and signals that save."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.program_user import ENDLESS, PROGRAM, User, wait_until
from tests.support.pseudo_terminal import Terminal
from tests.support.tracebacks import assert_no_traceback

OpenTerminal = Callable[..., Terminal]


@contextmanager
def headless(user: User, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start an endless run that prints its progress to a pipe."""
    with subprocess.Popen(
        [PROGRAM, "train", "digits-mlp", *ENDLESS, *options],
        cwd=user.folder,
        env=user.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
        assert_no_traceback(*process.communicate())


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the program's lines up to the first that contains `text`, and return that line."""
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


def test_a_line_is_printed_for_each_epoch(user: User) -> None:
    done = user.run("train", "digits-mlp", "--set", "training.epochs=3", "--headless")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("run digits-mlp-")
    assert "torchvision" not in done.stdout, "no note that would be the same at each start"
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    for part in ("step ", "train/loss ", "val/loss ", "val/accuracy ", "lr ", "without improvement "):
        assert part in epochs[-1]
    assert "finished after step 69; all epochs done; best val/loss " in lines[-1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_sigint_and_sigterm_save_and_stop_the_run(user: User, number: int, status: int) -> None:
    with headless(user) as process:
        run = read_until(process, "run ").split()[1]
        read_until(process, " 2/100,000")
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == status
    assert f"run {run} stopped after step" in out
    record = user.record(run)
    assert record["status"] == "stopped"
    assert (user.runs_dir / run / "checkpoints" / f"step-{record['step']:08}" / "state.pt").is_file()


def test_a_second_signal_does_not_wait_for_a_run_that_is_still_starting(user: User) -> None:
    """The worker, which is suspended, stops because of the first signal as soon as it continues."""
    with headless(user) as process:
        run = read_until(process, "run ").split()[1]
        worker = wait_until(lambda: user.worker(run), "the worker")
        os.kill(worker, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        read_until(process, "SIGTERM: saving and stopping")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 143
    assert err == ""
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: user.record(run)["status"] == "stopped", "the run to stop")
    assert user.record(run)["reason"] == "SIGTERM before the training began"


def test_sighup_is_ignored(user: User) -> None:
    with headless(user) as process:
        read_until(process, " 1/100,000")
        process.send_signal(signal.SIGHUP)
        read_until(process, " 50/100,000")
        assert process.poll() is None


def test_a_killed_worker_is_reported_with_its_cause(user: User) -> None:
    with headless(user) as process:
        run = read_until(process, "run ").split()[1]
        read_until(process, " 2/100,000")
        os.kill(user.worker(run), signal.SIGKILL)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith(f"torchconsole: error: run {run} lost: killed by SIGKILL: ")
    assert line.endswith("worker.log")


@pytest.mark.parametrize("mode", ["--headless", "--detach"])
def test_an_error_found_by_the_worker_is_reported_once_and_leaves_no_run(user: User, mode: str) -> None:
    done = user.run("train", "digits-mlp", mode, "--device", "cuda:99")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("torchconsole: error: ")
    assert "cuda" in line
    assert "error:" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert list(user.runs_dir.iterdir()) == []
    assert user.run("runs", "--json").stdout.strip() == "[]"


def test_a_refused_resume_leaves_the_run_unchanged(user: User) -> None:
    run = user.start()
    os.kill(user.worker(run), signal.SIGKILL)
    shutil.rmtree(user.runs_dir / run / "checkpoints")
    before = user.record(run)
    assert before["status"] == "lost"
    done = user.run("resume", run, "--headless")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "checkpoint" in line
    assert user.record(run) == before


def test_a_run_survives_a_closed_output_pipe(user: User) -> None:
    with headless(user) as process:
        assert process.stdout is not None
        run = read_until(process, "run ").split()[1]
        read_until(process, " 2/100,000")
        process.stdout.close()
        process.stdout = None
        assert process.wait(timeout=30) == 1
    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 50, "the run to continue")


def test_sigusr1_saves_and_training_continues(user: User) -> None:
    with headless(user) as process:
        run = read_until(process, "run ").split()[1]
        read_until(process, " 2/100,000")
        process.send_signal(signal.SIGUSR1)
        assert "SIGUSR1" in read_until(process, "requested by")
        assert list((user.runs_dir / run / "checkpoints").glob("step-*"))
        read_until(process, " 60/100,000")
        assert process.poll() is None


def test_quiet_and_json_need_no_option_besides(user: User) -> None:
    short = ("train", "digits-mlp", "--set", "training.epochs=2")
    (line,) = user.run(*short, "--quiet").stdout.splitlines()
    assert "finished after step 46" in line
    done = user.run(*short, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0]["type"] == "run"
    assert [each["step"] for each in found if each["type"] == "epoch"] == [23, 46]
    assert (found[-1]["type"], found[-1]["status"], found[-1]["exit_status"]) == ("end", "finished", 0)


def test_a_terminal_gets_a_live_display_that_leaves_only_the_lines(
    user: User, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS, "--headless")
    terminal.wait_for("running ━", "speed ", "step ")
    terminal.press("\x03")
    terminal.wait_for("SIGINT: saving and stopping")
    assert terminal.wait_exit() == 130
    assert "samples/s  ★" not in terminal.text
    assert "epoch " in terminal.text
    assert "stopped after step" in terminal.text


def test_a_dumb_terminal_gets_lines_and_the_reason(user: User, open_terminal: OpenTerminal) -> None:
    user.env["TERM"] = "dumb"
    terminal = open_terminal("train", "digits-mlp", "--set", "training.epochs=2")
    assert terminal.wait_exit() == 0
    assert terminal.output.count(b"no console in this terminal: TERM=dumb has no cursor control") == 1
    assert b"\x1b[" not in terminal.output
    run = user.start()
    terminal = open_terminal("attach", run)
    terminal.wait_for("epoch ")
    assert b"TERM=dumb" in terminal.output
    terminal.press("\x03")
    assert terminal.wait_exit() == 0
    assert "is still running: torchconsole attach" in terminal.text
    assert user.record(run)["status"] == "running"
