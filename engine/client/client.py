"""The asyncio interface to a run: look at it, follow it, steer it. Console, commands and tests all use it.

async with connect(find_run("digits")) as client:
    async for event in client.events():
        if isinstance(event, EvaluationCompleted):
            await client.send(SetLearningRate(factor=0.5))
"""

from __future__ import annotations

import asyncio
import os
import pwd
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Protocol

from torchconsole.engine.client.live_client import LiveClient, SuspendedError, open_connection
from torchconsole.engine.client.patient_reading import patient_record, patient_snapshot
from torchconsole.engine.client.recorded_client import RecordedClient, RunTail
from torchconsole.engine.client.steady_client import SteadyClient
from torchconsole.engine.client.wire import RefusedError
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event, RunFailed, RunFinished, RunLost
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.line_formats import RECORDED
from torchconsole.engine.run.recorded_history import Progress

CHUNK_LINES = 500
"""Lines that are read in one go, before other tasks get a turn."""


class RunClient(Protocol):
    """A run as seen from outside its worker."""

    @property
    def snapshot(self) -> Snapshot:
        """Everything up to the moment of connecting, or of the latest reconnection."""

    @property
    def live(self) -> bool:
        """Whether the run is live, so that more events will follow."""

    @property
    def read_only(self) -> str:
        """Why commands cannot be sent to a live run from here; empty if they can. Snapshots may change it."""

    def events(self) -> AsyncIterator[Event | Snapshot]:
        """Yield what happens after the snapshot, in order. For one reader.

        A Snapshot among the events replaces everything before it: the connection was lost and made again, the
        run ended while it was lost, or a suspended worker has continued. A slow reader gets metrics in fewer
        events, some of them with a `gap` that `event_stream` fills. The last event is RunFinished, RunFailed
        or, if the worker exited unexpectedly, RunLost.
        Raises RunError if the worker is alive but cannot be reached any more, and OSError if the files cannot
        be read after the end.
        """

    async def send(self, command: Command) -> CommandApplied:
        """Send a command and wait until it is applied.

        Raises CommandRejectedError with the engine's reason, and RunError if the run can only be read or ends
        before the command is applied.
        """


@asynccontextmanager
async def connect(
    folder: RunFolder,
    by: str | None = None,
    *,
    read_only: bool = False,
    progress: Progress = lambda _: None,
) -> AsyncIterator[RunClient]:
    """Connect to a run's worker, waiting for one that is starting, or else to the run's files.

    `by` names the sender of commands (default: `user@terminal`). With `read_only`, no commands can be sent. A
    run of another machine, user or version of torchconsole is read from its files, and so is one with a
    suspended worker until that continues. `progress` is called from another thread while long files are read.
    Raises RunError if there is no such run, or its worker is alive and does not answer within half a minute.
    """
    client = SteadyClient(partial(_open, folder, by or _user_and_terminal(), read_only, progress))
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def event_stream(folder: RunFolder, *, follow: bool = True) -> AsyncIterator[Event]:
    """Yield every event of a run once: those on record, then what happens, until the run ends.

    The record consists of what the files hold: logged steps, evaluations, epochs, resumes, applied commands
    and the end. Each logged step is a MetricsLogged event of its own, so that no number is missing, however
    slow the reader is. Without `follow`, the stream ends after the record. Raises RunError as `connect` and
    `RunClient.events` do.
    """
    tail = RunTail(folder)
    if not follow:
        snapshot = await patient_snapshot(folder)
        async for event in _up_to(tail, snapshot):
            yield event
        return
    async with connect(folder, read_only=True) as client:
        async for event in _up_to(tail, client.snapshot):
            yield event
        async for received in client.events():
            if isinstance(received, Snapshot):
                async for event in _up_to(tail, received):
                    yield event
                continue
            async for event in _read_tail(tail, received.seq):
                yield event
            if not isinstance(received, RECORDED):
                yield received


async def _up_to(tail: RunTail, snapshot: Snapshot) -> AsyncIterator[Event]:
    """Yield what the files hold up to a snapshot, and the end if the run had ended by then."""
    async for event in _read_tail(tail, snapshot.state.seq):
        yield event
    if end := _end(snapshot.state):
        yield end


async def _read_tail(tail: RunTail, until: int) -> AsyncIterator[Event]:
    events = tail.read(until)
    while chunk := await asyncio.to_thread(lambda: list(islice(events, CHUNK_LINES))):
        for event in chunk:
            yield event


def _end(state: RunState) -> Event | None:
    """Build the last event of a run that has ended; the lines do not contain it."""
    shared = {"reason": state.reason, "seq": state.seq, "time": state.ended or state.created}
    match state.status:
        case "finished" | "stopped":
            return RunFinished(**shared, status=state.status, step=state.step, epoch=state.epoch)
        case "failed":
            return RunFailed(**shared)
        case "lost":
            return RunLost(**shared)
        case _:
            return None


async def _open(
    folder: RunFolder, sender: str, read_only: bool, progress: Progress
) -> LiveClient | RecordedClient:
    """Make the client that suits the run's present state. Raises as `connect` does."""
    requested = "attached read-only" if read_only else ""
    while True:
        try:
            connection = await open_connection(folder, sender)
        except SuspendedError as suspended:
            snapshot = await _read_files(folder, progress)
            return RecordedClient(
                folder, snapshot, str(suspended), until=lambda record: not record.suspended_by
            )
        except RefusedError as refusal:
            return RecordedClient(folder, await _read_files(folder, progress), str(refusal))
        if connection is not None:
            return LiveClient(folder, sender, *connection, read_only=requested)
        snapshot = await _read_files(folder, progress)
        if not (snapshot.state.is_live and (await patient_record(folder)).is_here):
            return RecordedClient(folder, snapshot, requested or _why_read_only(snapshot.state))
        # It has been started meanwhile, or its worker took long to start.


async def _read_files(folder: RunFolder, progress: Progress) -> Snapshot:
    """Read the files in another thread, which stops soon after this task is cancelled."""
    is_cancelled = threading.Event()

    def report(fraction: float) -> None:
        if is_cancelled.is_set():
            raise RunError(f"{folder.name}: reading was cancelled")
        progress(fraction)

    try:
        return await patient_snapshot(folder, report)
    finally:
        is_cancelled.set()


def _why_read_only(state: RunState) -> str:
    return f"the run is live on {state.host} and takes commands only there" if state.is_live else ""


def _user_and_terminal() -> str:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    terminals = (os.ttyname(descriptor) for descriptor in (0, 1, 2) if os.isatty(descriptor))
    terminal = next(terminals, "").removeprefix("/dev/")
    return f"{user}@{terminal}" if terminal else user
