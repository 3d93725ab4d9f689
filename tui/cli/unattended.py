"""Runs without the console: `--headless` shows progress, `--detach` returns after the first step."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from torchconsole.engine.client.client import RunClient, connect
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import LogWritten, PhaseChanged
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.membership import HANGING, JOINS, leaves_others
from torchconsole.engine.run.registry import moved_to
from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.outcome import FAILED_STATUSES, report_outcome

if TYPE_CHECKING:
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.tui.cli.headless_output import HeadlessOutput

LOOK_SECONDS = 0.05

Start = Callable[[], "StartedRun"]


async def run_headless(start: Start, output: HeadlessOutput) -> int:
    """Start a run, show its progress until it ends, and return the exit status.

    SIGINT, SIGTERM and SIGUSR1 are passed on to the worker, even while it starts: the first two save and stop
    the run, and give 130 and 143. The second of them does not wait for the worker; but once the run has said
    that a step does not end, it is passed on to end that. SIGHUP is ignored.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []
    hangs = asyncio.Event()

    def see(event: object) -> None:
        if isinstance(event, LogWritten) and event.message == HANGING:
            hangs.set()

    def interrupt(number: int) -> None:
        received.append(number)
        if len(received) > 1 and not hangs.is_set():
            task.cancel()
            return
        # `start` blocks the loop, so the loop calls this when `started` is set.
        started.process.send_signal(number)
        again = "press ctrl+c" if number == signal.SIGINT else "send it"
        name = signal.Signals(number).name
        what = "ending the step" if hangs.is_set() else "saving and stopping the run"
        hangs.clear()
        output.say(f"{name}: {what}; {again} again to exit without waiting")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    started = start()
    loop.add_signal_handler(signal.SIGUSR1, started.process.send_signal, signal.SIGUSR1)
    output.begin(started.folder)
    try:
        await _show_progress(started.folder, output, see)
        # A thread that waits would be joined after a second signal.
        while started.process.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
    except RunError as error:
        if started.refusal() is None:
            return report_error(str(error), status=1)
    except asyncio.CancelledError:
        if started.folder.run_file.exists():
            started.refusal()  # gives a run whose resume was refused its record back
        return 128 + received[0]
    status = output.end(started.folder, started)
    if status == 0 and (received or _leaves_others(started.folder)):
        return 128 + received[0] if received else 1
    return status


def _leaves_others(folder: RunFolder) -> bool:
    """Whether other processes of a launcher are still there, which it ends if this one's status is not 0."""
    with suppress(RunError):
        return JOINS in os.environ and leaves_others(moved_to(folder).read_record().reason)
    return False


async def follow_headless(folder: RunFolder, output: HeadlessOutput) -> int:
    """Show the progress of a run until it ends or until ctrl+c, which leaves it running."""
    received = _cancel_on_signals()
    output.begin(folder)
    try:
        await _show_progress(folder, output)
    except RunError as error:
        return report_error(str(error), status=1)
    except asyncio.CancelledError:
        report_outcome(folder)
        return 0 if received == [signal.SIGINT] else 128 + received[0]
    return output.end(folder)


async def run_detached(start: Start) -> int:
    """Start a run, print its name after its first step, and return 0; if it fails before, 1 or 2.

    SIGINT and SIGTERM end the worker too, and give 130 and 143.
    """
    received = _cancel_on_signals()
    started = start()
    try:
        async with connect(started.folder) as client:
            await _wait_for_first_step(client)
    except RunError as error:
        if started.refusal() is None:
            return report_error(str(error), status=1)
    except asyncio.CancelledError:
        started.process.terminate()
        return 128 + received[0]
    if started.refusal() is not None or started.folder.read_record().status in FAILED_STATUSES:
        return report_outcome(started.folder, started)
    print(printable(started.folder.name))
    return 0


async def _show_progress(
    folder: RunFolder, output: HeadlessOutput, see: Callable[[object], object] = lambda event: None
) -> None:
    async with connect(folder) as client:
        output.attach(client.snapshot.state)
        try:
            async for event in client.events():
                see(event)
                output.receive(event)
        finally:
            output.close()


def _cancel_on_signals() -> list[int]:
    """Cancel this task at SIGINT and SIGTERM. Returns the list that the received signals are added to.

    A shell starts a background job with SIGINT ignored; the handler replaces that.
    """
    received: list[int] = []
    task = asyncio.current_task()
    assert task is not None

    def interrupt(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    return received


async def _wait_for_first_step(client: RunClient) -> None:
    """Wait for the phase after the first step (a line of metrics may take long), or for the run's end.

    Prints the run's warnings meanwhile, because nobody else sees them.
    """
    for entry in client.snapshot.state.log:
        _print_warning(entry)
    phase = client.snapshot.state.phase
    if phase is not None and phase.phase == "training":
        return
    async for event in client.events():
        if isinstance(event, LogWritten):
            _print_warning(event)
        if isinstance(event, PhaseChanged) and event.phase == "training":
            return


def _print_warning(entry: LogWritten) -> None:
    if entry.level == "warning":
        print(f"torchconsole: warning: {printable(entry.message)}", file=sys.stderr)
