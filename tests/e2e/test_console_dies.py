"""However the console ends, the run continues and the terminal is restored if possible."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.program_user import ENDLESS, User, is_worker, wait_until
from tests.support.pseudo_terminal import Terminal

OpenTerminal = Callable[..., Terminal]


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGHUP, 129),
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_the_run_survives_a_console_that_is_killed(
    user: User, open_terminal: OpenTerminal, number: signal.Signals, status: int
) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    (run,) = user.runs()
    os.kill(terminal.process.pid, number)
    assert terminal.wait_exit() == status
    if number != signal.SIGKILL:
        terminal.assert_restored()

    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 50, "the run to continue")
    again = open_terminal("attach", run)
    again.wait_for(run[-4:], "running", "space pause")
    again.press(" ")
    again.wait_for("paused", "applied at step")


def test_the_run_survives_a_closed_terminal_window(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    (run,) = user.runs()
    terminal.hang_up()
    wait_until(lambda: not terminal.process.isalive(), "the console to end")
    assert is_worker(user.worker(run))
    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 50, "the run to continue")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_killed_menu_restores_the_terminal(open_terminal: OpenTerminal, number: signal.Signals) -> None:
    terminal = open_terminal()
    terminal.wait_for("digits-cnn", "none yet")
    os.kill(terminal.process.pid, number)
    assert terminal.wait_exit() == 128 + number
    terminal.assert_restored()


def test_a_console_that_was_suspended_restores_the_terminal(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal()
    terminal.wait_for("digits-mlp")
    entered = terminal.output.count(b"\x1b[?1049h")
    os.kill(terminal.process.pid, signal.SIGSTOP)
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.wait(lambda: terminal.output.count(b"\x1b[?1049h") > entered, "the console to return")
    terminal.wait_for("digits-mlp")
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.wait_exit() == 143
    terminal.assert_restored()


def test_a_refused_start_leaves_no_run_even_if_its_console_was_killed(
    user: User, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal("train", "digits-mlp", "--device", "cuda:99")
    (run,) = wait_until(user.runs, "the run's folder")
    wait_until(lambda: user.worker(run), "its worker")
    os.kill(terminal.process.pid, signal.SIGKILL)
    wait_until(lambda: not list(user.runs_dir.iterdir()), "the removal of the run's folder")
    wait_until(lambda: not list(user.home.glob("state/torchconsole/runs/*")), "the end of the run's entry")
