"""Names what killed a worker: only the process that started it learns that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from torchconsole.engine.client.client import RunClient
from torchconsole.engine.client.launcher import StartedRun
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event, RunLost
from torchconsole.engine.protocol.messages import Snapshot


class ExitReasonClient:
    """A RunClient that adds to RunLost how the worker's process ended, for example `killed by SIGKILL`."""

    def __init__(self, client: RunClient, started: StartedRun) -> None:
        self._client = client
        self._started = started

    @property
    def snapshot(self) -> Snapshot:
        """See RunClient."""
        return self._client.snapshot

    @property
    def live(self) -> bool:
        """See RunClient."""
        return self._client.live

    @property
    def read_only(self) -> str:
        """See RunClient."""
        return self._client.read_only

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient."""
        async for event in self._client.events():
            if isinstance(event, RunLost):
                await asyncio.to_thread(self._started.process.wait)
                yield RunLost(reason=f"{self._started.exit_reason()}: {event.reason}")
            else:
                yield event

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        return await self._client.send(command)
