"""The client of a run that can only be read, ended or out of reach: it follows the run's files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from torchconsole.engine.client.tail import RunTail
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_snapshot

LOOK_SECONDS = 1.0
"""How often the files are looked at: run.json is written once a second."""


class RecordedClient:
    """See RunClient: a run as its files tell it."""

    def __init__(self, folder: RunFolder, snapshot: Snapshot, read_only: str) -> None:
        self.snapshot = snapshot
        self.read_only = read_only
        self._folder = folder

    @property
    def live(self) -> bool:
        """See RunClient: as far as the files tell."""
        return self.snapshot.state.is_live

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient: lines as they are written, and a snapshot for each change of the run's status."""
        tail = RunTail(self._folder, after=self.snapshot.state.seq)
        while self.live:
            await asyncio.sleep(LOOK_SECONDS)
            record = await asyncio.to_thread(self._folder.read_record)
            for event in await asyncio.to_thread(list, tail.read()):
                yield event
            if record.status != self.snapshot.state.status:
                self.snapshot = await asyncio.to_thread(read_snapshot, self._folder)
                tail = RunTail(self._folder, after=self.snapshot.state.seq)
                yield self.snapshot

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        reason = self.read_only or f"the run is {self.snapshot.state.status}"
        raise RunError(f"{command.type} cannot be sent: {reason}")
