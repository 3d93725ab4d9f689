"""The client of a run that has a worker: it follows the run over as many connections as that takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

from torchconsole.engine.client.wire import RefusedError, Wire
from torchconsole.engine.errors import CommandRejectedError, RunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import (
    CommandApplied,
    CommandRejected,
    Event,
    RunFailed,
    RunFinished,
    RunLost,
)
from torchconsole.engine.protocol.messages import CommandRequest, Snapshot
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import read_snapshot

PATIENCE_SECONDS = 30.0
"""How long a worker that lives may leave us without an answer."""

SILENCE_SECONDS = 5.0
"""Without a message for that long the lock is asked: a dead worker's forked child may hold its socket."""


class LiveClient:
    """See RunClient. Made by `connect`, which also closes it."""

    def __init__(
        self, folder: RunFolder, by: str, wire: Wire, snapshot: Snapshot, read_only: str = ""
    ) -> None:
        self.snapshot = snapshot
        self.read_only = read_only
        self.live = snapshot.state.is_live
        self._folder = folder
        self._by = by
        self._wire = wire
        self._heard: asyncio.Queue[Event | Snapshot | RunError | None] = asyncio.Queue()
        self._pending: dict[str, tuple[CommandRequest, asyncio.Future[CommandApplied]]] = {}
        self._following = asyncio.create_task(self._follow())

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient."""
        while (heard := await self._heard.get()) is not None:
            if isinstance(heard, RunError):
                raise heard
            yield heard
        self._heard.put_nowait(None)
        if not self._following.cancelled():
            # A fault that no run is expected to have must not pass for the run's end.
            self._following.result()

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        if not self.live:
            raise RunError(f"{self._folder.name} has ended; it takes no commands any more")
        if self.read_only:
            raise RunError(f"{command.type} cannot be sent: {self.read_only}")
        request = CommandRequest(id=uuid4().hex, command=command)
        answer: asyncio.Future[CommandApplied] = asyncio.get_running_loop().create_future()
        self._pending[request.id] = request, answer
        self._wire.send(request)
        try:
            return await answer
        finally:
            del self._pending[request.id]

    async def close(self) -> None:
        """Detach."""
        self._following.cancel()
        try:
            await asyncio.wait({self._following})
        finally:
            await self._wire.close()

    async def _follow(self) -> None:
        try:
            while self.live and not await self._listen():
                await self._return()
        except RunError as error:
            self._heard.put_nowait(error)
        finally:
            self._end()

    async def _listen(self) -> bool:
        """Pass on what the worker says. True once the run has ended, False when the connection has."""
        while await self._is_spoken_to():
            while (message := self._wire.take()) is not None:
                self._heard.put_nowait(message)
                self._settle(message)
                if isinstance(message, RunFinished | RunFailed):
                    return True
        return False

    async def _is_spoken_to(self) -> bool:
        """Wait for the worker's next words; False when it will say no more over this connection."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    return await self._wire.wait()
            except TimeoutError:
                if not self._folder.read_record().is_live:
                    return False

    async def _return(self) -> None:
        """After a break: take up the run with a new snapshot, or tell how it ended."""
        await self._wire.close()
        reached = await reach(self._folder, self._by)
        if reached is None:
            self.live = False
            self._heard.put_nowait(await self._last_word())
            return
        self._wire, self.snapshot = reached
        self.live = self.snapshot.state.is_live
        self._heard.put_nowait(self.snapshot)
        for request, _ in self._pending.values():
            self._wire.send(request)

    async def _last_word(self) -> RunLost | Snapshot:
        record = self._folder.read_record()
        if record.status == "lost":
            return RunLost(reason=record.reason)
        if record.is_live:
            raise RunError(f"{record.name} is at work on {record.host} now")
        self.snapshot = await asyncio.to_thread(read_snapshot, self._folder)
        return self.snapshot

    def _settle(self, message: Event | Snapshot) -> None:
        """Hand an answer to the `send` that waits for it."""
        if not isinstance(message, CommandApplied | CommandRejected) or message.id not in self._pending:
            return
        _, answer = self._pending[message.id]
        if answer.done():
            return
        if isinstance(message, CommandApplied):
            answer.set_result(message)
        else:
            answer.set_exception(CommandRejectedError(message.reason))

    def _end(self) -> None:
        self.live = False
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(RunError(f"{self._folder.name} ended before it applied the command"))
        self._heard.put_nowait(None)


async def reach(folder: RunFolder, by: str) -> tuple[Wire, Snapshot] | None:
    """Connect to a run's worker; waits for one that starts. None when the run has no worker on this machine.

    Raises RunError when the worker lives and does not answer, RefusedError when it cannot serve us.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    cause = "it has not opened its socket yet"
    while (record := folder.read_record()).is_live and record.is_here:
        try:
            if record.socket:
                return await Wire.open(record.socket, by)
        except PermissionError as error:
            raise RefusedError("the run belongs to another user") from error
        except OSError as error:
            cause = f"{record.socket}: {error.strerror or error or 'no answer'}"
        if time.monotonic() > deadline:
            raise RunError(
                f"{record.name} is {record.status} (pid {record.pid}) but does not answer: {cause}; "
                f"its log: {folder.log_file}"
            )
        await asyncio.sleep(0.05)
    return None
