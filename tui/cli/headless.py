"""A run without the console: progress lines until it ends."""

from __future__ import annotations

import asyncio
import signal
import sys

from torchconsole.engine.errors import CommandRejectedError, RunError
from torchconsole.engine.printable import printable
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.runtime.client import RunClient, connect
from torchconsole.engine.runtime.launcher import StartedRun
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.begin import Start
from torchconsole.tui.cli.outcome import report_outcome
from torchconsole.tui.cli.progress_lines import ProgressLines


async def run_headless(start: Start) -> int:
    """Start a run, print its progress until it ends, and return the exit status that its end deserves.

    SIGINT and SIGTERM stop the run, which saves first, and give 130 and 143; a second one does not wait for
    that. SIGUSR1 is passed on to the worker, which saves and goes on. SIGHUP is ignored.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    interrupted = _catch_interruptions()
    started = start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, started.process.send_signal, signal.SIGUSR1)
    print(printable(f"run {started.folder.name} in {started.folder.path}"), flush=True)
    try:
        await _follow(started, interrupted)
    except RunError as error:
        return report_error(str(error), status=1)
    await asyncio.to_thread(started.process.wait)
    status = report_outcome(started.folder, started)
    return 128 + interrupted.result() if interrupted.done() and status == 0 else status


async def _follow(started: StartedRun, interrupted: asyncio.Future[int]) -> None:
    """Print what is worth a line until the run ends."""
    async with connect(started.folder) as client:
        stopper = asyncio.create_task(_stop_when(interrupted, client))
        lines = ProgressLines(client.snapshot.state)
        async for event in client.events():
            line = lines.line_for(event)
            if line is not None:
                print(line, flush=True)
        stopper.cancel()


def _catch_interruptions() -> asyncio.Future[int]:
    """Its result will be the number of the first SIGINT or SIGTERM to come."""
    loop = asyncio.get_running_loop()
    interrupted: asyncio.Future[int] = loop.create_future()

    def note(number: int) -> None:
        if interrupted.done():
            raise KeyboardInterrupt
        interrupted.set_result(number)
        print(
            f"{signal.Signals(number).name}: the run saves and stops; once more leaves it to that", flush=True
        )

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, note, number)
    return interrupted


async def _stop_when(interrupted: asyncio.Future[int], client: RunClient) -> None:
    """Ask the run to stop once this process is interrupted."""
    number = await asyncio.shield(interrupted)
    try:
        await client.send(StopRun(reason=f"interrupted by {signal.Signals(number).name}"))
    except (CommandRejectedError, RunError) as error:
        print(f"torchconsole: the run is ending already: {error}", file=sys.stderr)
