"""A run that is left to itself once its first steps are done."""

from __future__ import annotations

import asyncio
import signal
import sys

from torchconsole.engine.client.client import RunClient, connect
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import LogWritten, PhaseChanged
from torchconsole.engine.text import printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.begin import Start
from torchconsole.tui.cli.outcome import GONE_WRONG, report_outcome


async def start_detached(start: Start) -> int:
    """Print the run's name after its first step and return 0; when it fails before, say why: 1 or 2.

    SIGINT and SIGTERM end the worker too, and give 130 and 143.
    """
    interruptions = _interruptions_of_this_task()
    started = start()
    try:
        async with connect(started.folder) as client:
            await _first_step(client)
    except RunError as error:
        if started.refusal() is not None:
            return report_outcome(started.folder, started)
        return report_error(str(error), status=1)
    except asyncio.CancelledError:
        started.process.terminate()
        return 128 + interruptions[0]
    if started.refusal() is not None or started.folder.read_record().status in GONE_WRONG:
        return report_outcome(started.folder, started)
    print(started.folder.name)
    return 0


def _interruptions_of_this_task() -> list[int]:
    """The signals that came to cancel it. A shell's background job, born deaf to SIGINT, hears it too."""
    came: list[int] = []
    task = asyncio.current_task()
    assert task is not None

    def interrupt(number: int) -> None:
        came.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    return came


async def _first_step(client: RunClient) -> None:
    """Wait for the phase after the first step (a line of metrics may take long), or for the run's end.

    Prints the run's warnings meanwhile, because nobody else sees them.
    """
    for entry in client.snapshot.state.log:
        _warn(entry)
    phase = client.snapshot.state.phase
    if phase is not None and phase.phase == "training":
        return
    async for event in client.events():
        if isinstance(event, LogWritten):
            _warn(event)
        if isinstance(event, PhaseChanged) and event.phase == "training":
            return


def _warn(entry: LogWritten) -> None:
    if entry.level == "warning":
        print(f"torchconsole: warning: {printable(entry.message)}", file=sys.stderr)
