"""The console over real SSH connections that drop, freeze, or are slow."""

from __future__ import annotations

import os
import signal
import statistics
import time

import pytest

from tests.ssh.conftest import Login
from tests.support.program_user import ENDLESS, User, is_worker, wait_until
from tests.support.pseudo_terminal import Terminal
from torchconsole.engine.client.client import connect
from torchconsole.engine.run.folder import RunFolder

SLOW = 20_000
"""Bytes per second."""

ANSWER_SECONDS = 0.5

DIALOGS = {"x": "esc  cancel", "l": "enter sets it", "?": "Pause after the current step"}
"""Keys, and a text of the dialog that each opens."""


async def test_a_run_survives_a_dropped_connection(user: User, login: Login) -> None:
    terminal = login("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    terminal.press("-")
    terminal.wait_for("applied at step")
    (run,) = user.runs()
    os.kill(terminal.process.pid, signal.SIGKILL)
    terminal.wait_exit()

    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 200, "the run to continue")
    assert is_worker(user.worker(run))
    async with connect(RunFolder(user.runs_dir / run)) as client:
        steps = client.snapshot.history["train/loss"].steps
    logged = [line["step"] for line in user.lines(run, "metrics.jsonl") if line["kind"] == "train"]
    assert steps == logged[: len(steps)]
    assert steps[-1] > step
    again = login("attach", run)
    again.wait_for(run[-4:], "running", "space pause")
    again.press("3")
    again.wait_for("lr")
    again.press(" ")
    again.wait_for("paused", "applied at step")
    assert len(user.lines(run, "journal.jsonl")) == 2


def test_a_frozen_connection_does_not_slow_the_run_and_recovers(user: User, login: Login) -> None:
    terminal = login("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    (run,) = user.runs()
    os.kill(terminal.process.pid, signal.SIGSTOP)
    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 1000, "the run to continue")
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.press(" ")
    terminal.wait_for("paused", "applied at step")
    assert user.record(run)["status"] == "paused"


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (40, 120)])
def test_keys_are_answered_within_half_a_second_on_a_slow_connection(
    user: User, login: Login, rows: int, columns: int
) -> None:
    """Meanwhile the run continues and its charts are updated."""
    run = user.start()
    terminal = login("attach", run, rate=SLOW, rows=rows, columns=columns)
    terminal.wait_for(run[-4:], "running", "space pause")
    terminal.press("-")
    terminal.wait_for("applied at step")
    # Down and up again: the console asks before the lr has become ten times smaller.
    waited = {"lr": [answer_seconds(terminal, key) for key in "+-+-+-+-+"]}
    for key, text in DIALOGS.items():
        waited[key] = [dialog_seconds(terminal, key, text) for _ in range(9)]
    for key, seconds in waited.items():
        assert statistics.median(seconds) < ANSWER_SECONDS, (key, seconds)
    assert user.record(run)["status"] == "running"


def test_on_a_slow_connection_less_is_drawn(user: User, login: Login) -> None:
    """The 256 colors take the place of all others, and the vertical grid goes."""
    run = user.start()
    terminal = login("attach", run, rate=SLOW, rows=40, columns=120, answers=True)
    terminal.wait_for(run[-4:], "running", "space pause")
    for key, text in DIALOGS.items():
        dialog_seconds(terminal, key, text)
    assert b"\x1b[5n" in terminal.output
    seen = len(terminal.output)
    dialog_seconds(terminal, "?", DIALOGS["?"])
    late = terminal.output[seen:]
    assert b"48;5;" in late
    assert b"48;2;" not in late
    assert "┼" not in terminal.text


def answer_seconds(terminal: Terminal, key: str) -> float:
    """Change the lr and wait until it is applied; returns the seconds until the first notice appeared."""

    def notice() -> str:
        words = ("requested", "applied at step")
        return next((line for line in terminal.text.splitlines() if any(map(line.__contains__, words))), "")

    before, begin = notice(), time.monotonic()
    terminal.press(key)
    terminal.wait(lambda: notice() != before, "an answer")
    seconds = time.monotonic() - begin
    terminal.wait(lambda: notice() != before and "applied at step" in notice(), "the change")
    return seconds


def dialog_seconds(terminal: Terminal, key: str, text: str) -> float:
    """Open and close a dialog; returns the mean of both times in seconds."""
    begin = time.monotonic()
    terminal.press(key)
    terminal.wait_for(text)
    terminal.press("\x1b")
    terminal.wait_gone(text)
    return (time.monotonic() - begin) / 2
