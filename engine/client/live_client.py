"""The client of a run with a worker: it follows the run, and reconnects whenever the connection is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

from torchconsole.engine.client.patient_reading import patient_record, patient_snapshot
from torchconsole.engine.client.wire import RefusedError, Wire
from torchconsole.engine.errors import CommandRejectedError, RunError, WrongRunError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import (
    CommandApplied,
    CommandRejected,
    Event,
    FolderMoved,
    RunFailed,
    RunFinished,
    RunLost,
)
from torchconsole.engine.protocol.messages import CommandRequest, Snapshot
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import lock_id, start_ticks
from torchconsole.engine.run.registry import moved_to
from torchconsole.engine.run.suspension import how_to_continue

CONNECT_SECONDS = 30.0
"""How long to try to connect to a worker that is alive."""

RECONNECT_SECONDS = 0.5
"""Shortest time from one connection to the next: a worker may hang up at once, again and again."""

SILENCE_SECONDS = 5.0
"""Silence after which the lock is checked: a forked child of a dead worker may hold its socket open."""


class SuspendedError(RunError):
    """The worker is suspended and does not answer; the message says how to continue it."""


class LiveClient:
    """A RunClient that is connected to the worker. Made by `connect`, which also closes it."""

    def __init__(
        self, folder: RunFolder, by: str, wire: Wire, snapshot: Snapshot, read_only: str = ""
    ) -> None:
        self.snapshot = snapshot
        self.read_only = read_only
        self.live = snapshot.state.is_live
        self._folder = folder
        self._by = by
        self._wire = wire
        self._received: asyncio.Queue[Event | Snapshot | RunError | None] = asyncio.Queue()
        self._pending: dict[str, tuple[CommandRequest, asyncio.Future[CommandApplied]]] = {}
        self._connected = time.monotonic()
        self._following = asyncio.create_task(self._follow())

    async def events(self) -> AsyncIterator[Event | Snapshot]:
        """See RunClient."""
        while (received := await self._received.get()) is not None:
            if isinstance(received, RunError):
                raise received
            yield received
        self._received.put_nowait(None)
        if not self._following.cancelled():
            # An unexpected exception must not be mistaken for the end of the run.
            self._following.result()

    async def send(self, command: Command) -> CommandApplied:
        """See RunClient."""
        if not self.live:
            raise RunError(f"{self._folder.name} has ended and takes no more commands")
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
            while self.live and not await self._receive():
                await self._reconnect()
        except RunError as error:
            self._received.put_nowait(error)
        finally:
            self._end()

    async def _receive(self) -> bool:
        """Pass on what the worker sends. True once the run has ended, False once the connection is lost."""
        while await self._wait_for_message():
            while (message := self._wire.take()) is not None:
                if isinstance(message, FolderMoved):
                    self._folder = RunFolder(Path(message.folder))
                self._received.put_nowait(message)
                self._resolve(message)
                if isinstance(message, RunFinished | RunFailed):
                    return True
        return False

    async def _wait_for_message(self) -> bool:
        """Wait for the worker's next message; False if none will come over this connection."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    return await self._wire.wait()
            except TimeoutError:
                if not await self._has_worker():
                    return False

    async def _has_worker(self) -> bool:
        """Whether the worker is alive. Without the run's folder its process shows that."""
        try:
            return (await patient_record(self._folder)).is_live
        except RunError:
            pid = self.snapshot.state.pid
            return pid is not None and start_ticks(pid) is not None

    async def _reconnect(self) -> None:
        """Continue with a new connection and snapshot, or report how the run ended."""
        await self._wire.close()
        await asyncio.sleep(self._connected + RECONNECT_SECONDS - time.monotonic())
        self._folder = moved_to(self._folder)
        connection = await open_connection(self._folder, self._by)
        self._connected = time.monotonic()
        if connection is None:
            self.live = False
            self._received.put_nowait(await self._read_end())
            return
        self._wire, self.snapshot = connection
        self.live = self.snapshot.state.is_live
        self._received.put_nowait(self.snapshot)
        for request, _ in self._pending.values():
            self._wire.send(request)

    async def _read_end(self) -> RunLost | Snapshot:
        record = await patient_record(self._folder)
        if record.status == "lost":
            return RunLost(reason=record.reason)
        if record.is_live:
            raise RunError(f"{record.name} is now live on {record.host}")
        self.snapshot = await patient_snapshot(self._folder)
        return self.snapshot

    def _resolve(self, message: Event | Snapshot) -> None:
        """Give an answer to the `send` that waits for it."""
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
                answer.set_exception(RunError(f"{self._folder.name} ended before the command was applied"))
        self._received.put_nowait(None)


async def open_connection(folder: RunFolder, by: str) -> tuple[Wire, Snapshot] | None:
    """Connect to a run's worker, waiting for one that is starting. None if there is none on this machine.

    Raises SuspendedError if the worker is suspended, RunError if it is alive and does not answer,
    RefusedError if it cannot serve this client, and WrongRunError if it is that of another run.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    cause = "it has not opened its socket yet"
    while (record := await patient_record(folder)).is_live and record.is_here:
        if cause_of_suspension := record.suspended_by:
            way_out = how_to_continue(cause_of_suspension, record.pid)
            raise SuspendedError(f"suspended ({cause_of_suspension}): {way_out}")
        try:
            if record.socket:
                return await Wire.open(record.socket, by, lock_id(folder.lock_file))
        except PermissionError as error:
            raise RefusedError("the run belongs to another user") from error
        except WrongRunError as error:
            raise WrongRunError(f"{record.name}: {error}") from error
        except OSError as error:
            cause = f"{record.socket}: {error.strerror or error or 'no answer'}"
        if time.monotonic() > deadline:
            raise RunError(
                f"{record.name} is {record.status} (pid {record.pid}) but does not answer: {cause}; "
                f"its log: {folder.log_file}"
            )
        await asyncio.sleep(0.05)
    return None
