"""The asyncio face of a run: look at it, follow it, steer it. Console, commands and tests all use this one.

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
from typing import Protocol

from torchconsole.engine.client.live_client import LiveClient, reach
from torchconsole.engine.client.recorded_client import RecordedClient
from torchconsole.engine.client.wire import RefusedError
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import Progress, read_snapshot


class RunClient(Protocol):
    """A run as seen from outside its worker."""

    @property
    def snapshot(self) -> Snapshot:
        """Everything up to the moment of connecting, or of connecting again."""

    @property
    def live(self) -> bool:
        """Whether the run goes on, so that there is more to hear."""

    @property
    def read_only(self) -> str:
        """Why a run takes no commands from here although it is live; empty where it does."""

    def events(self) -> AsyncIterator[Event | Snapshot]:
        """What happens after the snapshot, in order. For one reader.

        A Snapshot among the events takes the place of all before it: the connection broke and came back, or
        the run ended unheard. A slow reader gets metrics in fewer events, some with a `gap` that
        `event_stream` fills. The last event is RunFinished, RunFailed or, if the worker exited unexpectedly,
        RunLost.
        Raises RunError when the worker lives and cannot be reached any more, OSError when the files that tell
        of its end cannot be read.
        """

    async def send(self, command: Command) -> CommandApplied:
        """Send a command and wait until it is applied.

        Raises CommandRejectedError with the engine's reason, and RunError when the run can only be read or
        ends before the command is applied.
        """


@asynccontextmanager
async def connect(
    folder: RunFolder,
    by: str | None = None,
    *,
    read_only: bool = False,
    progress: Progress = lambda _: None,
) -> AsyncIterator[RunClient]:
    """Connect to a run: to its worker, waiting for one that starts, else to its files.

    `by` names the sender of commands; `user@terminal` when left out. With `read_only` none can be sent. A run
    of another machine, user or version of torchconsole is read from its files; `progress` hears, from another
    thread, how far that is where it takes long. Raises RunError when there is no such run, or when its worker
    lives and does not answer within half a minute.
    """
    name = by or _who()
    try:
        reached = await reach(folder, name)
    except RefusedError as refusal:
        yield RecordedClient(folder, await _read(folder, progress), str(refusal))
        return
    asked_for = "attached read-only" if read_only else ""
    if reached is None:
        snapshot = await _read(folder, progress)
        yield RecordedClient(folder, snapshot, asked_for or _why_from_files(snapshot.state))
        return
    client = LiveClient(folder, name, *reached, read_only=asked_for)
    try:
        yield client
    finally:
        await client.close()


async def _read(folder: RunFolder, progress: Progress) -> Snapshot:
    """Read the files beside the loop. A program that ends, or a screen that is left, does not wait for it."""
    is_left = threading.Event()

    def go_on(part: float) -> None:
        if is_left.is_set():
            raise RunError(f"{folder.name}: reading was cancelled")
        progress(part)

    try:
        return await asyncio.to_thread(read_snapshot, folder, go_on)
    finally:
        is_left.set()


def _why_from_files(state: RunState) -> str:
    return f"the run is at work on {state.host} and takes commands only there" if state.is_live else ""


def _who() -> str:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    terminals = (os.ttyname(descriptor) for descriptor in (0, 1, 2) if os.isatty(descriptor))
    terminal = next(terminals, "").removeprefix("/dev/")
    return f"{user}@{terminal}" if terminal else user
