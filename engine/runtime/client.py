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
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.runtime.archive import read_snapshot
from torchconsole.engine.runtime.live_client import LiveClient, reach
from torchconsole.engine.runtime.run_folder import RunFolder


class RunClient(Protocol):
    """A run as seen from outside its worker."""

    @property
    def snapshot(self) -> Snapshot:
        """Everything up to the moment of connecting, or of connecting again."""

    @property
    def live(self) -> bool:
        """Whether there is a worker to send commands to."""

    def events(self) -> AsyncIterator[Event | Snapshot]:
        """What happens after the snapshot, in order and without a gap. For one reader.

        A Snapshot among the events takes the place of all before it: the connection broke and came back, or
        the run ended unheard. The last event is RunFinished, RunFailed or, for a worker that died without a
        word, RunLost. Raises RunError when the worker lives and cannot be reached any more.
        """

    async def send(self, command: Command) -> CommandApplied:
        """Send a command and wait until it is applied.

        Raises CommandRejectedError with the engine's reason, and RunError when the run is not live or ends
        before the command is applied.
        """


class ArchiveClient:
    """See RunClient: a run without a worker here, as its files tell it."""

    live = False

    def __init__(self, folder: RunFolder, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._folder = folder

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient: nothing happens any more."""
        nothing: tuple[Event, ...] = ()
        for event in nothing:
            yield event

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        state = self.snapshot.state
        where = f" on {state.host}, and takes commands only there" if state.is_live else ""
        raise RunError(f"{self._folder.name} is {state.status}{where}; {command.type} cannot be sent")


@asynccontextmanager
async def connect(folder: RunFolder, by: str | None = None) -> AsyncIterator[RunClient]:
    """Connect to a run: to its worker, waiting for one that starts, else to its files.

    `by` names the sender of commands; `user@terminal` when left out. Raises RunError when there is no such
    run, or when its worker lives and does not answer within half a minute.
    """
    name = by or _who()
    reached = await reach(folder, name)
    if reached is None:
        yield ArchiveClient(folder, await asyncio.to_thread(read_snapshot, folder))
        return
    client = LiveClient(folder, name, *reached)
    try:
        yield client
    finally:
        await client.close()


def _who() -> str:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    terminals = (os.ttyname(descriptor) for descriptor in (0, 1, 2) if os.isatty(descriptor))
    terminal = next(terminals, "").removeprefix("/dev/")
    return f"{user}@{terminal}" if terminal else user
