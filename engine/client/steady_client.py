"""The client that `connect` yields: it replaces the client of the files by that of a worker that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from torchconsole.engine.client.live_client import LiveClient
from torchconsole.engine.client.recorded_client import RecordedClient
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot


class SteadyClient:
    """A RunClient that uses another one: of the worker if that answers, else of the files.

    The files of a run with a suspended worker are followed until the worker continues.
    """

    def __init__(self, open_client: Callable[[], Awaitable[LiveClient | RecordedClient]]) -> None:
        self._open_client = open_client
        """Makes the client that suits the run's present state."""
        self.current: LiveClient | RecordedClient

    async def open(self) -> None:
        """Choose the client to use from now on. Raises RunError as `connect` does."""
        self.current = await self._open_client()

    async def close(self) -> None:
        """Detach."""
        if isinstance(self.current, LiveClient):
            await self.current.close()

    @property
    def snapshot(self) -> Snapshot:
        """See RunClient."""
        return self.current.snapshot

    @property
    def live(self) -> bool:
        """See RunClient."""
        return self.current.live

    @property
    def read_only(self) -> str:
        """See RunClient."""
        return self.current.read_only

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient."""
        while True:
            async for event in self.current.events():
                yield event
            if isinstance(self.current, LiveClient) or not self.current.live:
                return
            await self.open()
            yield self.current.snapshot

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        return await self.current.send(command)
