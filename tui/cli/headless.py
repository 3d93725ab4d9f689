"""A run without the console: progress lines until it ends."""

from __future__ import annotations

import asyncio
import signal

from torchconsole.engine.client.client import connect
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.begin import Start
from torchconsole.tui.cli.outcome import report_outcome
from torchconsole.tui.cli.progress_lines import ProgressLines


async def run_headless(start: Start) -> int:
    """Start a run, print its progress until it ends, and return the exit status that its end deserves.

    SIGINT, SIGTERM and SIGUSR1 are passed on to the worker, however far its start is: the first two save and
    stop the run, and give 130 and 143; a second one does not wait for that. SIGHUP is ignored.
    """
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    interruptions: list[int] = []

    def interrupt(number: int) -> None:
        interruptions.append(number)
        if len(interruptions) > 1:
            task.cancel()
            return
        # The loop calls this after the start, never amid it.
        started.process.send_signal(number)
        name = signal.Signals(number).name
        print(f"{name}: the run saves and stops; once more leaves it to that", flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    started = start()
    loop.add_signal_handler(signal.SIGUSR1, started.process.send_signal, signal.SIGUSR1)
    print(printable(f"run {started.folder.name} in {started.folder.path}"), flush=True)
    try:
        await _follow(started.folder)
        await asyncio.to_thread(started.process.wait)
    except RunError as error:
        if started.refusal() is None:
            return report_error(str(error), status=1)
    except asyncio.CancelledError:
        return 128 + interruptions[0]
    status = report_outcome(started.folder, started)
    return 128 + interruptions[0] if interruptions and status == 0 else status


async def _follow(folder: RunFolder) -> None:
    """Print what is worth a line until the run ends."""
    async with connect(folder) as client:
        lines = ProgressLines(client.snapshot.state)
        async for event in client.events():
            line = lines.line_for(event)
            if line is not None:
                print(line, flush=True)
