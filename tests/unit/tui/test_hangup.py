"""The console's way out when a signal asks it to end, in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, signal, sys, threading
from torchconsole.tui import hangup

async def main(hangs):
    hangup.GRACE_SECONDS = 1 if hangs else 60
    left = asyncio.Event()
    with hangup.Hangup(left.set) as end:
        print("ready", flush=True)
        if hangs:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        await left.wait()
    print("seconds left:", signal.alarm(0))
    return end.status

sys.exit(asyncio.run(main("hangs" in sys.argv)))
"""


def end_by(number: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Start the program, send it the signal, and return how it ended and its last words."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_lets_the_loop_leave_in_good_order(number: signal.Signals) -> None:
    assert end_by(number) == (128 + number, "seconds left: 0\n")


def test_a_loop_that_hangs_is_ended_all_the_same() -> None:
    assert end_by(signal.SIGTERM, "hangs") == (-signal.SIGALRM, "")
