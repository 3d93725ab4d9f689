"""How the console ends on a signal, tested in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, signal, sys, threading
from torchconsole.tui import process

async def main(hangs):
    process.GRACE_SECONDS = 1 if hangs else 60
    left = asyncio.Event()
    with process.SignalExit(left.set) as signal_exit:
        print("ready", flush=True)
        if hangs:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        await left.wait()
    print("seconds left:", signal.alarm(0))
    return signal_exit.status

sys.exit(asyncio.run(main("hangs" in sys.argv)))
"""


def end_by(number: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Start the program, send it the signal, and return its exit status and output."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        output, _ = program.communicate(timeout=60)
        return program.returncode, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_exits_the_app_and_sets_the_exit_status(number: signal.Signals) -> None:
    assert end_by(number) == (128 + number, "seconds left: 0\n")


def test_a_hanging_loop_is_killed_after_the_grace_period() -> None:
    assert end_by(signal.SIGTERM, "hangs") == (-signal.SIGALRM, "")
